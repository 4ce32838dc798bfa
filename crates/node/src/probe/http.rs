//! An HTTP GET as the kubelet asks it: any status from 200 to 399 is well.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use tokio::net::TcpStream;

use crate::builtin::Dialer;

/// What probes call themselves; Knative's proxies know them by it.
const AGENT: &str = "kube-probe/1.36";

pub(super) async fn get(
    action: &HTTPGetAction,
    dialer: &Dialer,
    to: SocketAddr,
) -> Result<(), String> {
    let scheme = action
        .scheme
        .as_deref()
        .unwrap_or("HTTP")
        .to_ascii_lowercase();
    let path = action
        .path
        .as_deref()
        .filter(|path| !path.is_empty())
        .unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let path = format!("{slash}{path}");
    let url = format!("{scheme}://{to}{path}");
    let failed = |error: &dyn std::fmt::Display| format!("Get \"{url}\": {error}");
    if scheme == "https" {
        // Certificates are not looked at, so a finished connection is all that can be learnt
        // without a TLS library of the node's own.
        return dialer
            .connect(to)
            .await
            .map(drop)
            .map_err(|error| failed(&error));
    }
    let stream = dialer.connect(to).await.map_err(|error| failed(&error))?;
    let request = request(action, to, &path).map_err(|error| failed(&error))?;
    let status = exchange(stream, request)
        .await
        .map_err(|error| failed(&error))?;
    match status {
        200..400 => Ok(()),
        _ => Err(format!("HTTP probe failed with statuscode: {status}")),
    }
}

fn request(
    action: &HTTPGetAction,
    to: SocketAddr,
    path: &str,
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let mut request = Request::get(path)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::new())?;
    let headers = request.headers_mut();
    for header in action.http_headers.iter().flatten() {
        let name = HeaderName::try_from(&header.name)?;
        headers.insert(name, HeaderValue::try_from(&header.value)?);
    }
    if !headers.contains_key(HOST) {
        headers.insert(HOST, HeaderValue::try_from(to.to_string())?);
    }
    Ok(request)
}

async fn exchange(
    stream: TcpStream,
    request: Request<Empty<Bytes>>,
) -> Result<u16, Arc<hyper::Error>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(Arc::new)?;
    let answer = sender.send_request(request);
    tokio::pin!(connection, answer);
    tokio::select! {
        answer = &mut answer => answer.map(|answer| answer.status().as_u16()).map_err(Arc::new),
        ended = &mut connection => match ended {
            Ok(()) => answer.await.map(|answer| answer.status().as_u16()).map_err(Arc::new),
            Err(error) => Err(Arc::new(error)),
        },
    }
}
