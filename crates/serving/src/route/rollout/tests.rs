//! Rollouts step by step, and their golden vectors.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Scenario {
    duration_s: f64,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    now_ns: i64,
    goal: String,
    pct: i64,
    observe_ready: bool,
    state: Rollout,
    next_ns: i64,
}

fn rollout(revision: &str, percent: i64) -> Rollout {
    Rollout {
        configurations: vec![ConfigurationRollout {
            configuration_name: "c".to_owned(),
            percent,
            revisions: vec![RevisionRollout {
                revision_name: revision.to_owned(),
                percent,
            }],
            ..ConfigurationRollout::default()
        }],
    }
}

/// Knative's own answers (`golden/rollout.json`). Each scenario begins with all traffic on `r1`.
#[test]
fn golden_rollout() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");
    let folder = std::env::var("REKINDLE_GOLDEN").unwrap_or_else(|_| default.to_owned());
    let path = std::path::Path::new(&folder).join("rollout.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let scenarios: Vec<Scenario> = serde_json::from_str(&text).unwrap();
    let (mut failures, mut steps) = (Vec::new(), 0);
    for (number, scenario) in scenarios.iter().enumerate() {
        let first = scenario.steps.first().map_or(0, |step| step.pct);
        let mut state = rollout("r1", first);
        for step in &scenario.steps {
            if step.observe_ready {
                state.observe_ready(step.now_ns, scenario.duration_s);
            }
            let (got, next) = rollout(&step.goal, step.pct).step(Some(state), step.now_ns);
            steps += 1;
            if (&got, next.unwrap_or(0)) != (&step.state, step.next_ns) {
                let want = &step.state;
                failures.push(format!(
                    "#{number} at {}: {got:?}, not {want:?}",
                    step.now_ns
                ));
                break;
            }
            state = Rollout::parse(&got.to_annotation()).expect("our own state is valid");
        }
    }
    println!(
        "golden_rollout: {} cases ({steps} steps), {} failed",
        scenarios.len(),
        failures.len()
    );
    assert!(!scenarios.is_empty(), "no cases");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_does_not_add_up_is_ignored() {
    let revisions = r#""revisions":[{"revisionName":"a","percent":40}]"#;
    let with = |rest: &str| format!(r#"{{"configurations":[{{"configurationName":"c",{rest}}}]}}"#);
    for bad in [
        "{".to_owned(),
        with(&format!(r#""percent":50,{revisions}"#)),
        with(&format!(
            r#""percent":40,{revisions},"stepParams":{{"stepSize":41}}"#
        )),
        with(r#""percent":101,"revisions":[{"revisionName":"a","percent":101}]"#),
    ] {
        assert_eq!(Rollout::parse(&bad), None, "{bad}");
    }
    assert!(Rollout::parse(&with(&format!(r#""percent":40,{revisions}"#))).is_some());
}

#[test]
fn a_changed_share_moves_at_once() {
    let mut prev = rollout("a", 60);
    prev.configurations[0].percent = 100;
    prev.configurations[0].revisions.push(RevisionRollout {
        revision_name: "b".to_owned(),
        percent: 40,
    });
    let shares = |goal: i64| -> Vec<i64> {
        let (state, _) = rollout("b", goal).step(Some(prev.clone()), 0);
        state.configurations[0]
            .revisions
            .iter()
            .map(|revision| revision.percent)
            .collect()
    };
    assert_eq!(shares(70), [30, 40]);
    assert_eq!(shares(30), [30]);
    let (state, next) = rollout("b", 0).step(Some(prev), 0);
    assert_eq!((state, next), (Rollout::default(), None));
}

#[test]
fn without_a_state_the_goal_is_reached_at_once() {
    assert_eq!(rollout("a", 100).step(None, 7), (rollout("a", 100), None));
    assert!(rollout("a", 100).is_done());
}
