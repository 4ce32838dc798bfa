//! How long the verbs of a Service wait until it is Ready, and what is said meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use serde_json::Value;

use super::super::super::client::Api;
use super::super::super::get::ready;
use super::super::super::output;
use super::super::show;
use super::SERVICE;

/// How often is looked.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The flags of kn, with its defaults.
#[derive(Args, Debug)]
pub(super) struct Waiting {
    /// Wait until it is Ready, which is what happens anyway.
    #[arg(long, conflicts_with = "no_wait")]
    wait: bool,
    /// Do not wait until it is Ready.
    #[arg(long)]
    pub(super) no_wait: bool,
    #[command(flatten)]
    patience: Patience,
}

/// How long is waited.
#[derive(Args, Debug)]
pub(crate) struct Patience {
    /// How many seconds to wait.
    #[arg(long, default_value_t = 600)]
    wait_timeout: u64,
    /// How many seconds a Service may be False before it is given up.
    #[arg(long, default_value_t = 2)]
    wait_window: u64,
}

impl Waiting {
    /// Waits until the generation just written is Ready; `doing` and `done` are kn's sentences.
    pub(super) async fn settle(
        &self,
        api: &Api,
        written: &Value,
        doing: &str,
        done: &str,
    ) -> Result<()> {
        let name = show::name(written);
        if self.no_wait {
            let word = done.split(' ').next().unwrap_or_default();
            let namespace = &api.namespace;
            return output::line(&format!(
                "Service '{name}' {word} in namespace '{namespace}'."
            ));
        }
        output::line(&format!("{doing}\n"))?;
        let service = self.patience.until_ready(api, written).await?;
        let latest = show::text(&service["status"]["latestReadyRevisionName"]);
        let url = show::text(&service["status"]["url"]);
        output::line(&format!(
            "Service '{name}' {done} latest revision '{latest}' is available at URL:\n{url}"
        ))
    }
}

impl Patience {
    /// Waits until the generation of `written` is Ready and says what holds it up; gives it as it
    /// is then.
    pub(super) async fn until_ready(&self, api: &Api, written: &Value) -> Result<Value> {
        let name = show::name(written);
        let path = SERVICE.path(api, Some(&name));
        let start = Instant::now();
        let (mut last, mut failed) = (String::new(), None);
        loop {
            let service = api.get(&path).await?;
            let seconds = start.elapsed().as_secs_f64();
            let seen = service["status"]["observedGeneration"].as_i64();
            if seen >= written["metadata"]["generation"].as_i64() {
                let (status, message) = ready(&service);
                if message != last && !message.is_empty() {
                    output::line(&format!("{seconds:7.3}s {message}"))?;
                    last.clone_from(&message);
                }
                match status.as_str() {
                    "True" => {
                        output::line(&format!("{seconds:7.3}s Ready to serve.\n"))?;
                        return Ok(service);
                    }
                    "False" => {
                        let since = *failed.get_or_insert_with(Instant::now);
                        if since.elapsed() >= Duration::from_secs(self.wait_window) {
                            bail!("{message}");
                        }
                    }
                    _ => failed = None,
                }
            }
            if start.elapsed() > Duration::from_secs(self.wait_timeout) {
                let patience = self.wait_timeout;
                bail!("Service '{name}' is not ready after {patience} seconds: {last}");
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
