//! IntegrationSource → a source of the delivery graph, where it is one that needs no cloud.

use std::collections::BTreeMap;

use api::conditions::Set;
use api::draft::Draft;
use api::world::{Context, INTEGRATION_SOURCE, Key, Plan, World};

use super::{identity, source, trouble};

const SET: Set = Set::living(&["ContainerSourceReady"]);
const READY: &str = "ContainerSourceReady";

/// Plans one IntegrationSource.
pub(super) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, INTEGRATION_SOURCE, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    if !draft.object["spec"]["timer"].is_object() {
        let why = "Only spec.timer runs here: the other kinds need a cloud's own client.";
        conditions.mark_false(READY, "NotSupported", why);
        return draft.finish(conditions);
    }
    // Sink and identity are conditions of the ContainerSource that Knative makes; here they are
    // looked at in its place.
    let mut inner = draft.conditions(Set::living(&["SinkProvided", "OIDCIdentityCreated"]));
    let account = identity::establish(&mut draft, &mut inner, INTEGRATION_SOURCE);
    let sink = source::sink(&mut draft, &mut inner);
    if let Some(ready) = inner.get("Ready") {
        conditions.mirror(READY, ready);
    }
    trouble::note(&draft, &mut conditions, INTEGRATION_SOURCE, READY);
    let (kind, name) = (
        "dev.knative.eventing.timer",
        "dev.knative.eventing.timer-source",
    );
    source::attributes(&mut draft, INTEGRATION_SOURCE, &[kind], name);
    let mut facts = BTreeMap::new();
    source::account(&mut facts, account);
    source::run(&mut draft, INTEGRATION_SOURCE, sink, facts);
    draft.finish(conditions)
}
