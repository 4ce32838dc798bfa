//! Applications that ask another one: a sidecar on localhost, or any host.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::serve;

/// Answers what `localhost:$FORWARD_PORT` (8882) says.
pub(crate) async fn to_sidecar() {
    let port = std::env::var("FORWARD_PORT").ok();
    let port = port.and_then(|port| port.parse().ok()).unwrap_or(8882);
    serve::on(serve::port(), move |_| async move {
        answer(fetch("localhost", ("127.0.0.1", port), "/").await)
    })
    .await;
}

/// Answers what `http://$TARGET_HOST` says; with `$GATEWAY_HOST` it is asked there.
pub(crate) async fn to_target() {
    let target = std::env::var("TARGET_HOST").unwrap_or_default();
    serve::on(serve::port(), move |request| {
        let target = target.clone();
        async move {
            let path = request.uri().path().to_owned();
            let at = std::env::var("GATEWAY_HOST").unwrap_or_else(|_| target.clone());
            let (name, port) = at.rsplit_once(':').unwrap_or((&at, "80"));
            let port = port.parse().unwrap_or(80);
            answer(fetch(&target, (name, port), &path).await)
        }
    })
    .await;
}

fn answer(fetched: Result<(StatusCode, Bytes), String>) -> serve::Answer {
    match fetched {
        Ok((status, body)) => serve::text(status, body),
        Err(error) => {
            println!("{error}");
            serve::text(StatusCode::BAD_GATEWAY, error)
        }
    }
}

async fn fetch(host: &str, at: (&str, u16), path: &str) -> Result<(StatusCode, Bytes), String> {
    let fetched = async {
        let stream = TcpStream::connect(at).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder().uri(path).header(header::HOST, host);
        let request = request.body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((status, body))
    };
    fetched
        .await
        .map_err(|error| format!("ask {at:?} for {host}: {error}\n"))
}
