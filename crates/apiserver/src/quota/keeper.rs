//! The status of quotas: counted again a moment after anything in their namespace has changed. One
//! task, which listens to everything only while there is a quota at all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::User;
use crate::core::Core;
use crate::store::Watch;
use crate::write::{self, Call};

/// Changes that come so soon after each other are counted together.
const TOGETHER: Duration = Duration::from_millis(50);

/// Runs until the store is closed.
pub(crate) async fn run(core: Arc<Core>) {
    let quotas = core.builtin("", "resourcequotas");
    loop {
        let (page, mut watch) = core.store.list_and_watch(Some(quotas.id), "");
        if page.entries.is_empty() && watch.recv().await.is_none() {
            // It lagged behind, or the store is closed: then there is no list either.
            tokio::time::sleep(TOGETHER).await;
            continue;
        }
        let (_, mut watch) = core.store.list_and_watch(None, "");
        let all = core.store.list(quotas.id, "");
        let mut dirty: BTreeSet<String> = all
            .iter()
            .map(|entry| entry.namespace().to_owned())
            .collect();
        while core.store.count(quotas.id) > 0 {
            for namespace in std::mem::take(&mut dirty) {
                count(&core, &namespace).await;
            }
            if !gather(&mut watch, &mut dirty).await {
                break;
            }
        }
    }
}

/// Waits for a change, and a moment longer; false when the subscription has ended.
async fn gather(watch: &mut Watch, dirty: &mut BTreeSet<String>) -> bool {
    let Some(event) = watch.recv().await else {
        return false;
    };
    dirty.insert(event.entry.namespace().to_owned());
    let deadline = tokio::time::Instant::now() + TOGETHER;
    loop {
        match tokio::time::timeout_at(deadline, watch.recv()).await {
            Ok(Some(event)) => drop(dirty.insert(event.entry.namespace().to_owned())),
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

async fn count(core: &Arc<Core>, namespace: &str) {
    if namespace.is_empty() {
        return;
    }
    let quotas = core.builtin("", "resourcequotas");
    let user = User::admin("system:serviceaccount:kube-system:resourcequota-controller");
    for quota in super::stored(core, "resourcequotas", namespace) {
        let status = super::status(core, &quota, namespace);
        if status == quota["status"] {
            continue;
        }
        let name = quota["metadata"]["name"].as_str().unwrap_or_default();
        let call = Call {
            subresource: "status",
            ..Call::internal(core, &quotas, namespace, &user)
        };
        let written = write::modify(&call, name, |old| {
            let mut new = old.clone();
            new["status"] = status.clone();
            Ok(new)
        });
        // One that has gone or changed meanwhile is counted again for that very reason.
        if let Err(error) = written.await {
            tracing::debug!(message = error.message, name, "a quota was not counted");
        }
    }
}
