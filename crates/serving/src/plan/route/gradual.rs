//! How far a new Revision's share of the traffic has grown: the state of the rollout before, read
//! off the Ingress, and its next step.

use api::annotation;
use api::conditions::{self, is_ready};
use api::config::Network;
use api::networking::ROLLOUT;
use api::object::ObjectExt;
use api::world::Action;
use jiff::Timestamp;
use serde_json::Value;

use super::INGRESS_READY;
use super::traffic::{Target, Targets};
use crate::plan::config;
use crate::route::rollout::{ConfigurationRollout, RevisionRollout, Rollout};
use api::draft::Draft;

/// The shares as they should be now; asks to be planned again when the next step is due.
pub(super) fn reconcile(
    draft: &mut Draft<'_>,
    targets: &Targets,
    network: &Network,
    ingress: Option<&Value>,
) -> Rollout {
    let goal = goal(targets);
    let duration_s = duration_s(draft, network);
    let Some(ingress) = ingress.filter(|_| duration_s > 0.0) else {
        return goal;
    };
    let now = unix_nanos(draft.now());
    let mut before = ingress.annotation(ROLLOUT).and_then(Rollout::parse);
    if is_ready(ingress)
        && !conditions::is_true(&draft.object, INGRESS_READY)
        && let Some(before) = &mut before
    {
        before.observe_ready(now, duration_s);
    }
    let (rollout, next) = goal.step(before, now);
    if let Some(at) = next.and_then(|nanos| Timestamp::from_nanosecond(nanos.into()).ok()) {
        draft.push(Action::At(at));
    }
    rollout
}

fn unix_nanos(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

fn duration_s(draft: &Draft<'_>, network: &Network) -> f64 {
    annotation::get(&draft.object, annotation::serving::ROLLOUT_DURATION)
        .and_then(|(_, text)| config::duration(text))
        .map(|duration| duration.as_secs_f64())
        .filter(|&seconds| seconds > 0.0)
        .unwrap_or(network.rollout_duration_s as f64)
}

/// Where all rollouts end: the latest Revisions have all of what the spec gives them.
fn goal(targets: &Targets) -> Rollout {
    let all = targets.groups.iter().flat_map(|(tag, group)| {
        let latest = group.iter().filter(|target| target.latest);
        latest.map(move |target| configuration(tag, target))
    });
    let mut configurations: Vec<_> = all.collect();
    configurations
        .sort_by(|a, b| (&a.tag, &a.configuration_name).cmp(&(&b.tag, &b.configuration_name)));
    Rollout { configurations }
}

fn configuration(tag: &str, target: &Target) -> ConfigurationRollout {
    let percent = target.percent.unwrap_or(0);
    ConfigurationRollout {
        configuration_name: target.configuration.clone(),
        tag: tag.to_owned(),
        percent,
        revisions: vec![RevisionRollout {
            revision_name: target.revision.clone(),
            percent,
        }],
        ..ConfigurationRollout::default()
    }
}

/// The Revisions that share one target's traffic now, and their percentages.
pub(super) fn shares(rollout: &Rollout, tag: &str, target: &Target) -> Vec<(String, i64)> {
    let rolled = rollout
        .with_tag(tag)
        .find(|c| target.latest && c.configuration_name == target.configuration);
    match rolled {
        Some(configuration) if !configuration.revisions.is_empty() => configuration
            .revisions
            .iter()
            .map(|revision| (revision.revision_name.clone(), revision.percent))
            .collect(),
        _ => vec![(target.revision.clone(), target.percent.unwrap_or(0))],
    }
}
