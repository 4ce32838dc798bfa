//! The gRPC health check (`grpc.health.v1.Health/Check`): one call over HTTP/2 in clear text. The
//! two messages are a field each and are written and read here by hand.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::GRPCAction;

use crate::builtin::Dialer;

/// `HealthCheckResponse.SERVING`.
const SERVING: u64 = 1;

pub(super) async fn check(
    action: &GRPCAction,
    dialer: &Dialer,
    to: SocketAddr,
) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("grpc {to}: {error}");
    let stream = dialer.connect(to).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
    let driver = tokio::spawn(connection);
    let body = Full::new(request(action.service.as_deref().unwrap_or_default()));
    let request = Request::post(format!("http://{to}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(body)
        .map_err(|error| failed(&error))?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let early = answer.headers().get("grpc-status").cloned();
        let collected = answer.into_body().collect().await?;
        let late = collected
            .trailers()
            .and_then(|all| all.get("grpc-status"))
            .cloned();
        Ok::<_, hyper::Error>((late.or(early), collected.to_bytes()))
    };
    let answer = answer.await;
    driver.abort();
    let (status, body) = answer.map_err(|error| failed(&error))?;
    match status.as_ref().map(http::HeaderValue::as_bytes) {
        None | Some(b"0") => {}
        Some(b"12") => return Err(failed(&"the server does not implement the health service")),
        Some(code) => return Err(failed(&format!("status {}", String::from_utf8_lossy(code)))),
    }
    match serving_status(&body) {
        Some(SERVING) => Ok(()),
        other => Err(format!(
            "service unhealthy (responded with {})",
            name(other)
        )),
    }
}

/// A length-prefixed `HealthCheckRequest { service = 1 }`.
fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8((length as u8 & 0x7f) | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put(message);
    frame.freeze()
}

/// Field 1 of a length-prefixed `HealthCheckResponse`; an empty message says 0.
fn serving_status(frame: &[u8]) -> Option<u64> {
    match frame.get(5..)? {
        [] => Some(0),
        [0x08, value, ..] => Some(u64::from(*value)),
        _ => None,
    }
}

const fn name(status: Option<u64>) -> &'static str {
    match status {
        Some(0) => "UNKNOWN",
        Some(2) => "NOT_SERVING",
        Some(3) => "SERVICE_UNKNOWN",
        _ => "an answer that is not a health check's",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_by_hand() {
        assert_eq!(&request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&request("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), Some(SERVING));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(serving_status(b""), None);
    }
}
