//! Stories of CronJobs: what runs as time goes on.

use api::world::CRON_JOB;
use jiff::SignedDuration;

use super::*;

struct Clock(Cluster);

impl Clock {
    fn new(more: &Value) -> Self {
        let mut cluster = Cluster::new();
        cluster.pods_become_ready = false;
        let template = json!({"spec": {"template": {"spec": {"containers": []}}}});
        let mut spec = json!({"schedule": "*/10 * * * *", "jobTemplate": template});
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        let meta =
            json!({"name": "tick", "uid": "tick", "creationTimestamp": "2026-01-01T00:00:00Z"});
        cluster.put(CRON_JOB, json!({"metadata": meta, "spec": spec}));
        let mut clock = Self(cluster);
        clock.go(0);
        clock
    }

    /// Lets minutes pass.
    fn go(&mut self, minutes: i64) -> &mut Self {
        let later = self.0.world.now() + SignedDuration::from_mins(minutes);
        self.0.world.set_now(later);
        for _ in 0..20 {
            if self.plan() == 0 {
                return self;
            }
        }
        panic!("not quiet");
    }

    fn plan(&mut self) -> usize {
        let (cx, key) = (self.0.cx.clone(), Key::new("ns", "tick"));
        let plan = crate::cron_job::plan(&cx, &key, &self.0.world);
        let actions = plan.actions.into_iter();
        actions.filter(|action| self.0.perform(action)).count()
    }

    /// Ends all Jobs that run.
    fn end(&mut self, how: &str) -> &mut Self {
        for job in self.0.world.list(JOB, "ns") {
            if job["status"]["conditions"].is_null() {
                let mut job = Value::clone(&job);
                let at = crate::condition::seconds(self.0.world.now());
                job["status"] = json!({"conditions": [{"type": how, "status": "True"}]});
                job["status"]["completionTime"] = json!(at);
                self.0.put(JOB, job);
            }
        }
        self.go(0)
    }

    fn change(&mut self, key: &str, value: Value) -> &mut Self {
        let mut cron = Value::clone(&self.0.world.get(CRON_JOB, "ns", "tick").expect("there"));
        cron["spec"][key] = value;
        self.0.put(CRON_JOB, cron);
        self.go(0)
    }

    /// The times Jobs are for, with a star where one runs.
    #[track_caller]
    fn check(&self, expected: &[&str]) {
        let jobs = self.0.world.list(JOB, "ns");
        let say = |job: &Value| {
            let at = job.annotation("batch.kubernetes.io/cronjob-scheduled-timestamp");
            let at = at.unwrap_or_default()[11..16].to_owned();
            let runs = job["status"]["conditions"].is_null();
            format!("{at}{}", if runs { "*" } else { "" })
        };
        let said: Vec<String> = jobs.iter().map(|job| say(job)).collect();
        assert_eq!(said, expected);
        let cron = self.0.world.get(CRON_JOB, "ns", "tick").expect("there");
        let active = cron["status"]["active"].as_array().map_or(0, Vec::len);
        assert_eq!(active, said.iter().filter(|job| job.ends_with('*')).count());
    }
}

#[test]
fn jobs_start_when_they_are_due_and_old_ones_go() {
    let mut clock =
        Clock::new(&json!({"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 0}));
    clock.check(&[]);
    clock.go(9).check(&[]);
    clock.go(1).check(&["00:10*"]);
    clock.go(3).check(&["00:10*"]);
    clock.end("Complete").check(&["00:10"]);
    clock.go(35).check(&["00:10", "00:40*"]);
    let cron = clock.0.world.get(CRON_JOB, "ns", "tick").expect("there");
    assert_eq!(cron["status"]["lastScheduleTime"], "2026-01-01T00:40:00Z");
    assert_eq!(cron["status"]["lastSuccessfulTime"], "2026-01-01T00:13:00Z");
    let job = &clock.0.world.list(JOB, "ns")[1];
    let minutes = "2026-01-01T00:40:00Z"
        .parse::<Timestamp>()
        .expect("a time")
        .as_second()
        / 60;
    assert_eq!(job.name(), format!("tick-{minutes}"));
    clock.end("Complete").check(&["00:40"]);
    clock.go(5).end("Failed").check(&["00:40"]);
}

#[test]
fn what_still_runs_is_joined_awaited_or_replaced() {
    for (policy, expected) in [
        ("Allow", &["00:10*", "00:20*"][..]),
        ("Forbid", &["00:10*"]),
        ("Replace", &["00:20*"]),
    ] {
        let mut clock = Clock::new(&json!({"concurrencyPolicy": policy}));
        clock.go(10).go(10).check(expected);
        if policy == "Forbid" {
            clock.go(2).end("Complete").check(&["00:10", "00:20*"]);
        }
    }
}

#[test]
fn what_is_suspended_or_too_late_does_not_run() {
    let mut clock = Clock::new(&json!({"suspend": true}));
    clock.go(25).check(&[]);
    clock.change("suspend", json!(false)).check(&["00:20*"]);
    let mut clock = Clock::new(&json!({"suspend": true, "startingDeadlineSeconds": 200}));
    clock.go(25).change("suspend", json!(false)).check(&[]);
    clock.go(5).check(&["00:30*"]);
}

#[test]
fn the_schedule_is_read_on_the_clock_of_its_zone() {
    let more = json!({"schedule": "30 9 * * *", "timeZone": "Asia/Kolkata"});
    let mut clock = Clock::new(&more);
    clock.go(239).check(&[]);
    clock.go(1).check(&["09:30*"]);
    let job = &clock.0.world.list(JOB, "ns")[0];
    let at = job.annotation("batch.kubernetes.io/cronjob-scheduled-timestamp");
    assert_eq!(at, Some("2026-01-01T09:30:00+05:30"));
}
