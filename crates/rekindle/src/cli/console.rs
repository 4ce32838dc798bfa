//! What the console's `/metrics` says of one object, for the verbs that describe it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use clap::Args;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A console that does not answer by then is taken for absent.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the console is.
#[derive(Args, Clone, Debug)]
pub(crate) struct Console {
    /// The instance's console, for what was delivered.
    #[arg(
        long = "console",
        env = "REKINDLE_CONSOLE_LISTEN",
        default_value = "127.0.0.1:8090"
    )]
    address: SocketAddr,
}

impl Console {
    /// The Prometheus text; `None` when nobody answers.
    pub(crate) async fn metrics(&self) -> Option<String> {
        let read = tokio::time::timeout(PATIENCE, self.read()).await;
        read.ok()?.ok()
    }

    async fn read(&self) -> Result<String> {
        let stream = TcpStream::connect(self.address).await?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await?;
        tokio::spawn(connection);
        let request = Request::get("/metrics")
            .header(header::HOST, self.address.to_string())
            .body(Empty::<Bytes>::new())?;
        let body = sender.send_request(request).await?.into_body();
        let bytes = body.collect().await?.to_bytes();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The value of the first sample of `name` that has all these labels.
pub(crate) fn sample<'m>(metrics: &'m str, name: &str, labels: &[(&str, &str)]) -> Option<&'m str> {
    let wanted: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{value}\""))
        .collect();
    metrics.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?.strip_prefix('{')?;
        let (has, value) = rest.rsplit_once("} ")?;
        let has_all = wanted
            .iter()
            .all(|label| has.split(',').any(|one| one == label));
        has_all.then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_found_by_its_labels() {
        let text =
            "# HELP lag x\nlag{a=\"1\",b=\"2\"} 7\nlag{a=\"1\",b=\"3\"} 8\nlag_sum{a=\"1\"} 9\n";
        assert_eq!(sample(text, "lag", &[("b", "3"), ("a", "1")]), Some("8"));
        assert_eq!(sample(text, "lag", &[("a", "2")]), None);
        assert_eq!(sample(text, "lag_su", &[]), None);
    }
}
