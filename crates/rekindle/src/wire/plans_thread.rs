//! The thread on which the plans of this process are made.
//!
//! They have one of their own, so that a Pod they have made starts beside their next plans and not
//! behind them. Their client belongs to it, too: what they write is stored without a change of
//! threads.

use std::time::Duration;

use ::api::config::SYSTEM_NAMESPACE;
use anyhow::{Context as _, Result};
use apiserver::ApiServer;
use controller::lease;
use futures_util::FutureExt;
use kube::Client;
use serving::autoscale::Stat;
use tokio::sync::{mpsc, oneshot};

use super::{Plans, run_plans};
use crate::roles::Role;
use crate::{controllers, node_object, stats};

/// How long the lead may take to be given back at the end.
const END_MAX: Duration = Duration::from_secs(1);

/// Runs plans until it is stopped.
pub(super) struct PlansThread {
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl PlansThread {
    /// Starts it. The plans of the controllers wait until no other process leads; without them, the
    /// gateway's run at once and its statistics go to the process that leads.
    pub(super) fn start(
        plans: Plans,
        stats: mpsc::Receiver<Stat>,
        server: &ApiServer,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let plans = {
            let _entered = runtime.enter();
            let client = Client::new(server.service(), "default");
            Plans { client, ..plans }
        };
        let (stop, stopped) = oneshot::channel();
        let (tell, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("controllers".to_owned())
            .spawn(move || {
                runtime.block_on(lead(plans, stats, stopped));
                // Nobody may be left to hear it.
                let _ = tell.send(());
            })
            .context("start the thread of the controllers")?;
        Ok(Self { stop, ended })
    }

    /// No plan is made any more; the lead is another's to take.
    pub(super) async fn stop(self) {
        drop(self.stop);
        if tokio::time::timeout(END_MAX, self.ended).await.is_err() {
            tracing::debug!("the lead was not given back in time");
        }
    }
}

async fn lead(plans: Plans, stats: mpsc::Receiver<Stat>, stopped: oneshot::Receiver<()>) {
    let stopped = stopped.map(drop).shared();
    if !plans.roles.has(Role::Controller) {
        tokio::spawn(stats::forward(plans.client.clone(), stats));
        return run_plans(plans, stopped).await;
    }
    // The Lease is this process' for as long as it lives, and again after it was killed: it has
    // the API, and nobody can take the lead while nothing can be written there.
    let identity = format!("{}_up", node_object::name());
    let election = lease::Config {
        renew_deadline: Duration::MAX,
        ..lease::Config::new(SYSTEM_NAMESPACE, controllers::LEASE, &identity)
    };
    let client = plans.client.clone();
    let stats = Some(stats);
    let plans = Plans { stats, ..plans };
    let work = run_plans(plans, stopped);
    lease::lead(&client, &election, work).await;
}
