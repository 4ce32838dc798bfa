//! Knative Serving before v1, and the label by which a namespace got its Broker.

use api::object::ObjectExt;
use serde_json::{Value, json};

use super::{Catalog, Outcome, clean, form, remove};

const GROUP: &str = "serving.knative.dev";
const V1: &str = "serving.knative.dev/v1";
/// Where conversion keeps the build a Configuration began with, and what a Revision waits for.
const BUILDS: [&str; 2] = [api::convert::BUILD, api::convert::BUILD_REF];

pub(super) fn outcome(_: &Catalog, object: &Value) -> Outcome {
    let (group, version) = object.api_version().split_once('/').unwrap_or_default();
    if group != GROUP {
        return Outcome::Same;
    }
    if object.kind() == "DomainMapping" {
        return domain_mapping(object);
    }
    if version == "v1" {
        return Outcome::Same;
    }
    let mut new = match api::convert(object.clone(), V1) {
        Ok(new) => new,
        Err(why) => return Outcome::Refused(format!("{why}; write it as {V1}")),
    };
    if api::convert::is_manual(&new) {
        return Outcome::Gone(vec![
            "a manual Service managed nothing: keep the Configuration and the Route of its name"
                .to_owned(),
        ]);
    }
    let mut notes = vec![format!("{V1} instead of {}", object.api_version())];
    if version == "v1alpha1" {
        notes.extend(words(&form(&new, "v1alpha1")));
    }
    let build = build(&mut new, &mut notes);
    clean(&mut new);
    if new["spec"]["traffic"] == json!([{"latestRevision": true, "percent": 100}])
        && object.kind() == "Service"
    {
        remove(&mut new["spec"], &["traffic"]);
    }
    let mut objects: Vec<Value> = build.into_iter().collect();
    objects.push(new);
    Outcome::Changed(objects, notes)
}

fn domain_mapping(object: &Value) -> Outcome {
    const BETA: &str = "serving.knative.dev/v1beta1";
    if object.api_version() == BETA {
        return Outcome::Same;
    }
    let mut new = object.clone();
    new["apiVersion"] = json!(BETA);
    clean(&mut new);
    let note = format!("{BETA} instead of {}", object.api_version());
    Outcome::Changed(vec![new], vec![note])
}

/// What was spelled otherwise, by what conversion noted.
fn words(form: &Value) -> Vec<String> {
    let of_mode = [
        (
            "runLatest",
            "spec.runLatest.configuration is the spec itself; the latest Revision gets all traffic \
             unless spec.traffic says otherwise",
        ),
        (
            "pinned",
            "spec.pinned is a target of spec.traffic with that revisionName",
        ),
        (
            "release",
            "spec.release is spec.traffic: targets with the tags current, candidate and latest, \
             and rolloutPercent as the candidate's percent",
        ),
    ];
    let mode = of_mode.iter().filter(|(mode, _)| form["mode"] == *mode);
    let of_field = [
        ("revisionTemplate", "revisionTemplate is template"),
        ("container", "the container is an entry of containers"),
        ("name", "the name of a traffic target is its tag"),
        (
            "single",
            "concurrencyModel: Single is containerConcurrency: 1",
        ),
        ("generation", "spec.generation is metadata.generation"),
    ];
    let fields = of_field.iter().filter(|(field, _)| !form[*field].is_null());
    let mut words: Vec<String> = mode
        .chain(fields)
        .map(|(_, text)| (*text).to_owned())
        .collect();
    for field in ["concurrencyModel", "servingState"] {
        let is_told = field == "concurrencyModel" && form["single"] == true;
        if !form["revision"][field].is_null() && !is_told {
            words.push(format!("{field} means nothing any more and is left out"));
        }
    }
    words
}

/// Takes the build out of a template: the Build that it was, if it was one.
fn build(new: &mut Value, notes: &mut Vec<String>) -> Option<Value> {
    let (name, namespace) = (new.name().to_owned(), new.namespace().to_owned());
    let holder = match new.kind() {
        "Revision" => &mut *new,
        _ => new.pointer_mut("/spec/template")?,
    };
    let annotations = holder.get_mut("metadata")?.get_mut("annotations")?;
    let annotations = annotations.as_object_mut()?;
    let [build, reference] = BUILDS.map(|key| annotations.remove(key));
    if reference.is_some() {
        notes.push(
            "buildRef and buildName are left out: since v0.8 no Revision waits for a build; see \
             to it that the image is there"
                .to_owned(),
        );
    }
    tidy(holder);
    let build = build?;
    let mut build: Value = serde_json::from_str(build.as_str()?).ok()?;
    if build["kind"].is_null() {
        build = json!({
            "apiVersion": "build.knative.dev/v1alpha1",
            "kind": "Build",
            "spec": build,
        });
    }
    build["metadata"]["name"] = json!(format!("{name}-build"));
    if !namespace.is_empty() {
        build["metadata"]["namespace"] = json!(namespace);
    }
    notes.push(format!(
        "since v0.8 no Configuration has a build: it stands by itself as {} {:?}, and must be done \
         before the image is asked for",
        build.kind(),
        build.name()
    ));
    Some(build)
}

/// Removes what taking out of the annotations has left empty.
fn tidy(holder: &mut Value) {
    let is_empty = |value: &Value| value.as_object().is_some_and(|map| map.is_empty());
    if is_empty(&holder["metadata"]["annotations"]) {
        remove(&mut holder["metadata"], &["annotations"]);
    }
    if is_empty(&holder["metadata"]) {
        remove(holder, &["metadata"]);
    }
}
