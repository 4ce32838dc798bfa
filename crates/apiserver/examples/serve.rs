//! The API server alone, for kubectl: `cargo run -p apiserver --example serve -- DIR [PORT]`.
//! Writes `DIR/kubeconfig` and serves until it is interrupted.

#![allow(clippy::print_stdout)]

use std::error::Error;

use apiserver::{ApiServer, Config};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).init();
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: serve DIR [PORT]")?;
    let port: u16 = args.next().map_or(Ok(0), |port| port.parse())?;
    let server = ApiServer::open(Config::new(&dir)).await?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("https://{}", listener.local_addr()?);
    let path = std::path::Path::new(&dir).join("kubeconfig");
    std::fs::write(&path, server.kubeconfig(&url))?;
    println!("export KUBECONFIG={}", path.display());
    let interrupted = async {
        // Without the handler the process ends on the signal all the same.
        drop(tokio::signal::ctrl_c().await);
    };
    server.serve(listener, interrupted).await?;
    Ok(())
}
