//! Gradual rollout: how traffic moves from one revision to the next over time. The arithmetic of
//! Knative's `pkg/reconciler/route/traffic/rollout.go`, kept in the Ingress's annotation
//! `networking.internal.knative.dev/rollout`. Called by the Route's plan: parse what is there,
//! [`Rollout::observe_ready`] when the Ingress has just become ready, then [`Rollout::step`]
//! towards what is wanted; the time it answers is when to plan again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The annotation of the Ingress that holds the state.
pub const ANNOTATION: &str = "networking.internal.knative.dev/rollout";
/// All of a Route's traffic, in percent.
const WHOLE: i64 = 100;
/// Nanoseconds in a second.
const SECOND: f64 = 1e9;

/// The rollouts of one Route.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Rollout {
    /// Sorted by tag, then by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configurations: Vec<ConfigurationRollout>,
}

/// The rollout of one Configuration under one tag.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationRollout {
    /// The Configuration.
    pub configuration_name: String,
    /// The tag; empty for the Route's main traffic.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tag: String,
    /// The share of the Route's traffic all revisions have together.
    #[serde(default)]
    pub percent: i64,
    /// Oldest first; the last one is to get everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<RevisionRollout>,
    /// When and how far the next steps go.
    #[serde(default)]
    pub step_params: StepParams,
}

/// The share of one revision.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionRollout {
    /// The revision.
    pub revision_name: String,
    /// Its share of the Route's traffic.
    #[serde(default)]
    pub percent: i64,
}

/// The pace of a rollout; zeros stand for "not known yet".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepParams {
    /// When it began, Unix nanoseconds.
    #[serde(rename = "starttime", default, skip_serializing_if = "is_zero")]
    pub start_time: i64,
    /// When the next step is due, Unix nanoseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub next_step_time: i64,
    /// Nanoseconds between steps.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub step_duration: i64,
    /// Percent moved by a step.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub step_size: i64,
}

/// Whether serde may leave the field out.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands the field by reference"
)]
const fn is_zero(value: &i64) -> bool {
    *value == 0
}

impl Rollout {
    /// Reads the annotation; what cannot be read or does not add up is as good as nothing.
    pub fn parse(annotation: &str) -> Option<Self> {
        let rollout: Self = serde_json::from_str(annotation).ok()?;
        rollout.is_valid().then_some(rollout)
    }

    /// The annotation's value.
    pub fn to_annotation(&self) -> String {
        serde_json::to_string(self).expect("numbers and strings always serialize")
    }

    fn is_valid(&self) -> bool {
        self.configurations.iter().all(|configuration| {
            let sum: i64 = configuration
                .revisions
                .iter()
                .map(|revision| revision.percent)
                .sum();
            let step_fits =
                (0..=configuration.percent).contains(&configuration.step_params.step_size);
            configuration.percent <= WHOLE && sum == configuration.percent && step_fits
        })
    }

    /// Whether nothing is being rolled out.
    pub fn is_done(&self) -> bool {
        self.configurations
            .iter()
            .all(|configuration| configuration.revisions.len() < 2)
    }

    /// The rollouts under `tag`.
    pub fn with_tag(&self, tag: &str) -> impl Iterator<Item = &ConfigurationRollout> {
        self.configurations
            .iter()
            .filter(move |configuration| configuration.tag == tag)
    }

    /// The Ingress serves the first percent of what has begun: how long that took tells the pace.
    pub fn observe_ready(&mut self, now: i64, duration_s: f64) {
        for configuration in &mut self.configurations {
            let params = configuration.step_params;
            if params.step_duration == 0 && params.start_time > 0 {
                let took_s = ((now - params.start_time) as f64 / SECOND).ceil().max(1.0);
                configuration.set_pace(now, took_s, duration_s);
            }
        }
    }

    /// The next state on the way from `prev` to `self`, which has one revision for each
    /// Configuration, and when a further step is due (Unix nanoseconds).
    pub fn step(self, prev: Option<Self>, now: i64) -> (Self, Option<i64>) {
        let Some(prev) = prev.filter(|prev| !prev.configurations.is_empty()) else {
            return (self, None);
        };
        let mut before: BTreeMap<String, Vec<ConfigurationRollout>> = BTreeMap::new();
        for configuration in prev.configurations {
            before
                .entry(configuration.tag.clone())
                .or_default()
                .push(configuration);
        }
        let mut goals: BTreeMap<String, Vec<ConfigurationRollout>> = BTreeMap::new();
        for configuration in self.configurations {
            goals
                .entry(configuration.tag.clone())
                .or_default()
                .push(configuration);
        }
        let mut configurations = Vec::new();
        for (tag, goals) in goals {
            match before.remove(&tag) {
                Some(before) => step_tag(goals, before, now, &mut configurations),
                // A new tag gets its target at once.
                None => configurations.extend(goals.into_iter().next()),
            }
        }
        configurations
            .sort_by(|a, b| (&a.tag, &a.configuration_name).cmp(&(&b.tag, &b.configuration_name)));
        let next = configurations
            .iter()
            .filter(|configuration| configuration.revisions.len() > 1)
            .map(|configuration| configuration.step_params.next_step_time)
            .filter(|next| *next > 0)
            .min();
        (Self { configurations }, next)
    }
}

fn step_tag(
    goals: Vec<ConfigurationRollout>,
    before: Vec<ConfigurationRollout>,
    now: i64,
    out: &mut Vec<ConfigurationRollout>,
) {
    let mut before: BTreeMap<String, ConfigurationRollout> = before
        .into_iter()
        .map(|configuration| (configuration.configuration_name.clone(), configuration))
        .collect();
    let last_name = before.keys().next_back().cloned().unwrap_or_default();
    for goal in goals {
        match before.remove(&goal.configuration_name) {
            Some(prev) if goal.percent > 1 => out.push(step_configuration(goal, prev, now)),
            // One percent is nothing to share.
            Some(_) if goal.percent == 1 => out.push(goal),
            Some(_) => {}
            None if goal.percent != 0 || goal.configuration_name > last_name => out.push(goal),
            None => {}
        }
    }
}

fn step_configuration(
    goal: ConfigurationRollout,
    mut prev: ConfigurationRollout,
    now: i64,
) -> ConfigurationRollout {
    prev.adjust(goal.percent);
    let newest = goal.revisions.first();
    let is_new = match (prev.revisions.last(), newest) {
        (Some(last), Some(newest)) => last.revision_name != newest.revision_name,
        _ => false,
    };
    if is_new {
        return begin(goal, prev, now);
    }
    if prev.revisions.len() < 2 {
        return goal;
    }
    let mut next = ConfigurationRollout {
        revisions: prev.revisions,
        step_params: prev.step_params,
        ..goal
    };
    // Without a pace the Ingress has not been ready since the rollout began.
    if next.step_params.step_size > 0 {
        next.move_traffic(now);
    }
    next
}

/// The first percent goes to the new revision.
fn begin(goal: ConfigurationRollout, prev: ConfigurationRollout, now: i64) -> ConfigurationRollout {
    let mut revisions = prev.revisions;
    if let Some(giver) = revisions
        .iter_mut()
        .rev()
        .find(|revision| revision.percent > 0)
    {
        giver.percent -= 1;
    }
    revisions.retain(|revision| revision.percent != 0);
    let newest = goal.revisions.into_iter().next();
    revisions.extend(newest.map(|newest| RevisionRollout {
        percent: 1,
        ..newest
    }));
    ConfigurationRollout {
        revisions,
        step_params: StepParams {
            start_time: now,
            ..StepParams::default()
        },
        configuration_name: goal.configuration_name,
        tag: goal.tag,
        percent: goal.percent,
    }
}

impl ConfigurationRollout {
    /// Fits the shares to a new total: more goes to the newest, less is taken from the oldest.
    fn adjust(&mut self, goal: i64) {
        if goal == 0 {
            self.revisions.clear();
            return;
        }
        let more = goal - self.percent;
        if more > 0 {
            if let Some(newest) = self.revisions.last_mut() {
                newest.percent += more;
            }
            return;
        }
        let mut less = -more;
        let mut gone = 0;
        for revision in &mut self.revisions {
            if less == 0 {
                break;
            }
            if revision.percent > less {
                revision.percent -= less;
                break;
            }
            less -= revision.percent;
            gone += 1;
        }
        self.revisions.drain(..gone);
    }

    /// Sets how far and how often to step, given that the first percent took `took_s` seconds of
    /// the `duration_s` the rollout shall last.
    fn set_pace(&mut self, now: i64, took_s: f64, duration_s: f64) {
        let left_s = (duration_s - took_s).max(1.0);
        let left_percent = (self.percent - 1) as f64;
        // No step is smaller than a percent, and none is shorter than the first one took.
        let steps = (left_s / took_s).max(1.0).min(left_percent);
        let pause = left_s / steps * SECOND;
        self.step_params.step_duration = pause as i64;
        self.step_params.step_size = (left_percent / steps).round() as i64;
        self.step_params.next_step_time = (now as f64 + pause) as i64;
    }

    /// Makes the step that is due, if one is: the newest of the old revisions gives first.
    fn move_traffic(&mut self, now: i64) {
        if now < self.step_params.next_step_time {
            return;
        }
        let Some(mut newest) = self.revisions.pop() else {
            return;
        };
        let mut left = self.step_params.step_size;
        while left > 0 {
            let Some(giver) = self.revisions.last_mut() else {
                break;
            };
            if giver.percent > left {
                giver.percent -= left;
                break;
            }
            left -= giver.percent;
            self.revisions.pop();
        }
        newest.percent = (newest.percent + self.step_params.step_size).min(self.percent);
        self.revisions.push(newest);
        if self.revisions.len() > 1 {
            self.step_params.next_step_time = now + self.step_params.step_duration;
        } else {
            self.step_params = StepParams::default();
        }
    }
}

#[cfg(test)]
mod tests;
