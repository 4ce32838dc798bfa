//! `wsserver`: echoes messages over a WebSocket; `?delay=MS` before each, closing normally (code
//! 1000) on SIGTERM; `wsserver-hostname` answers the Pod's name instead.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::signal::unix::{SignalKind, signal};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};

use super::serve;

pub(crate) async fn serve(hostname: bool) {
    serve::on(
        serve::port(),
        move |mut request: Request<Incoming>| async move {
            let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
                return serve::ok("send me a WebSocket\n");
            };
            let accept = derive_accept_key(key.as_bytes());
            let delay = Duration::from_millis(serve::number(&request, "delay"));
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                if let Ok(upgraded) = upgrade.await {
                    talk(TokioIo::new(upgraded), hostname, delay).await;
                }
            });
            let response = Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header(header::CONNECTION, "Upgrade")
                .header(header::UPGRADE, "websocket")
                .header(header::SEC_WEBSOCKET_ACCEPT, accept);
            let (_, body) = serve::ok("").into_parts();
            response.body(body).expect("the headers are well-formed")
        },
    )
    .await;
}

async fn talk(io: TokioIo<hyper::upgrade::Upgraded>, hostname: bool, delay: Duration) {
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    let mut end = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            _ = end.recv() => {
                let code = CloseFrame { code: CloseCode::Normal, reason: "".into() };
                let _ = socket.close(Some(code)).await;
                return;
            }
        };
        let Some(Ok(message)) = message else { return };
        if message.is_close() {
            return;
        }
        if !message.is_text() && !message.is_binary() {
            continue;
        }
        tokio::time::sleep(delay).await;
        let answer = if hostname {
            Message::text(std::env::var("HOSTNAME").unwrap_or_default())
        } else {
            message
        };
        if socket.send(answer).await.is_err() {
            return;
        }
    }
}
