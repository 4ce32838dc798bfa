//! Tells the node which ConfigMaps and Secrets have changed, so that volumes of running Pods
//! follow them. Started by `wire`.

use ::api::object::ObjectExt;
use ::api::world::{CONFIG_MAP, SECRET};
use bytes::Bytes;
use controller::watch::{Update, watch};
use futures_util::StreamExt;
use kube::Client;
use node::Source;
use serde_json::Value;

/// Calls `tell` for each that is there or has changed: after an interruption for all of them,
/// since nobody knows which were changed meanwhile.
pub(crate) async fn run(client: Client, tell: impl Fn(&Source)) {
    let mut config_maps = Box::pin(watch(client.clone(), CONFIG_MAP));
    let mut secrets = Box::pin(watch(client, SECRET));
    loop {
        let (update, source): (_, fn(String, String) -> Source) = tokio::select! {
            Some(update) = config_maps.next() => (update, Source::ConfigMap),
            Some(update) = secrets.next() => (update, Source::Secret),
        };
        for (namespace, name) in touched(update) {
            tell(&source(namespace, name));
        }
    }
}

/// Namespaces and names. Of an object that is gone, volumes keep what they show, as the kubelet
/// has it.
fn touched(update: Update) -> Vec<(String, String)> {
    let name = |object: Bytes| {
        let object: Value = serde_json::from_slice(&object).ok()?;
        Some((object.namespace().to_owned(), object.name().to_owned()))
    };
    match update {
        Update::Put(objects) => objects.into_iter().filter_map(name).collect(),
        Update::Restarted | Update::Gone(_) | Update::Synced { .. } | Update::NotServed => {
            Vec::new()
        }
    }
}
