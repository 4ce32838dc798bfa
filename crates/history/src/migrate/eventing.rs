//! Knative Eventing's kinds in older versions, and kinds that moved to another group.

use api::object::ObjectExt;
use serde_json::{Value, json};

use super::{Catalog, Outcome, clean, form, remove};
use crate::moved::{self, references};

/// On a Namespace or Trigger of v0.5 to v0.15: a Broker is wanted.
const INJECTION_OF_OLD: &str = "knative-eventing-injection";
const INJECTION: &str = "eventing.knative.dev/injection";

pub(super) fn outcome(_: &Catalog, object: &Value) -> Outcome {
    let (api_version, kind) = (object.api_version(), object.kind());
    match (api_version, kind) {
        ("v1", "Namespace") => return namespace(object),
        (moved::EVENTING, "Channel") => return channel(object),
        (moved::EVENTING, "ClusterChannelProvisioner") => {
            return Outcome::Gone(vec![
                "there are no provisioners any more: a Channel's spec.channelTemplate names a kind \
                 of channel"
                    .to_owned(),
            ]);
        }
        _ => {}
    }
    if let Some(renamed) = moved::renamed(object) {
        let mut outcome = converted(&renamed, api_version);
        if let Outcome::Changed(_, notes) = &mut outcome {
            if kind == "Choice" {
                notes.push("a Choice is a Parallel, and its cases are branches".to_owned());
            }
            if moved::goes_on(object) {
                let note = "without a subscriber the events went on to reply.channel, which is the \
                            subscriber now";
                notes.push(note.to_owned());
            }
        }
        return outcome;
    }
    converted(object, api_version)
}

/// The object in the version that is stored, if it is not that already.
pub(super) fn converted(object: &Value, from: &str) -> Outcome {
    let group = object.api_version().split('/').next().unwrap_or_default();
    let of_eventing = [
        "eventing.knative.dev",
        "flows.knative.dev",
        "messaging.knative.dev",
        "sources.knative.dev",
    ];
    let stored = api::convert::stored(object.api_version(), object.kind())
        .filter(|_| of_eventing.contains(&group));
    let Some(to) = stored else {
        return Outcome::Same;
    };
    if to == object.api_version() && from == to {
        return Outcome::Same;
    }
    let mut new = match api::convert(object.clone(), &to) {
        Ok(new) => new,
        Err(why) => return Outcome::Refused(format!("{why}; write it as {to}")),
    };
    let mut notes = vec![format!("{to} instead of {from}")];
    let version = object.api_version().split('/').nth(1).unwrap_or_default();
    notes.extend(words(&form(&new, version)));
    references(&mut new["spec"]);
    remove_nulls(&mut new);
    injection(&mut new, &mut notes);
    clean(&mut new);
    Outcome::Changed(vec![new], notes)
}

fn remove_nulls(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
}

/// What was spelled otherwise, by what conversion noted.
fn words(form: &Value) -> Vec<String> {
    let has = |suffix: &str| {
        let mut keys = form.as_object().into_iter().flat_map(|form| form.keys());
        keys.any(|key| key.ends_with(suffix))
    };
    let all = [
        (
            "channelTemplate",
            "a Broker's channels are configured in the ConfigMap that spec.config names: the \
             channelTemplate is left out",
        ),
        (
            "channelTemplateSpec",
            "a Broker's channels are configured in the ConfigMap that spec.config names: the \
             channelTemplateSpec is left out",
        ),
        (
            "sourceAndType",
            "filter.sourceAndType is filter.attributes; an empty value meant any and is left out",
        ),
        ("/inline", "a destination's object stands in its ref"),
        ("/dnsName", "a dnsName is a uri"),
        ("replyChannel", "reply.channel is reply.ref"),
        ("subscribable", "spec.subscribable is the controller's"),
        (
            "data",
            "data that was no JSON object was sent as {\"body\": DATA}, and says so now",
        ),
        ("owner", "controllerSelector is spec.owner"),
        (
            "controllers",
            "a resource's controller is told by spec.owner, once for all of them",
        ),
        ("broker", "the broker of an EventType is its reference"),
        ("schemaData", "schemaData means nothing any more"),
    ];
    all.iter()
        .filter(|(key, _)| has(key))
        .map(|(_, text)| (*text).to_owned())
        .collect()
}

fn channel(old: &Value) -> Outcome {
    let provisioner = &old["spec"]["provisioner"];
    let name = provisioner["name"].as_str().unwrap_or("in-memory");
    let known = [
        ("kafka", "KafkaChannel of messaging.knative.dev/v1beta1"),
        (
            "natss",
            "NatsJetStreamChannel of messaging.knative.dev/v1alpha1",
        ),
        ("gcp-pubsub", "Channel of messaging.cloud.google.com/v1"),
    ];
    let mut notes = vec![
        "messaging.knative.dev/v1 instead of eventing.knative.dev/v1alpha1: a Channel is kept by \
         what its spec.channelTemplate names, and by the installation's default without one"
            .to_owned(),
    ];
    if let Some((_, template)) = known.iter().find(|(known, _)| *known == name) {
        notes.push(format!(
            "its provisioner was {name:?}: where that is installed, the channelTemplate is a {template}"
        ));
    }
    let mut new = old.clone();
    new["apiVersion"] = json!("messaging.knative.dev/v1");
    remove(
        &mut new["spec"],
        &["provisioner", "generation", "subscribable", "arguments"],
    );
    if new["spec"].as_object().is_none_or(|spec| spec.is_empty()) {
        remove(&mut new, &["spec"]);
    }
    clean(&mut new);
    Outcome::Changed(vec![new], notes)
}

fn namespace(old: &Value) -> Outcome {
    if old.label(INJECTION_OF_OLD).is_none() {
        return Outcome::Same;
    }
    let mut new = old.clone();
    let mut notes = Vec::new();
    injection(&mut new, &mut notes);
    Outcome::Changed(vec![new], notes)
}

/// The word by which a Broker is wanted.
fn injection(object: &mut Value, notes: &mut Vec<String>) {
    for place in ["labels", "annotations"] {
        let Some(map) = object["metadata"][place].as_object_mut() else {
            continue;
        };
        if let Some(value) = map.remove(INJECTION_OF_OLD) {
            map.insert(INJECTION.to_owned(), value);
            notes.push(format!("{INJECTION} instead of {INJECTION_OF_OLD}"));
        }
    }
    remove_nulls(&mut object["metadata"]);
}
