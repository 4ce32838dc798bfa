//! Which Revisions a Route's traffic targets mean, and whether they can take requests.

use std::collections::BTreeMap;

use api::conditions;
use api::object::ObjectExt;
use api::serving;
use api::serving::revision::is_h2c;
use api::world::{CONFIGURATION, REVISION};
use serde_json::Value;

use api::draft::Draft;

/// One entry of `spec.traffic`, resolved.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Target {
    /// The Revision.
    pub(super) revision: String,
    /// The Configuration it comes of; empty when there is none.
    pub(super) configuration: String,
    /// Its share.
    pub(super) percent: Option<i64>,
    /// Its own name; empty for none.
    pub(super) tag: String,
    /// Whether it follows the latest ready Revision.
    pub(super) latest: bool,
    /// Whether the Revision speaks HTTP/2 with prior knowledge.
    pub(super) h2c: bool,
}

/// All targets of a Route.
#[derive(Debug)]
pub(super) struct Targets {
    /// In the order of the spec, for the status.
    pub(super) list: Vec<Target>,
    /// What each name leads to: the empty one shares by percent, each tag leads to its target.
    pub(super) groups: BTreeMap<String, Vec<Target>>,
}

/// Why the traffic cannot be assigned.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) reason: String,
    pub(super) message: String,
    /// It will not change by waiting.
    pub(super) is_final: bool,
}

impl Trouble {
    fn of_revision(message: String, is_final: bool) -> Self {
        Self {
            reason: "RevisionMissing".to_owned(),
            message,
            is_final,
        }
    }

    fn missing(kind: &str, name: &str) -> Self {
        Self {
            reason: format!("{kind}Missing"),
            message: format!("{kind} {name:?} referenced in traffic not found."),
            is_final: true,
        }
    }
}

/// Resolves `spec.traffic`.
pub(super) fn resolve(draft: &Draft<'_>) -> Result<Targets, Trouble> {
    let spec = draft.object["spec"]["traffic"].as_array();
    let list = spec
        .into_iter()
        .flatten()
        .map(|target| resolve_one(draft, target))
        .collect::<Result<Vec<_>, _>>()?;
    let groups = group(&list);
    Ok(Targets { list, groups })
}

fn group(list: &[Target]) -> BTreeMap<String, Vec<Target>> {
    let mut groups: BTreeMap<String, Vec<Target>> = BTreeMap::new();
    for target in list {
        if !target.tag.is_empty() {
            let whole = Target {
                percent: Some(100),
                ..target.clone()
            };
            groups.entry(target.tag.clone()).or_default().push(whole);
        }
        if target.percent.unwrap_or(0) > 0 {
            let all = groups.entry(String::new()).or_default();
            // Several entries for one Revision are one share of it, unless only one of them
            // follows the latest Revision: that one may be rolled out gradually.
            let twin = all
                .iter_mut()
                .find(|t| t.revision == target.revision && t.latest == target.latest);
            match twin {
                Some(twin) => {
                    twin.percent = Some(twin.percent.unwrap_or(0) + target.percent.unwrap_or(0));
                }
                None => all.push(target.clone()),
            }
        }
    }
    groups
}

fn resolve_one(draft: &Draft<'_>, target: &Value) -> Result<Target, Trouble> {
    let text = |key: &str| target[key].as_str().unwrap_or_default().to_owned();
    let named = text("revisionName");
    let latest = named.is_empty();
    let (configuration, revision) = if latest {
        let configuration = text("configurationName");
        let revision = latest_ready(draft, &configuration)?;
        (configuration, revision)
    } else {
        (String::new(), named)
    };
    let object = draft
        .get(REVISION, &revision)
        .ok_or_else(|| Trouble::missing("Revision", &revision))?;
    check_owner(draft, &object)?;
    check_ready(&object)?;
    let configuration = if configuration.is_empty() {
        object
            .label(serving::CONFIGURATION)
            .unwrap_or_default()
            .to_owned()
    } else {
        configuration
    };
    Ok(Target {
        h2c: is_h2c(&object),
        revision,
        configuration,
        percent: target["percent"].as_i64(),
        tag: text("tag"),
        latest,
    })
}

fn latest_ready(draft: &Draft<'_>, name: &str) -> Result<String, Trouble> {
    let configuration = draft
        .get(CONFIGURATION, name)
        .ok_or_else(|| Trouble::missing("Configuration", name))?;
    if let Some(revision) = configuration["status"]["latestReadyRevisionName"].as_str() {
        return Ok(revision.to_owned());
    }
    if conditions::is_false(&configuration, "Ready") {
        let text = format!("Configuration {name:?} does not have any ready Revision.");
        return Err(Trouble::of_revision(text, true));
    }
    let text = format!("Configuration {name:?} is waiting for a Revision to become ready.");
    Err(Trouble::of_revision(text, false))
}

/// A Route of a Service leads to Revisions of that Service alone.
fn check_owner(draft: &Draft<'_>, revision: &Value) -> Result<(), Trouble> {
    let route_service = draft.object.label(serving::SERVICE).unwrap_or_default();
    let service = revision.label(serving::SERVICE).unwrap_or_default();
    if route_service.is_empty() || service == route_service {
        return Ok(());
    }
    Err(Trouble {
        reason: "RevisionNotOwned".to_owned(),
        message: format!(
            "Revision {:?} belongs to Service {service:?}, not Service {route_service:?}.",
            revision.name()
        ),
        is_final: true,
    })
}

fn check_ready(revision: &Value) -> Result<(), Trouble> {
    if conditions::is_ready(revision) {
        return Ok(());
    }
    let failed = conditions::is_false(revision, "Ready");
    let name = revision.name();
    let text = if failed {
        format!("Revision {name:?} failed to become ready.")
    } else {
        format!("Revision {name:?} is not yet ready.")
    };
    Err(Trouble::of_revision(text, failed))
}
