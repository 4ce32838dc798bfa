//! PingSource → a source of the delivery graph that makes an event on a schedule.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::conditions::Set;
use api::draft::Draft;
use api::world::{Context, Key, PING_SOURCE, Plan, World};

use super::{identity, own_annotation, source, trouble};

const SET: Set = Set::living(&["SinkProvided", "Deployed", "OIDCIdentityCreated"]);

/// Plans one PingSource.
pub(super) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, PING_SOURCE, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    let account = identity::establish(&mut draft, &mut conditions, PING_SOURCE);
    let sink = source::sink(&mut draft, &mut conditions);
    // The adapter is the broker's process.
    trouble::mark(&draft, &mut conditions, PING_SOURCE, &["Deployed"]);
    let name = format!(
        "/apis/v1/namespaces/{}/pingsources/{}",
        key.namespace, key.name
    );
    // One that stands for a source of old makes events of that.
    let object = Arc::clone(&draft.object);
    let kind = own_annotation(&object, "event-type").unwrap_or("dev.knative.sources.ping");
    let name = own_annotation(&object, "event-source").unwrap_or(&name);
    source::attributes(&mut draft, PING_SOURCE, &[kind], name);
    let mut facts = BTreeMap::new();
    source::account(&mut facts, account);
    source::run(&mut draft, PING_SOURCE, sink, facts);
    draft.finish(conditions)
}
