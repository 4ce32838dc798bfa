//! Events and kn's verbs from the command line, without kubectl.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use system::{Instance, run};

const SOON: Duration = Duration::from_secs(30);

/// `rekindle VERB WORDS…` as a client of the instance.
fn client(instance: &Instance, words: &str) -> Command {
    let mut words = words.split_whitespace();
    let mut command = instance.rekindle(words.next().expect("a verb"));
    command
        .args(words)
        .env("KUBECONFIG", instance.kubeconfig())
        .env("REKINDLE_CONSOLE_LISTEN", instance.address("console"));
    command
}

#[test]
fn a_broker_from_the_command_line() {
    let instance = Instance::start();
    let said = |words: &str| run(&mut client(&instance, words), "").expect();
    assert_eq!(
        said("broker create default"),
        "Broker 'default' successfully created in namespace 'default'.\n"
    );
    instance.eventually(SOON, || said("broker list").contains(" True"));
    let refused = client(&instance, "event send --broker none --type t --source /s");
    let refused = run(&mut { refused }, "").expect_failure();
    assert!(refused.contains("\"none\" not found"), "{refused}");

    let tail = client(&instance, "event tail --filter type=seen --count 1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the tail");
    let tail = thread::spawn(move || tail.wait_with_output());
    instance.eventually(SOON, || said("trigger list").contains(" True"));
    let trigger = said("trigger list");
    let trigger = trigger.lines().nth(1).expect("the tail's Trigger");
    let trigger = trigger.split_whitespace().next().expect("its name");

    // Whoever is terminated takes its Trigger along, too.
    let mut other = client(&instance, "event tail --filter type=never")
        .stdout(Stdio::null())
        .spawn()
        .expect("start another tail");
    let triggers = || said("trigger list").lines().count() - 1;
    instance.eventually(SOON, || triggers() == 2);
    let pid = other.id().to_string();
    run(Command::new("kill").args(["-TERM", &pid]), "").expect();
    assert!(other.wait().expect("its end").success());
    assert_eq!(triggers(), 1);

    for kind in ["unseen", "seen"] {
        let words = format!(
            "event send --broker default --id {kind} --type {kind} --source /cli --data {{\"n\":1}}"
        );
        assert_eq!(
            said(&words),
            format!("Event (ID: {kind}) have been sent.\n")
        );
    }
    let described = format!("trigger describe {trigger}");
    let tail = tail
        .join()
        .expect("the thread waits only")
        .expect("its end");
    let printed = String::from_utf8_lossy(&tail.stdout).into_owned();
    assert!(
        printed.contains("  type: seen\n  source: /cli\n  id: seen\n"),
        "{printed}"
    );
    assert!(!printed.contains("unseen"), "{printed}");
    // The Trigger goes with the command that made it.
    assert_eq!(said("trigger list"), "No triggers found.\n");
    assert!(
        run(&mut client(&instance, &described), "")
            .expect_failure()
            .contains("not found")
    );

    let sink = "http://127.0.0.1:9/";
    said(&format!(
        "trigger create dead --filter type=seen --sink {sink}"
    ));
    let described = said("trigger describe dead");
    for line in ["Broker:", "type:", "URI:", "Conditions:"] {
        assert!(described.contains(line), "{described}");
    }
    said("event send --broker default --type seen --source /cli");
    // By default a Broker's events are retried for minutes.
    instance.eventually(SOON, || {
        let described = said("trigger describe dead");
        let retried = |row: &&str| row.trim_start().starts_with("Retried:");
        let row = described.lines().find(retried);
        row.is_some_and(|row| !row.ends_with(" 0")) && described.contains("Lag:")
    });
    assert_eq!(
        said("trigger delete dead"),
        "Trigger 'dead' successfully deleted in namespace 'default'.\n"
    );
}
