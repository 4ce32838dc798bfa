//! PingSource → a source of the delivery graph that makes an event on a schedule.

use std::collections::BTreeMap;

use api::conditions::Set;
use api::draft::Draft;
use api::world::{Context, Key, PING_SOURCE, Plan, World};

use super::{identity, source};

const SET: Set = Set::living(&["SinkProvided", "Deployed", "OIDCIdentityCreated"]);

/// Plans one PingSource.
pub(super) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, PING_SOURCE, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    let account = identity::establish(&mut draft, &mut conditions, PING_SOURCE);
    let sink = source::sink(&mut draft, &mut conditions);
    // The adapter is this process.
    conditions.mark_true("Deployed");
    let name = format!(
        "/apis/v1/namespaces/{}/pingsources/{}",
        key.namespace, key.name
    );
    source::attributes(
        &mut draft,
        PING_SOURCE,
        &["dev.knative.sources.ping"],
        &name,
    );
    let mut facts = BTreeMap::new();
    source::account(&mut facts, account);
    source::run(&mut draft, PING_SOURCE, sink, facts);
    draft.finish(conditions)
}
