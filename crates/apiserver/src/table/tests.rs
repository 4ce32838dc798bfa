//! Cells as data.

use serde_json::{Value, json};

use super::*;

#[test]
fn durations_are_in_two_units() {
    for (seconds, expected) in [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (600, "10m"),
        (3 * 3600, "3h"),
        (4 * 3600 + 120, "4h2m"),
        (47 * 3600, "47h"),
        (50 * 3600, "2d2h"),
        (10 * 86400, "10d"),
        (3 * 365 * 86400, "3y"),
    ] {
        assert_eq!(human(seconds), expected, "{seconds}");
    }
}

#[test]
fn json_paths_find() {
    let object = json!({
        "metadata": {"annotations": {"a.b/c": "x"}},
        "status": {"conditions": [
            {"type": "Ready", "status": "True", "n": 3},
            {"type": "Other", "status": "False"},
        ]},
        "list": [1, 2],
    });
    let check = |path: &str, expected: &[&str]| {
        let found: Vec<_> = jsonpath::find(&object, path)
            .into_iter()
            .map(jsonpath::show)
            .collect();
        assert_eq!(found, expected, "{path}");
    };
    check(".status.conditions[?(@.type==\"Ready\")].status", &["True"]);
    check(".status.conditions[?(@.type=='Missing')].status", &[]);
    check(".status.conditions[?(@.n>2)].type", &["Ready"]);
    check(".metadata.annotations['a.b/c']", &["x"]);
    check(".metadata.annotations.a\\.b/c", &["x"]);
    check(".metadata.annotations['a\\.b/c']", &["x"]);
    check(".list[*]", &["1", "2"]);
    check(".list[-1]", &["2"]);
    check("{.list[0]}", &["1"]);
    check(".nothing.here", &[]);
}

#[test]
fn pods_say_what_they_are_doing() {
    let check = |status: Value, expected: [&str; 3]| {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}],
            "initContainers": [{"name": "i"}]}, "status": status});
        let cells = (pod::PRINTER.cells)(&pod);
        let shown: Vec<_> = cells[1..4].iter().map(|c| c.as_str().unwrap()).collect();
        assert_eq!(shown, expected, "{pod}");
    };
    check(json!({"phase": "Pending"}), ["0/2", "Pending", "0"]);
    let running = json!({"name": "a", "ready": true, "restartCount": 0, "state": {"running": {}}});
    let init = json!([{"name": "i", "state": {"terminated": {"exitCode": 0}}}]);
    check(
        json!({"phase": "Running", "initContainerStatuses": init, "containerStatuses": [running, running]}),
        ["2/2", "Running", "0"],
    );
    let back_off = json!({"name": "b", "ready": false, "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
    check(
        json!({"phase": "Running", "containerStatuses": [running, back_off]}),
        ["1/2", "CrashLoopBackOff", "4"],
    );
    check(
        json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
        ["0/2", "Init:0/1", "0"],
    );
    let done =
        json!({"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
    check(
        json!({"phase": "Succeeded", "containerStatuses": [done, done]}),
        ["0/2", "Completed", "0"],
    );
}
