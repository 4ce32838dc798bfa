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
