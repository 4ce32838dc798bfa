//! `rekindle ca`: the certificates to trust in order to trust those the instance has issued.

use ::api::certificate::{self, AUTHORITY};
use ::api::config::SYSTEM_NAMESPACE;
use anyhow::{Context, Result};
use clap::Args;

use super::client::Target;
use super::output;

#[derive(Args, Debug)]
pub(crate) struct Flags {
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    let api = flags.target.connect().await?;
    let path = format!("/api/v1/namespaces/{SYSTEM_NAMESPACE}/secrets/{AUTHORITY}");
    let secret = api.get(&path).await.context(
        "no certificate was issued yet: they are when TLS is switched on, for example with \
         external-domain-tls in ConfigMap knative-serving/config-network",
    )?;
    let trust = certificate::entry(&secret, certificate::TRUST)
        .with_context(|| format!("Secret {SYSTEM_NAMESPACE}/{AUTHORITY} holds no certificates"))?;
    output::print(&trust)
}
