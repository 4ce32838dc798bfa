//! A Broker whose log cannot be opened says so in its conditions, and in its Triggers'; it is ready
//! again when the log is.

use std::fs;

use system::Instance;

use super::event_support::{BROKER, SOON, consumer, load_consumer, ready, rolled_out, trigger};

#[test]
fn conditions_follow_the_log() {
    let mut instance = Instance::start();
    load_consumer(&instance);
    let manifest = [
        BROKER.to_owned(),
        consumer("display", ""),
        trigger(
            "t",
            "type: x",
            "{ref: {apiVersion: v1, kind: Service, name: display}}",
            "{}",
        ),
    ];
    instance.apply(&manifest.concat()).expect();
    rolled_out(&instance, &["display"]);
    ready(&instance, "broker/default");
    ready(&instance, "trigger/t");
    let uid = instance.kubectl("get broker default -o jsonpath={.metadata.uid}");
    let log = instance.data_dir().join("events").join(uid.expect());
    let aside = log.with_extension("aside");
    instance.kill_9();
    fs::rename(&log, &aside).expect("put the log aside");
    fs::write(&log, "no directory").expect("take its place");
    instance.restart();
    let says = |instance: &Instance, what: &str, expected: &str| {
        let found = instance.kubectl(&format!("get {what} -o jsonpath={{.status.conditions}}"));
        found.ok && found.stdout.contains(expected)
    };
    for what in ["broker/default", "trigger/t"] {
        let why = "DataPlaneUnavailable";
        instance.eventually(SOON, || says(&instance, what, why));
    }
    let conditions = instance.kubectl("get broker default -o jsonpath={.status.conditions}");
    let conditions = conditions.expect();
    assert!(conditions.contains(&*log.to_string_lossy()), "{conditions}");
    fs::remove_file(&log).expect("make room");
    fs::rename(&aside, &log).expect("put the log back");
    ready(&instance, "broker/default");
    ready(&instance, "trigger/t");
}
