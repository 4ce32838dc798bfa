//! Job → Pods that run to their end, so many of them, so many at once.

use std::sync::Arc;
use std::time::Duration;

use api::object::ObjectExt;
use api::world::{Action, Context, JOB, Key, POD, Plan, World};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stdx::Backoff;

use crate::claim::claim;
use crate::condition::{self, Says};
use crate::pods::{self, Maker};
use crate::told;

/// Kubernetes' default of `spec.backoffLimit`.
const BACKOFF_LIMIT: i64 = 6;
/// After a Pod has failed the next one waits, twice as long each time.
const BACKOFF: Backoff = Backoff {
    base: Duration::from_secs(10),
    max: Duration::from_secs(600),
};
/// Which completion a Pod of an indexed Job stands for.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Plans one Job.
pub(crate) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let mut plan = Plan::default();
    let Some(job) = world.get(JOB, &key.namespace, &key.name) else {
        return plan;
    };
    if job.is_terminating() {
        return plan;
    }
    let claimed = claim(POD, &job, world);
    plan.actions = claimed.actions;
    let run = Run::of(&job, claimed.objects);
    if let Some(end) = run.ended() {
        plan.actions.extend(run.after(end, world.now()));
        return plan;
    }
    let now = world.now();
    let verdict = run.verdict(now);
    if let Some((kind, reason, message)) = verdict {
        let gone = run.active.iter().map(|pod| pods::delete(pod));
        plan.actions.extend(told::pods(&job, gone.collect()));
        let message = message.as_str();
        plan.actions.push(told::ended(&job, kind, reason, message));
        let says = Says {
            kind,
            status: true,
            reason,
            message,
        };
        run.report(&mut plan, Some(condition::set(&job, &says, now)), now);
        return plan;
    }
    run.start(&mut plan, cx, world);
    run.report(&mut plan, None, now);
    plan.actions.extend(run.deadline().map(Action::At));
    plan
}

/// A Job and what became of its Pods.
struct Run<'a> {
    job: &'a Value,
    active: Vec<Arc<Value>>,
    succeeded: Vec<Arc<Value>>,
    failed: Vec<Arc<Value>>,
}

impl<'a> Run<'a> {
    fn of(job: &'a Value, owned: Vec<Arc<Value>>) -> Self {
        let phase = |pod: &Arc<Value>, phase: &str| pod["status"]["phase"] == phase;
        let (mut active, mut succeeded, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for pod in owned {
            if phase(&pod, "Succeeded") {
                succeeded.push(pod);
            } else if phase(&pod, "Failed") {
                failed.push(pod);
            } else if pods::is_active(&pod) {
                active.push(pod);
            }
        }
        Self {
            job,
            active,
            succeeded,
            failed,
        }
    }

    fn number(&self, key: &str) -> Option<i64> {
        self.job["spec"][key].as_i64()
    }

    fn parallelism(&self) -> usize {
        usize::try_from(self.number("parallelism").unwrap_or(1)).unwrap_or(0)
    }

    /// How many Pods must succeed; without `completions` one success ends the work queue.
    fn completions(&self) -> usize {
        let completions = self.number("completions").unwrap_or(1);
        usize::try_from(completions).unwrap_or(0)
    }

    fn ended(&self) -> Option<&Value> {
        let end = |kind| condition::get(self.job, kind).filter(|c| c["status"] == "True");
        end("Complete").or_else(|| end("Failed"))
    }

    /// How it ends now, if it does.
    fn verdict(&self, now: Timestamp) -> Option<(&'static str, &'static str, String)> {
        let limit = self.number("backoffLimit").unwrap_or(BACKOFF_LIMIT);
        let restarts: i64 = self.active.iter().map(|pod| restarts(pod)).sum();
        if i64::try_from(self.failed.len())
            .unwrap_or(i64::MAX)
            .saturating_add(restarts)
            > limit
        {
            let message = "Job has reached the specified backoff limit".to_owned();
            return Some(("Failed", "BackoffLimitExceeded", message));
        }
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            let message = "Job was active longer than specified deadline".to_owned();
            return Some(("Failed", "DeadlineExceeded", message));
        }
        let done = self.succeeded.len() >= self.completions()
            && (self.number("completions").is_some() || self.active.is_empty());
        let message = "Reached expected number of succeeded pods".to_owned();
        done.then_some(("Complete", "CompletionsReached", message))
    }

    fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.number("activeDeadlineSeconds")?;
        let start: Timestamp = self.job["status"]["startTime"].as_str()?.parse().ok()?;
        Some(start + SignedDuration::from_secs(seconds))
    }

    fn start(&self, plan: &mut Plan, cx: &Context, world: &World) {
        if self.job["spec"]["suspend"] == true {
            let gone = self.active.iter().map(|pod| pods::delete(pod));
            plan.actions.extend(told::pods(self.job, gone.collect()));
            return;
        }
        let left = self.completions().saturating_sub(self.succeeded.len());
        let left = if self.number("completions").is_none() && !self.succeeded.is_empty() {
            0
        } else {
            left
        };
        let wanted = match self.number("completions") {
            Some(_) => self.parallelism().min(left),
            None if left == 0 => 0,
            None => self.parallelism(),
        };
        let missing = wanted.saturating_sub(self.active.len());
        let after = self.not_before().filter(|after| *after > world.now());
        if let Some(after) = after.filter(|_| missing > 0) {
            plan.actions.push(Action::At(after));
            return;
        }
        let mut maker = Maker::new(cx, world, self.job);
        let mut indexes = self.free_indexes();
        let mut made = Vec::new();
        for _ in 0..missing {
            let mut pod = maker.pod();
            if self.job["spec"]["completionMode"] == "Indexed"
                && let Some(index) = indexes.pop()
            {
                pod["metadata"]["annotations"][INDEX] = json!(index.to_string());
                pod["metadata"]["labels"][INDEX] = json!(index.to_string());
                give_index(&mut pod, index);
            }
            made.push(Action::Create(pod));
        }
        plan.actions.extend(told::pods(self.job, made));
    }

    /// When the next Pod may be made: failures since the last success hold it back.
    fn not_before(&self) -> Option<Timestamp> {
        let success = self.succeeded.iter().filter_map(|pod| finished(pod)).max();
        let failures: Vec<Timestamp> = self
            .failed
            .iter()
            .filter_map(|pod| finished(pod))
            .filter(|at| success.is_none_or(|success| *at > success))
            .collect();
        let last = failures.iter().max()?;
        let attempt = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX);
        Some(*last + BACKOFF.delay(attempt))
    }

    /// Indexes nobody works on or has completed, highest first.
    fn free_indexes(&self) -> Vec<usize> {
        let taken = |index: &usize| {
            let index = index.to_string();
            let mut pods = self.active.iter().chain(&self.succeeded);
            pods.any(|pod| pod.annotation(INDEX) == Some(index.as_str()))
        };
        (0..self.completions())
            .rev()
            .filter(|index| !taken(index))
            .collect()
    }

    fn report(&self, plan: &mut Plan, end: Option<Value>, now: Timestamp) {
        let old = &self.job["status"];
        let mut status = json!({});
        let start = &old["startTime"];
        status["startTime"] = if start.is_null() {
            json!(condition::seconds(now))
        } else {
            start.clone()
        };
        let ready = self.active.iter().filter(|pod| pods::is_ready(pod)).count();
        let active = if end.is_some() { 0 } else { self.active.len() };
        for (key, count) in [
            ("active", active),
            ("ready", ready.min(active)),
            ("succeeded", self.succeeded.len()),
            ("failed", self.failed.len()),
        ] {
            if count > 0 || key == "ready" {
                status[key] = json!(count);
            }
        }
        if let Some(end) = end {
            if end["type"] == "Complete" {
                status["completionTime"] = json!(condition::seconds(now));
            }
            status["conditions"] = json!([end]);
        }
        if status != *old {
            let mut object = self.job.clone();
            object["status"] = status;
            plan.actions.push(Action::Status(object));
        }
    }

    /// A Job that has ended goes after `ttlSecondsAfterFinished`.
    fn after(&self, end: &Value, now: Timestamp) -> Option<Action> {
        let ttl = self.number("ttlSecondsAfterFinished")?;
        let ended = end["lastTransitionTime"]
            .as_str()
            .and_then(|at| at.parse::<Timestamp>().ok());
        let goes = ended.unwrap_or(now) + SignedDuration::from_secs(ttl);
        Some(if goes > now {
            Action::At(goes)
        } else {
            Action::Delete {
                kind: JOB,
                namespace: self.job.namespace().to_owned(),
                name: self.job.name().to_owned(),
                uid: self.job.uid().to_owned(),
            }
        })
    }
}

/// When the last container of a Pod ended; where the Pod does not say, when it was made.
fn finished(pod: &Value) -> Option<Timestamp> {
    let containers = pod["status"]["containerStatuses"].as_array();
    let ends = containers.into_iter().flatten();
    let ends = ends.filter_map(|c| c["state"]["terminated"]["finishedAt"].as_str());
    let end = ends.filter_map(|at| at.parse().ok()).max();
    let made = || pod["metadata"]["creationTimestamp"].as_str()?.parse().ok();
    end.or_else(made)
}

fn restarts(pod: &Value) -> i64 {
    let containers = pod["status"]["containerStatuses"]
        .as_array()
        .into_iter()
        .flatten();
    containers
        .filter_map(|container| container["restartCount"].as_i64())
        .sum()
}

/// The container learns its index from the environment.
fn give_index(pod: &mut Value, index: usize) {
    let containers = pod["spec"]["containers"].as_array_mut();
    for container in containers.into_iter().flatten() {
        let variable = json!({"name": "JOB_COMPLETION_INDEX", "value": index.to_string()});
        match container["env"].as_array_mut() {
            Some(env) => env.push(variable),
            None => container["env"] = json!([variable]),
        }
    }
}
