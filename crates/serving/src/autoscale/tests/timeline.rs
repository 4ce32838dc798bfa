//! The Decider in simulated time. A story is lines of `SECONDs key=value … -> want N [panic]`:
//! `ready=` and `concurrency=` hold from that second on (a report is made every second while
//! there is something to report, `silent` stops it); `-> want` is what must have been decided by
//! then, the inputs of that second included.

use std::time::Duration;

use stdx::{Instant, Machine};

use super::super::*;
use crate::route::RevisionKey;

const SPEC: DeciderSpec = DeciderSpec {
    max_scale_up_rate: 1000.0,
    max_scale_down_rate: 2.0,
    metric: Metric::Concurrency,
    aggregation: Aggregation::Linear,
    target: 10.0,
    total: 10.0,
    target_burst_capacity: 0.0,
    activator_capacity: 100.0,
    panic_threshold: 2.0,
    stable_window: Duration::from_secs(60),
    panic_window: Duration::from_secs(6),
    scale_down_delay: Duration::ZERO,
    initial_scale: 1,
    activation_scale: 0,
    reachable: true,
};

fn stat(concurrency: f64) -> Stat {
    Stat {
        revision: RevisionKey::new("ns", "r"),
        reporter: "activator".to_owned(),
        average_concurrent_requests: concurrency,
        average_proxied_concurrent_requests: 0.0,
        request_count: concurrency,
        proxied_request_count: 0.0,
        so_far: false,
    }
}

struct Story {
    decider: Decider,
    second: u64,
    concurrency: Option<f64>,
}

impl Story {
    fn run_to(&mut self, second: u64) {
        while self.second < second {
            self.second += 1;
            self.step();
        }
    }

    fn step(&mut self) {
        let now = Instant::from_secs(self.second);
        if let Some(concurrency) = self.concurrency {
            self.decider.handle(now, Input::Stat(stat(concurrency)));
        }
        while self.decider.poll_timeout().is_some_and(|due| due <= now) {
            self.decider.handle_timeout(now);
        }
    }

    fn line(&mut self, line: &str) {
        let (inputs, want) = line.split_once("->").unwrap_or((line, ""));
        let mut words = inputs.split_whitespace();
        let second = words.next().and_then(|word| word.strip_suffix('s'));
        let second: u64 = second
            .and_then(|s| s.parse().ok())
            .expect("`SECONDs` first");
        self.run_to(second.saturating_sub(1));
        let now = Instant::from_secs(second);
        for word in words {
            match word.split_once('=') {
                Some(("ready", n)) => self.decider.handle(now, Input::Ready(n.parse().unwrap())),
                Some(("concurrency", x)) => self.concurrency = Some(x.parse().unwrap()),
                _ => self.concurrency = None,
            }
        }
        self.second = second;
        self.step();
        if let Some(want) = want.trim().strip_prefix("want ") {
            let latest = self.decider.latest();
            let panic = if latest.panicking { " panic" } else { "" };
            assert_eq!(format!("{}{panic}", latest.desired), want, "at `{line}`");
        }
    }
}

#[track_caller]
fn check(spec: DeciderSpec, ready: u32, story: &str) -> Story {
    let mut told = Story {
        decider: Decider::new(Instant::ZERO, spec, ready),
        second: 0,
        concurrency: None,
    };
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        told.line(line);
    }
    told
}

#[test]
fn panics_on_a_surge_and_comes_down_after_a_stable_window() {
    check(
        SPEC,
        0,
        "0s   concurrency=8 -> want 1
         1s   ready=1
         20s                -> want 1
         30s  concurrency=95
         34s                -> want 9 panic
         40s  ready=10      -> want 10 panic
         60s  concurrency=10
         98s                -> want 10 panic
         104s               -> want 5
         115s ready=5
         150s               -> want 2",
    );
}

#[test]
fn a_request_at_zero_is_answered_at_once_and_zero_needs_no_tick() {
    let mut story = check(
        SPEC,
        1,
        "0s  concurrency=0
         4s  ready=0 silent
         70s          -> want 0",
    );
    assert_eq!(story.decider.poll_timeout(), None);
    story.line("100s concurrency=1 -> want 1");
}

#[test]
fn load_beyond_the_decision_is_seen_before_the_tick() {
    let mut story = check(SPEC, 1, "0s concurrency=1\n 9s -> want 1");
    let due = story.decider.poll_timeout().unwrap();
    story
        .decider
        .handle(Instant::from_millis(9_500), Input::Stat(stat(500.0)));
    assert!(due > Instant::from_millis(9_500));
    assert!(story.decider.latest().desired > 1);
}

#[test]
fn a_restarted_autoscaler_keeps_the_scale_it_finds() {
    check(
        SPEC,
        7,
        "1s  concurrency=3
         10s -> want 7 panic
         59s -> want 7 panic
         64s -> want 3",
    );
}

#[test]
fn nothing_measured_nothing_decided() {
    check(
        SPEC,
        1,
        "30s -> want -1\n 31s concurrency=0\n 33s -> want 0",
    );
}

#[test]
fn with_unlimited_burst_silence_means_zero() {
    let spec = DeciderSpec {
        target_burst_capacity: -1.0,
        ..SPEC
    };
    check(spec, 1, "2s -> want 0");
}

#[test]
fn a_lower_decision_waits_for_the_delay() {
    let spec = DeciderSpec {
        scale_down_delay: Duration::from_secs(30),
        stable_window: Duration::from_secs(6),
        panic_threshold: 10.0,
        ..SPEC
    };
    check(
        spec,
        4,
        "1s   concurrency=40
         100s               -> want 4
         101s concurrency=10
         125s               -> want 4
         140s               -> want 2",
    );
}

#[test]
fn the_decision_changes_hands_only_when_it_matters() {
    let mut decider = Decider::new(Instant::ZERO, SPEC, 1);
    for second in 1..=20 {
        let now = Instant::from_secs(second);
        decider.handle(now, Input::Stat(stat(5.0)));
        decider.handle_timeout(now);
    }
    let outputs: Vec<i32> = std::iter::from_fn(|| decider.poll_output())
        .map(|decision| decision.desired)
        .collect();
    assert_eq!(outputs, [1]);
}

#[test]
fn a_sample_stands_for_all() {
    let sample = [stat(2.0), stat(4.0)];
    let all = extrapolate(&sample, 10).unwrap();
    assert_eq!(all.average_concurrent_requests, 30.0);
    assert_eq!(extrapolate(&[], 10), None);
}

#[test]
fn a_resized_window_keeps_what_fits() {
    let mut window = Window::new(Duration::from_secs(6));
    for second in 1..=6 {
        window.record(Instant::from_secs(second), second as f64);
    }
    window.resize(Duration::from_secs(3));
    assert_eq!(window.average(Instant::from_secs(6)), 5.0);
    window.resize(Duration::from_secs(60));
    assert_eq!(window.average(Instant::from_secs(6)), 5.0);
}

fn so_far(concurrency: f64) -> Stat {
    Stat {
        so_far: true,
        ..stat(concurrency)
    }
}

/// The Pods decided on after each of `seen`, in milliseconds of the second after 20 idle ones.
fn after_idle(ready: u32, seen: &[(u64, Stat)]) -> Vec<i32> {
    let mut decider = Decider::new(Instant::ZERO, SPEC, ready);
    for second in (1..=20).filter(|_| ready > 0) {
        decider.handle(Instant::from_secs(second), Input::Stat(stat(0.0)));
        decider.handle_timeout(Instant::from_secs(second));
    }
    let decide = |(millis, stat): &(u64, Stat)| {
        let now = Instant::from_secs(20) + Duration::from_millis(*millis);
        decider.handle(now, Input::Stat(stat.clone()));
        decider.latest().desired
    };
    seen.iter().map(decide).collect()
}

#[test]
fn a_step_need_not_wait_for_the_end_of_the_second() {
    // 600 at a time, of which 10 fit a Pod: over a panic window of 6 s another 10 Pods a second.
    let beginnings: Vec<_> = (1..=10)
        .map(|tenth| (tenth * 100, so_far(tenth as f64 * 60.0)))
        .collect();
    assert_eq!(
        after_idle(1, &beginnings),
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        "each tenth of a second asks for one more"
    );
    // The beginnings are not counted: the end of the second says the same once more.
    let mut whole = beginnings;
    whole.push((1000, stat(600.0)));
    assert_eq!(after_idle(1, &whole).last(), Some(&10));
}

#[test]
fn what_waits_for_the_first_pods_counts_in_full() {
    let burst = [(0, stat(1.0)), (1, so_far(30.0)), (990, so_far(50.0))];
    assert_eq!(after_idle(0, &burst), [1, 3, 5]);
}
