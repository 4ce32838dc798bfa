//! CronJob → Jobs, at the times its schedule says.

use std::sync::Arc;

use api::cron::{Schedule, find_zone};
use api::object::ObjectExt;
use api::world::{Action, CRON_JOB, Context, JOB, Key, Plan, World};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::condition;
use crate::pods::owner_reference;

/// On a Job: the time it is for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// How far back the last time is looked for, in growing steps, seconds.
const LOOK_BACK_S: [i64; 6] = [120, 7_200, 172_800, 5_356_800, 31_622_400, 158_112_000];
/// Longest part of the CronJob's name in a Job's.
const NAME_MAX: usize = 52;

/// Plans one CronJob.
pub(crate) fn plan(_: &Context, key: &Key, world: &World) -> Plan {
    let mut plan = Plan::default();
    let Some(cron) = world.get(CRON_JOB, &key.namespace, &key.name) else {
        return plan;
    };
    if cron.is_terminating() {
        return plan;
    }
    let mut jobs = world.owned(JOB, &key.namespace, cron.uid());
    jobs.retain(|job| !job.is_terminating());
    jobs.sort_by_key(|job| (created(job), job.name().to_owned()));
    let mut run = Run {
        cron: &cron,
        jobs: &jobs,
        now: world.now(),
        plan: &mut plan,
    };
    run.forget();
    let scheduled = run.start(world);
    run.report(scheduled);
    plan
}

/// A CronJob and its Jobs, oldest first.
struct Run<'a> {
    cron: &'a Value,
    jobs: &'a [Arc<Value>],
    now: Timestamp,
    plan: &'a mut Plan,
}

impl Run<'_> {
    fn limit(&self, key: &str, default: u64) -> usize {
        let limit = self.cron["spec"][key].as_u64().unwrap_or(default);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// Takes away Jobs that have ended, but the last few.
    fn forget(&mut self) {
        for (end, key, default) in [
            ("Complete", "successfulJobsHistoryLimit", 3),
            ("Failed", "failedJobsHistoryLimit", 1),
        ] {
            let ended: Vec<&Arc<Value>> = self
                .jobs
                .iter()
                .filter(|job| condition::is_true(job, end))
                .collect();
            let surplus = ended.len().saturating_sub(self.limit(key, default));
            for job in &ended[..surplus] {
                self.delete(job);
            }
        }
    }

    fn delete(&mut self, job: &Value) {
        self.plan.actions.push(Action::Delete {
            kind: JOB,
            namespace: job.namespace().to_owned(),
            name: job.name().to_owned(),
            uid: job.uid().to_owned(),
        });
        let message = format!("Deleted job {}", job.name());
        self.event("Normal", "SuccessfulDelete", message);
    }

    fn event(&mut self, event_type: &'static str, reason: &str, message: String) {
        let event = Action::event(self.cron, event_type, reason, message);
        self.plan.actions.push(event);
    }

    /// Starts the Job that is due, if one is; gives the time it was due at.
    fn start(&mut self, world: &World) -> Option<Timestamp> {
        let spec = &self.cron["spec"];
        let text = |key: &str| spec[key].as_str().unwrap_or_default();
        if spec["suspend"] == true {
            return None;
        }
        // What cannot be read is refused when it is written.
        let schedule = Schedule::parse(text("schedule"), text("timeZone")).ok()?;
        self.plan
            .actions
            .extend(schedule.next(self.now).map(Action::At));
        let due = self.due(&schedule)?;
        let active: Vec<Arc<Value>> = self
            .jobs
            .iter()
            .filter(|job| is_active(job))
            .cloned()
            .collect();
        match text("concurrencyPolicy") {
            // It is tried again when that one has ended, while it is not too late.
            "Forbid" if !active.is_empty() => return None,
            "Replace" => active.iter().for_each(|job| self.delete(job)),
            _ => {}
        }
        let job = self.job(due, text("timeZone"));
        if world.get(JOB, self.cron.namespace(), job.name()).is_none() {
            let message = format!("Created job {}", job.name());
            self.plan.actions.push(Action::Create(job));
            self.event("Normal", "SuccessfulCreate", message);
        }
        Some(due)
    }

    /// The last time since the one before that has come, and is not too long ago.
    fn due(&self, schedule: &Schedule) -> Option<Timestamp> {
        let last = time(&self.cron["status"]["lastScheduleTime"]);
        let mut earliest = last.or_else(|| time(&self.cron["metadata"]["creationTimestamp"]))?;
        if let Some(deadline) = self.cron["spec"]["startingDeadlineSeconds"].as_i64() {
            earliest = earliest.max(self.now - SignedDuration::from_secs(deadline));
        }
        let mut due = LOOK_BACK_S.iter().find_map(|back| {
            let from = self
                .now
                .checked_sub(SignedDuration::from_secs(*back))
                .ok()?;
            schedule.next(from).filter(|at| *at <= self.now)
        })?;
        while let Some(next) = schedule.next(due).filter(|next| *next <= self.now) {
            due = next;
        }
        (due > earliest).then_some(due)
    }

    fn job(&self, due: Timestamp, zone: &str) -> Value {
        let template = &self.cron["spec"]["jobTemplate"];
        let mut base = self.cron.name().to_owned();
        base.truncate(NAME_MAX);
        let mut job = json!({
            "apiVersion": JOB.api_version(),
            "kind": JOB.kind,
            "metadata": {
                "name": format!("{base}-{}", due.as_second() / 60),
                "namespace": self.cron.namespace(),
                "ownerReferences": [owner_reference(self.cron)],
            },
            "spec": template["spec"],
        });
        for key in ["labels", "annotations"] {
            let value = &template["metadata"][key];
            if value.is_object() {
                job["metadata"][key] = value.clone();
            }
        }
        job["metadata"]["annotations"][SCHEDULED] = json!(local(due, zone));
        job
    }

    /// Tells of Jobs that were at work when the status was last written and have ended since.
    fn tell_ended(&mut self) {
        for job in self.jobs {
            let was = items(&self.cron["status"]["active"]);
            let was_active = was.iter().any(|active| active["uid"] == *job.uid());
            let ends = ["Complete", "Failed"];
            let end = ends.into_iter().find(|end| condition::is_true(job, end));
            if let Some(end) = end.filter(|_| was_active) {
                let name = job.name();
                let message = format!("Saw completed job: {name}, condition: {end}");
                self.event("Normal", "SawCompletedJob", message);
            }
        }
    }

    fn report(&mut self, scheduled: Option<Timestamp>) {
        let old = &self.cron["status"];
        let mut status = json!({});
        let active = self.jobs.iter().filter(|job| is_active(job));
        let active: Vec<Value> = active.map(|job| reference(job)).collect();
        if !active.is_empty() {
            status["active"] = json!(active);
        }
        let succeeded = self
            .jobs
            .iter()
            .filter(|job| condition::is_true(job, "Complete"));
        let ends = succeeded.filter_map(|job| time(&job["status"]["completionTime"]));
        let success = ends.chain(time(&old["lastSuccessfulTime"])).max();
        let last = scheduled.or_else(|| time(&old["lastScheduleTime"]));
        for (key, at) in [("lastScheduleTime", last), ("lastSuccessfulTime", success)] {
            if let Some(at) = at {
                status[key] = json!(condition::seconds(at));
            }
        }
        let is_same = status == *old || old.is_null() && status == json!({});
        if !is_same {
            self.tell_ended();
            let mut object = self.cron.clone();
            object["status"] = status;
            self.plan.actions.push(Action::Status(object));
        }
    }
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn is_active(job: &Value) -> bool {
    !condition::is_true(job, "Complete") && !condition::is_true(job, "Failed")
}

fn reference(job: &Value) -> Value {
    json!({
        "apiVersion": JOB.api_version(),
        "kind": JOB.kind,
        "name": job.name(),
        "namespace": job.namespace(),
        "uid": job.uid(),
        "resourceVersion": job["metadata"]["resourceVersion"],
    })
}

fn created(object: &Value) -> String {
    let created = object["metadata"]["creationTimestamp"].as_str();
    created.unwrap_or_default().to_owned()
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// A time on the clock of the CronJob's zone.
fn local(at: Timestamp, zone: &str) -> String {
    let zone = find_zone(zone).unwrap_or(TimeZone::UTC);
    let local = at.to_zoned(zone);
    match local.offset().is_zero() {
        true => local.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        false => local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    }
}
