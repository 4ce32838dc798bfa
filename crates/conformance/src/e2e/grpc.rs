//! gRPC through the gateway: unary, streaming, with and without the activator, balanced, scaled.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::draft::Draft;
use crate::row::Rows;
use crate::test::{Running, Test};
use crate::web::{Ask, ask, host};

pub(super) fn add(rows: Rows) -> Rows {
    rows.test("TestGRPCUnaryPing", "one message each way", |test| {
        unary(test, 0)
    })
    .test(
        "TestGRPCStreamingPing",
        "many messages each way on one call, each answered before the next",
        |test| streaming(test, 0),
    )
    .test(
        "TestGRPCUnaryPingViaActivator",
        "the same with the activator in the path",
        |test| unary(test, -1),
    )
    .test(
        "TestGRPCStreamingPingViaActivator",
        "the same with the activator in the path",
        |test| streaming(test, -1),
    )
    .test(
        "TestGRPCLoadBalancing",
        "three Pods: all three answer",
        balancing,
    )
    .test(
        "TestGRPCAutoscaleUpDownUp",
        "two Pods under a load of calls, none without, two again",
        up_down_up,
    )
}

fn draft(test: &Test) -> Draft {
    test.draft("grpc-ping").port_name("h2c")
}

/// A message as it goes over the wire.
fn frame(text: &str) -> Bytes {
    let mut frame = vec![0];
    frame.extend((text.len() as u32 + 2).to_be_bytes());
    frame.extend([0x0a, text.len() as u8]);
    frame.extend(text.as_bytes());
    frame.into()
}

/// The first message in `kept`, if it is whole.
fn message(kept: &mut BytesMut) -> Option<String> {
    let length = kept.get(1..5)?.try_into().ok()?;
    let length = u32::from_be_bytes(length) as usize;
    if kept.len() < 5 + length {
        return None;
    }
    kept.advance(5);
    let message = kept.split_to(length);
    Some(String::from_utf8_lossy(message.get(2..)?).into_owned())
}

/// One call with one message.
async fn ping(test: &Test, service: &Running, text: &str) -> Result<String> {
    let mut call = Ask::get(&service.url(), "/ping.PingService/Ping")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    call.method = http::Method::POST;
    call.http2 = true;
    call.body = frame(text);
    let answer = ask(test.gateway(), &call).await?.ok()?;
    let status = answer.trailers.get("grpc-status");
    ensure!(
        status.is_some_and(|status| status == "0"),
        "grpc-status {status:?}: {}",
        answer.body
    );
    let mut body = BytesMut::from(answer.body.as_bytes());
    message(&mut body).context("an answer without a message")
}

async fn unary(test: Test, capacity: i32) -> Result<()> {
    let draft = draft(&test).scale("target-burst-capacity", capacity);
    let service = test.serve(&draft).await?;
    let said = ping(&test, &service, "Hello!").await?;
    ensure!(said.starts_with("Hello!"), "{said}");
    Ok(())
}

async fn streaming(test: Test, capacity: i32) -> Result<()> {
    let draft = draft(&test).scale("target-burst-capacity", capacity);
    let service = test.serve(&draft).await?;
    let stream = TcpStream::connect(test.gateway()).await?;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (messages, receiver) = mpsc::channel::<Frame<Bytes>>(1);
    let body = futures_util::stream::unfold(receiver, |mut receiver| async {
        let frame = receiver.recv().await?;
        Some((Ok::<_, Infallible>(frame), receiver))
    });
    let url = service.url();
    let request = Request::post(format!("http://{}/ping.PingService/PingStream", host(&url)))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(StreamBody::new(Box::pin(body)))?;
    messages.send(Frame::data(frame("message 0"))).await?;
    let mut answer = sender.send_request(request).await?.into_body();
    let mut kept = BytesMut::new();
    for number in 1..=50 {
        let said = loop {
            if let Some(said) = message(&mut kept) {
                break said;
            }
            let frame = answer.frame().await.context("the stream ended")??;
            kept.extend_from_slice(&frame.into_data().unwrap_or_default());
        };
        let wanted = format!("message {}", number - 1);
        ensure!(said.starts_with(&wanted), "{said:?} to {wanted:?}");
        let next = frame(&format!("message {number}"));
        messages.send(Frame::data(next)).await?;
    }
    Ok(())
}

async fn balancing(test: Test) -> Result<()> {
    let draft = draft(&test)
        .scale("min-scale", 3)
        .scale("max-scale", 3)
        .scale("target-burst-capacity", -1)
        .revision("containerConcurrency", json!(1));
    let service = test.serve(&draft).await?;
    let mut seen = BTreeSet::new();
    for _ in 0..60 {
        let calls = (0..3).map(|_| ping(&test, &service, "delay=100 "));
        for said in join_all(calls).await {
            seen.insert(said?);
        }
        if seen.len() >= 3 {
            return Ok(());
        }
    }
    anyhow::bail!("only {seen:?} answered")
}

async fn up_down_up(test: Test) -> Result<()> {
    let draft = draft(&test).scale("target", 6).scale("window", "6s");
    let service = test.serve(&draft).await?;
    for round in 0..2 {
        let callers = (0..9).map(|_| async {
            loop {
                ping(&test, &service, "delay=100 ").await?;
            }
            #[allow(unreachable_code)]
            Ok::<(), anyhow::Error>(())
        });
        let load = futures_util::future::try_join_all(callers);
        let reached = test.eventually("two Pods", || async {
            Ok(test.ready_replicas(&service.revision()).await? >= 2)
        });
        tokio::select! {
            outcome = load => { outcome?; }
            outcome = reached => outcome?,
        }
        if round == 0 {
            test.within(Duration::from_secs(120), "no Pod", || async {
                Ok(test.ready_replicas(&service.revision()).await? == 0)
            })
            .await?;
        }
    }
    Ok(())
}
