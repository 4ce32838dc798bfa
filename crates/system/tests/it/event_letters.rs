//! Dead letters for people: looked at and sent again from the command line.

use serde_json::Value;
use system::{Instance, Outcome};

use crate::event_support::{
    BROKER, SOON, consumer, load_consumer, post, ready, rolled_out, seen, trigger,
};

fn letters(instance: &Instance, words: &str) -> Vec<Value> {
    let list = instance.verb(&format!("event dead-letters list -o json {words}"));
    serde_json::from_str(&list.expect()).expect("a list as JSON")
}

fn delete(instance: &Instance, words: &str) -> Outcome {
    instance.verb(&format!("event dead-letters delete {words}"))
}

fn resend(instance: &Instance, words: &str) -> Outcome {
    instance.verb(&format!("event dead-letters resend {words}"))
}

#[test]
fn letters_are_listed_and_sent_again_when_the_consumer_is_repaired() {
    let instance = Instance::start();
    load_consumer(&instance);
    let once = "{retry: 0}";
    let to = |name: &str| format!("{{ref: {{apiVersion: v1, kind: Service, name: {name}}}}}");
    let manifest = [
        BROKER.to_owned(),
        consumer(
            "broken",
            "{name: STATUS, value: '500'}, {name: REPLY_TYPE, value: answer}",
        ),
        consumer("answers", ""),
        trigger("work", "type: task", &to("broken"), once),
        trigger("answered", "type: answer", &to("answers"), once),
        trigger("lost", "type: lost", "{uri: 'http://127.0.0.1:9'}", once),
    ];
    instance.apply(&manifest.concat()).expect();
    rolled_out(&instance, &["broken", "answers"]);
    ready(
        &instance,
        "broker/default trigger/work trigger/answered trigger/lost",
    );
    assert_eq!(
        instance.verb("event dead-letters list").expect(),
        "No dead letters found.\n"
    );
    for (id, kind) in [("1", "task"), ("2", "task"), ("3", "lost")] {
        assert_eq!(post(&instance, "broker default", id, kind), "202");
    }
    instance.eventually(SOON, || letters(&instance, "").len() == 3);

    let work = letters(&instance, "--trigger work --broker default --since 1h");
    let ids: Vec<&Value> = work.iter().map(|letter| &letter["event"]["id"]).collect();
    assert_eq!(ids, ["1", "2"]);
    assert_eq!(
        (&work[0]["code"], &work[0]["answer"]),
        (&500.into(), &"as it was told to".into())
    );
    let table = instance.verb("event dead-letters list").expect();
    assert!(
        table.contains("trigger/lost") && table.ends_with("3 dead letters.\n"),
        "{table}"
    );
    let first = work[0]["id"].to_string();
    let shown = instance.verb(&format!("event dead-letters show {first} --broker default"));
    let shown = shown.expect();
    assert!(
        shown.contains("Answer:") && shown.contains("  type: task\n"),
        "{shown}"
    );
    // Whoever may not, does not.
    let other = "get --raw /apis/eventing.knative.dev/v1/namespaces/default/brokers/default/deadletters --as nobody";
    let refused = instance.kubectl(other).expect_failure();
    assert!(refused.contains("brokers/deadletters"), "{refused}");

    assert!(resend(&instance, "").expect_failure().contains("--all"));
    let dry = resend(&instance, "--trigger work --dry-run").expect();
    assert!(dry.ends_with("2 would be sent, 0 failed.\n"), "{dry}");
    let broken = resend(&instance, &format!("{first} --broker default"));
    assert!(broken.stdout.contains("answered 500"), "{}", broken.stdout);
    broken.expect_failure();
    assert_eq!(letters(&instance, "").len(), 3, "nothing was taken");

    instance
        .kubectl("set env deploy/broken STATUS=200")
        .expect();
    rolled_out(&instance, &["broken"]);
    let sent = resend(&instance, "--trigger work").expect();
    assert!(sent.ends_with("2 sent, 0 failed.\n"), "{sent}");
    assert_eq!(letters(&instance, "").len(), 1);
    // What the consumer answers goes on as ever.
    instance.eventually(SOON, || {
        let seen = seen(&instance, "answers");
        ["ce-id: 1\n", "ce-id: 2\n"]
            .iter()
            .all(|id| seen.contains(id))
    });
    assert!(!seen(&instance, "broken").contains("knativeerror"));
    let gone = resend(&instance, &format!("{first} --broker default")).expect_failure();
    assert!(gone.contains("there is no dead letter"), "{gone}");
}

#[test]
fn letters_of_a_trigger_that_is_gone_are_thrown_away() {
    let instance = Instance::start();
    let once = "{retry: 0}";
    let nobody = "{uri: 'http://127.0.0.1:9'}";
    let manifest = [
        BROKER.to_owned(),
        trigger("goes", "type: a", nobody, once),
        trigger("stays", "type: b", nobody, once),
    ];
    instance.apply(&manifest.concat()).expect();
    ready(&instance, "broker/default trigger/goes trigger/stays");
    for (id, kind) in [("1", "a"), ("2", "a"), ("3", "b"), ("4", "b")] {
        assert_eq!(post(&instance, "broker default", id, kind), "202");
    }
    instance.eventually(SOON, || letters(&instance, "").len() == 4);
    let uid = letters(&instance, "--trigger goes")[0]["subscriber"]["uid"].clone();
    let uid = uid.as_str().expect("a UID").to_owned();
    instance.kubectl("delete trigger goes").expect();
    instance.eventually(SOON, || letters(&instance, "--trigger goes").is_empty());

    assert!(delete(&instance, "").expect_failure().contains("--all"));
    let dry = delete(&instance, &format!("--trigger {uid} --dry-run")).expect();
    assert!(dry.ends_with("2 would be deleted, 0 failed.\n"), "{dry}");
    let deleted = delete(&instance, &format!("--trigger {uid}")).expect();
    assert!(
        deleted.contains(&format!("of <gone: {uid}>: deleted")),
        "{deleted}"
    );
    assert!(deleted.ends_with("2 deleted, 0 failed.\n"), "{deleted}");
    let left = letters(&instance, "");
    let ids: Vec<&Value> = left.iter().map(|letter| &letter["event"]["id"]).collect();
    assert_eq!(ids, ["3", "4"]);

    let first = format!("{} --broker default", left[0]["id"]);
    delete(&instance, &first).expect();
    let gone = delete(&instance, &first).expect_failure();
    assert!(gone.contains("there is no dead letter"), "{gone}");
    assert_eq!(letters(&instance, "").len(), 1);
}
