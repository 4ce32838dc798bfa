//! One POST to a webhook over HTTPS, trusted by its `caBundle`.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use http::header::{CONTENT_TYPE, HOST};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::core::Core;

/// A larger answer is refused (bytes).
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Where a webhook is reached.
struct Destination {
    /// The name the certificate must have.
    name: String,
    /// What is connected to.
    address: String,
    path: String,
    url: String,
}

/// Sends `review` and gives the answer, or a sentence that says what went wrong.
pub(super) async fn post(
    core: &Core,
    client: &Value,
    timeout: Duration,
    review: &Value,
) -> Result<Value, String> {
    let destination = destination(core, client)?;
    let url = format!("{}?timeout={}s", destination.url, timeout.as_secs());
    let failed = |why: String| format!("Post \"{url}\": {why}");
    let exchange = exchange(&destination, client, review);
    match tokio::time::timeout(timeout, exchange).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(why)) => Err(failed(why)),
        Err(_) => Err(failed("context deadline exceeded".to_owned())),
    }
}

fn destination(core: &Core, client: &Value) -> Result<Destination, String> {
    if let Some(url) = client["url"].as_str() {
        let rest = url
            .strip_prefix("https://")
            .ok_or("the url of a webhook must be https")?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
            _ => (authority, "443"),
        };
        let name = name.trim_matches(['[', ']']).to_owned();
        let address = if name.contains(':') {
            format!("[{name}]:{port}")
        } else {
            format!("{name}:{port}")
        };
        return Ok(Destination {
            name,
            address,
            path: path.to_owned(),
            url: url.to_owned(),
        });
    }
    let service = &client["service"];
    let text = |key: &str| service[key].as_str().unwrap_or_default();
    let (namespace, service_name) = (text("namespace"), text("name"));
    let port = service["port"].as_u64().unwrap_or(443);
    let path = format!("/{}", text("path").trim_start_matches('/'));
    let found = core.read("", "services", namespace, service_name);
    let found = found.ok_or_else(|| format!("service \"{service_name}\" not found"))?;
    let name = format!("{service_name}.{namespace}.svc");
    let url = format!("https://{name}:{port}{path}");
    let address = match found["spec"]["clusterIP"].as_str() {
        _ if found["spec"]["type"] == "ExternalName" => {
            format!(
                "{}:{port}",
                found["spec"]["externalName"].as_str().unwrap_or_default()
            )
        }
        Some("None") | None => {
            return Err(format!("service \"{service_name}\" has no cluster address"));
        }
        Some(address) => format!("{address}:{port}"),
    };
    Ok(Destination {
        name,
        address,
        path,
        url,
    })
}

async fn exchange(
    destination: &Destination,
    client: &Value,
    review: &Value,
) -> Result<Value, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(&*destination.address).await;
    let stream = stream.map_err(|e| format!("dial tcp {}: {e}", destination.address))?;
    drop(stream.set_nodelay(true));
    let connector = TlsConnector::from(Arc::new(trust(client)?));
    let name = ServerName::try_from(destination.name.clone()).map_err(|e| text(&e))?;
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|e| format!("tls: {e}"))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| text(&e))?;
    let connection = tokio::spawn(connection);
    let request = Request::post(&*destination.path)
        .header(HOST, &*destination.name)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(bytes::Bytes::from(review.to_string())))
        .map_err(|e| text(&e))?;
    let response = sender.send_request(request).await.map_err(|e| text(&e))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await;
    connection.abort();
    let body = body.map_err(|e| text(&e))?.to_bytes();
    if !status.is_success() {
        return Err(format!(
            "the server answered {status}: {}",
            String::from_utf8_lossy(&body)
        ));
    }
    serde_json::from_slice(&body).map_err(|e| format!("the answer is no JSON: {e}"))
}

fn trust(client: &Value) -> Result<ClientConfig, String> {
    let bundle = client["caBundle"].as_str().unwrap_or_default();
    let bundle = STANDARD
        .decode(bundle)
        .map_err(|_| "caBundle is not base64")?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bundle).flatten() {
        roots
            .add(certificate)
            .map_err(|error| format!("caBundle: {error}"))?;
    }
    if roots.is_empty() {
        return Err(
            "tls: failed to verify certificate: x509: certificate signed by unknown \
                    authority (caBundle is empty)"
                .to_owned(),
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
