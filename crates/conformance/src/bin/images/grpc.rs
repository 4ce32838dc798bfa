//! gRPC by hand: `ping.PingService` echoes what it gets with the Pod's name behind it, unary or
//! streaming; `grpc.health.v1.Health` says SERVING.
//!
//! A message is a byte, a length of four bytes and a protobuf with one string in field 1.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::sync::mpsc;

use super::{serve, texts};

pub(crate) async fn ping() {
    serve::on(serve::port(), |request| async move {
        if request.uri().path().starts_with("/grpc.health.v1.Health/") {
            return stream(request, |_| vec![0x08, 1]);
        }
        stream(request, |message| {
            let mut said = string(&message);
            said.push_str(&std::env::var("HOSTNAME").unwrap_or_default());
            encode(&said)
        })
    })
    .await;
}

/// Answers gRPC health checks, and `Hello` to everybody else.
pub(crate) async fn health() {
    serve::on(serve::port(), |request| async move {
        if request.uri().path().starts_with("/grpc.health.v1.Health/") {
            return stream(request, |_| vec![0x08, 1]);
        }
        match request.uri().path() {
            "/" | "/healthz/readiness" | "/healthz/liveness" => serve::ok(texts::HELLO_WORLD),
            _ => serve::text(StatusCode::NOT_FOUND, "not found\n"),
        }
    })
    .await;
}

fn stream(request: Request<Incoming>, answer: fn(Bytes) -> Vec<u8>) -> serve::Answer {
    let (sender, receiver) = mpsc::channel::<Frame<Bytes>>(8);
    tokio::spawn(async move {
        let mut body = request.into_body();
        let mut kept = BytesMut::new();
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                kept.extend_from_slice(&data);
            }
            while let Some(message) = next(&mut kept) {
                wait_as_told(&message).await;
                let said = answer(message);
                let mut framed = vec![0];
                framed.extend((said.len() as u32).to_be_bytes());
                framed.extend(said);
                if sender.send(Frame::data(framed.into())).await.is_err() {
                    return;
                }
            }
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let _ = sender.send(Frame::trailers(trailers)).await;
    });
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
        let frame = receiver.recv().await?;
        Some((Ok::<_, Infallible>(frame), receiver))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    response
}

/// `delay=MS` in a message asks for a pause.
async fn wait_as_told(message: &Bytes) {
    let text = string(message);
    let delay = text.split("delay=").nth(1);
    let delay = delay.and_then(|text| text.split(' ').next()?.parse().ok());
    tokio::time::sleep(Duration::from_millis(delay.unwrap_or(0))).await;
}

fn next(kept: &mut BytesMut) -> Option<Bytes> {
    let length = kept.get(1..5)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    if kept.len() < 5 + length {
        return None;
    }
    kept.advance(5);
    Some(kept.split_to(length).freeze())
}

/// The string in field 1, shorter than 128 bytes.
fn string(message: &Bytes) -> String {
    String::from_utf8_lossy(message.get(2..).unwrap_or_default()).into_owned()
}

fn encode(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(127)];
    let mut message = vec![0x0a, text.len() as u8];
    message.extend(text);
    message
}
