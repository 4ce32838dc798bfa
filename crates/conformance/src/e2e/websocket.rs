//! WebSockets through gateway, activator and queue-proxy.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::cluster::PODS;
use crate::draft::{Draft, put};
use crate::row::Rows;
use crate::test::{Test, target, text};
use crate::web::host;

pub(super) fn add(rows: Rows) -> Rows {
    rows.test("TestWebSocket", "messages come back", |test| {
        echo(test, 0)
    })
    .test(
        "TestWebSocketViaActivator",
        "the same with the activator in the path",
        |test| echo(test, -1),
    )
    .test(
        "TestWebSocketGracefulShutdown",
        "a Pod that is deleted ends its WebSocket with code 1000",
        graceful,
    )
    .test(
        "TestWebSocketBlueGreenRoute",
        "two revisions at 50 %: both get their share of connections",
        blue_green,
    )
    .test(
        "TestWebSocketWithTimeout",
        "timeoutSeconds, responseStartTimeoutSeconds and idleTimeoutSeconds cut a WebSocket, and \
         leave one alone that is quicker",
        timeout,
    )
    .test(
        "WebSocket to h2c",
        "a revision whose port is called h2c gets a WebSocket as HTTP/1.1 upgrade",
        to_h2c,
    )
}

type Socket = WebSocketStream<TcpStream>;

/// Opens a WebSocket to the host of `url`.
pub(super) async fn open(test: &Test, url: &str, path: &str) -> Result<Socket> {
    let stream = TcpStream::connect(test.gateway()).await?;
    let request = format!("ws://{}{path}", host(url)).into_client_request()?;
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    Ok(socket)
}

async fn say(socket: &mut Socket, text: &str) -> Result<String> {
    socket.send(Message::text(text)).await?;
    let answer = tokio::time::timeout(Duration::from_secs(60), socket.next()).await?;
    let answer = answer.context("the socket was closed")??;
    Ok(answer.into_text()?.to_string())
}

fn draft(test: &Test) -> Draft {
    test.draft("wsserver")
}

async fn echo(test: Test, capacity: i32) -> Result<()> {
    let draft = draft(&test).scale("target-burst-capacity", capacity);
    let service = test.serve(&draft).await?;
    let mut socket = open(&test, &service.url(), "/").await?;
    for number in 0..10 {
        let text = format!("Hello, websocket {number}");
        let said = say(&mut socket, &text).await?;
        ensure!(said == text, "{said:?}");
    }
    Ok(())
}

async fn to_h2c(test: Test) -> Result<()> {
    let service = test.serve(&draft(&test).port_name("h2c")).await?;
    let mut socket = open(&test, &service.url(), "/").await?;
    let said = say(&mut socket, "Hello, h2c").await?;
    ensure!(said == "Hello, h2c", "{said:?}");
    Ok(())
}

async fn graceful(test: Test) -> Result<()> {
    let service = test.serve(&draft(&test)).await?;
    let mut socket = open(&test, &service.url(), "/").await?;
    say(&mut socket, "Hello").await?;
    let pods = test.pods(&service.revision()).await?;
    test.delete(PODS, &text(&pods[0], "/metadata/name")).await?;
    let code = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return Ok(u16::from(frame.code)),
                Some(Ok(_)) => {}
                other => bail!("{other:?} instead of a close"),
            }
        }
    };
    let code = tokio::time::timeout(Duration::from_secs(90), code).await??;
    ensure!(code == 1000, "closed with {code}");
    Ok(())
}

async fn blue_green(test: Test) -> Result<()> {
    let draft = test.draft("wsserver-hostname").scale("min-scale", 1);
    let mut service = test.serve(&draft).await?;
    let blue = service.revision();
    service
        .update(|object| {
            put(object, "spec.template.metadata.labels", json!({"x": "2"}));
        })
        .await?;
    let green = service.revision();
    service
        .update(|object| {
            let traffic = json!([target("", Some(&blue), 50), target("", Some(&green), 50)]);
            put(object, "spec.traffic", traffic);
        })
        .await?;
    let mut seen = [0_u32; 2];
    let mut hosts = BTreeSet::new();
    for _ in 0..100 {
        let mut socket = open(&test, &service.url(), "/").await?;
        let name = say(&mut socket, "who?").await?;
        seen[usize::from(name.starts_with(&green))] += 1;
        hosts.insert(name);
    }
    // Half of a hundred, within five standard deviations.
    ensure!(seen.iter().all(|times| *times >= 25), "{seen:?} {hosts:?}");
    Ok(())
}

async fn timeout(test: Test) -> Result<()> {
    // Seconds: timeout, response start, idle; the pause before the answer; whether it may come.
    let cases = [
        ((10, 0, 0), 2000, true),
        ((5, 0, 0), 8000, false),
        ((20, 0, 10), 2000, true),
        ((20, 0, 4), 8000, false),
    ];
    let runs = cases.map(|((timeout, start, idle), delay, good)| {
        let test = test.also(&test.name);
        async move {
            let mut draft = draft(&test).revision("timeoutSeconds", json!(timeout));
            for (field, value) in [
                ("responseStartTimeoutSeconds", start),
                ("idleTimeoutSeconds", idle),
            ] {
                draft = draft.revision(field, json!(value));
            }
            let service = test.serve(&draft).await?;
            let path = format!("/?delay={delay}");
            let mut socket = open(&test, &service.url(), &path).await?;
            let said = say(&mut socket, "Hello").await;
            ensure!(
                said.is_ok() == good,
                "timeouts {timeout}, {start}, {idle}; {delay} ms: {said:?}"
            );
            Ok(())
        }
    });
    futures_util::future::join_all(runs)
        .await
        .into_iter()
        .collect()
}
