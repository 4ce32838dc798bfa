//! Manifests of earlier years on the real binary: those of `examples/corpus` apply or are refused
//! as its index says, `rekindle migrate` makes them of today, and the kinds of 2018 work.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use system::{App, Instance, Outcome, binary, run};

const SOON: Duration = Duration::from_secs(60);
const DISPLAY: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: display}
spec:
  selector: {matchLabels: {app: display}}
  template:
    metadata: {labels: {app: display}}
    spec:
      containers:
        - name: event-display
          image: gcr.io/knative-releases/knative.dev/eventing/cmd/event_display
---
apiVersion: v1
kind: Service
metadata: {name: display}
spec:
  selector: {app: display}
  ports: [{port: 80, targetPort: 8080}]
";

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/corpus");

fn file(path: &str) -> String {
    PathBuf::from(CORPUS).join(path).display().to_string()
}

fn apply(instance: &Instance, path: &str) -> Outcome {
    instance.kubectl_args(&["apply", "-f", &file(path)], "")
}

/// The files of the corpus and what each must do, as the index has it.
fn index() -> Vec<(String, String)> {
    let text = fs::read_to_string(file("index.yaml")).expect("the index");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (path, entry) = line.split_once(": ").expect("PATH: ENTRY");
            (path.to_owned(), entry.to_owned())
        })
        .collect()
}

/// `-f FILE` for each.
fn flags(paths: &[String]) -> Vec<String> {
    let pairs = paths.iter().map(|path| ["-f".to_owned(), file(path)]);
    pairs.flatten().collect()
}

/// How many objects a text has.
fn count(text: &str) -> usize {
    text.lines()
        .filter(|line| line.starts_with("kind: "))
        .count()
}

#[test]
fn the_corpus_applies_or_is_refused() {
    let instance = Instance::start();
    let index = index();
    let dry = |args: &[String], input: &str| {
        let mut words = vec!["apply", "--dry-run=server"];
        words.extend(args.iter().map(String::as_str));
        instance.kubectl_args(&words, input)
    };

    let applies = index.iter().filter(|(_, entry)| entry.contains("applies"));
    let applies: Vec<String> = applies.map(|(path, _)| path.clone()).collect();
    assert!(applies.len() > 60, "{}", applies.len());
    let said = dry(&flags(&applies), "").expect();
    let texts = applies.iter().map(|path| fs::read_to_string(file(path)));
    let objects: usize = texts.map(|text| count(&text.expect("a file"))).sum();
    assert_eq!(said.lines().count(), objects, "{said}");

    for (path, entry) in &index {
        let Some((_, why)) = entry.split_once("refused: \"") else {
            continue;
        };
        let why = why.trim_end_matches("\"}");
        let refused = dry(&flags(std::slice::from_ref(path)), "");
        assert!(!refused.ok, "{path} applies");
        assert!(refused.stderr.contains(why), "{path}: {}", refused.stderr);
    }

    // Kinds that nothing here runs say what to use, until somebody brings the real definition.
    let kafka = ["-f".to_owned(), file("2022-eventing/kafka.yaml")];
    let refused = dry(&kafka, "").expect_failure();
    let why = "KafkaChannel of messaging.knative.dev is not served here: use a Channel";
    assert!(refused.contains(why), "{refused}");
    let name = "kafkachannels.messaging.knative.dev";
    let definition = format!(
        r#"{{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {{"name": "{name}"}},
        "spec": {{"group": "messaging.knative.dev", "scope": "Namespaced",
        "names": {{"kind": "KafkaChannel", "listKind": "KafkaChannelList", "plural": "kafkachannels", "singular": "kafkachannel"}},
        "versions": [{{"name": "v1beta1", "served": true, "storage": true, "schema": {{"openAPIV3Schema":
        {{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}}]}}}}"#
    );
    instance.kubectl(&format!("delete crd {name}")).expect();
    instance.apply(&definition).expect();
    instance.eventually(SOON, || dry(&kafka, "").ok);

    // Builds are left to those who have a registry.
    let migrates = applies.iter().filter(|path| {
        let text = fs::read_to_string(file(path)).expect("a file");
        let entry = index.iter().find(|(known, _)| known == *path);
        !text.contains("build:") && entry.is_some_and(|(_, entry)| !entry.contains("without"))
    });
    let migrates: Vec<String> = migrates.cloned().collect();
    let mut migrate = Command::new(binary());
    migrate.arg("migrate").args(flags(&migrates));
    let today = run(&mut migrate, "").expect();
    assert!(!today.contains("v1alpha1\nkind: Service"), "{today}");
    let said = dry(&["-f".to_owned(), "-".to_owned()], &today).expect();
    assert_eq!(said.lines().count(), count(&today), "{said}");

    let mut migrate = Command::new(binary());
    migrate.args(["migrate", "-o", "summary", "-f"]);
    let refused = run(migrate.arg(file("2019-sources/extensions.yaml")), "");
    assert!(!refused.ok);
    assert_eq!(
        refused.stdout,
        "0 documents changed, 4 have no equivalent\n"
    );
    let why = "\"from-sqs\": use an IntegrationSource";
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
    let mut migrate = Command::new(binary());
    let unchanged = "# Mine.\nkind: Anvil\napiVersion: example.com/v1\nmetadata: {name: a}\n";
    let same = run(migrate.args(["migrate", "-f", "-"]), unchanged).expect();
    assert_eq!(same, unchanged);
}

#[test]
fn a_manual_service_of_2018() {
    let instance = Instance::start();
    instance.load(App::Hello, "docker.io/example/shop");
    apply(&instance, "2018-serving/manual.yaml").expect();
    let shop = fs::read_to_string(file("2018-serving/configuration-and-route.yaml"));
    let shop = shop.expect("a file").replace("name: shop", "name: by-hand");
    let shop = shop.replace("configurationName: shop", "configurationName: by-hand");
    instance
        .apply(&shop.replace("imagePullPolicy: Always", ""))
        .expect();
    await_ready(&instance, "route.serving.knative.dev/by-hand");
    let answer = instance.curl("by-hand.default.localhost", "/").expect();
    assert!(answer.starts_with("Hello"), "{answer}");
    let old = "get services.v1alpha1.serving.knative.dev by-hand -o jsonpath={.spec}";
    assert_eq!(instance.kubectl(old).expect(), "{\"manual\":{}}");
    let table = instance.kubectl("get ksvc by-hand --no-headers").expect();
    assert!(table.contains("Unknown"), "{table}");
    assert!(table.contains("Manual"), "{table}");
}

fn await_ready(instance: &Instance, what: &str) {
    instance
        .kubectl(&format!("wait {what} --for=condition=Ready --timeout=60s"))
        .expect();
}

fn condition(instance: &Instance, what: &str, condition: &str) -> String {
    let path = format!(
        "{{.status.conditions[?(@.type==\"{condition}\")].status}}: \
         {{.status.conditions[?(@.type==\"{condition}\")].message}}"
    );
    let (kind, name) = what.split_once('/').expect("KIND/NAME");
    let path = format!("jsonpath={path}");
    instance
        .kubectl_args(&["get", kind, name, "-o", &path], "")
        .expect()
}

#[test]
fn channels_and_feeds_of_2018() {
    let instance = Instance::start();
    instance.apply(DISPLAY).expect();
    for path in [
        "2018-channels/clusterbus.yaml",
        "2018-channels/channel.yaml",
        "2018-channels/subscription.yaml",
    ] {
        apply(&instance, path).expect();
    }
    await_ready(&instance, "clusterbus/kafka");
    await_ready(&instance, "channels.channels.knative.dev/postcards");
    await_ready(&instance, "subscriptions.channels.knative.dev/postman");
    instance
        .kubectl("rollout status deploy/display --timeout=60s")
        .expect();
    let table = instance.kubectl("get chan").expect();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["NAME", "DOMAIN", "READY", "REASON", "AGE"]);
    let domain = "postcards-channel.default.svc.cluster.local";
    assert_eq!(rows[1][..3], ["postcards", domain, "True"]);

    // Who says `channels` today means today's.
    let today = instance.kubectl("get channels,sub -o name").expect();
    assert_eq!(
        today,
        "channel.messaging.knative.dev/postcards\nsubscription.messaging.knative.dev/postman\n"
    );

    let mut send = instance.rekindle("event");
    let url = format!("http://{domain}");
    send.args(["send", "--to-url", &url, "--id", "1", "--type", "card"]);
    send.args(["--source", "/sea", "--data", "\"wish you were here\""]);
    send.env("KUBECONFIG", instance.kubeconfig());
    run(&mut send, "").expect();
    let log = || instance.kubectl("logs deploy/display").expect();
    instance.eventually(SOON, || log().contains("wish you were here"));

    for path in [
        "2018-feeds/eventsource.yaml",
        "2018-feeds/eventtype.yaml",
        "2018-feeds/feed-of-a-schedule.yaml",
    ] {
        apply(&instance, path).expect();
    }
    await_ready(&instance, "feed/ticker");
    instance.eventually(SOON, || log().contains("tock"));
    instance.kubectl("delete feed ticker").expect();
    instance.eventually(SOON, || {
        instance
            .kubectl("get pingsource -o name")
            .expect()
            .is_empty()
    });

    apply(&instance, "2018-feeds/feed-of-pubsub.yaml").expect();
    let said = || condition(&instance, "feed/from-google", "DependenciesSatisfied");
    instance.eventually(SOON, || said().starts_with("False: "));
    assert!(said().contains("use a ContainerSource"), "{}", said());

    let refused = apply(&instance, "2018-channels/channel-on-two-buses.yaml");
    assert!(!refused.ok);
    let why = "expected exactly one, got both: spec.bus, spec.clusterBus";
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
}

#[test]
fn channels_of_2019() {
    let instance = Instance::start();
    instance.apply(DISPLAY).expect();
    for path in [
        "2019-channels/provisioner.yaml",
        "2019-channels/channel.yaml",
        "2019-channels/channel-of-the-default.yaml",
        "2019-channels/subscription-from-channel-to-channel.yaml",
    ] {
        apply(&instance, path).expect();
    }
    // What goes into one channel goes on to the other, and from there to a name.
    let name = fs::read_to_string(file("2019-channels/subscription-to-a-name.yaml"));
    let name = name
        .expect("a file")
        .replace("name: testchannel\n", "name: answers\n");
    instance.apply(&name).expect();
    let group = "eventing.knative.dev";
    await_ready(&instance, "clusterchannelprovisioner/in-memory-channel");
    await_ready(&instance, &format!("channels.{group}/answers"));
    await_ready(&instance, &format!("channels.{group}/testchannel"));
    await_ready(&instance, &format!("subscriptions.{group}/copy"));
    await_ready(
        &instance,
        &format!("subscriptions.{group}/testchannel-to-display"),
    );
    instance
        .kubectl("rollout status deploy/display --timeout=60s")
        .expect();

    // Who says `channels` today means today's; the old ones show their state in their own words.
    let today = instance
        .kubectl("get channels,subscription -o name")
        .expect();
    let of_today = "channel.messaging.knative.dev/answers\n\
                    channel.messaging.knative.dev/testchannel\n\
                    subscription.messaging.knative.dev/copy\n\
                    subscription.messaging.knative.dev/testchannel-to-display\n";
    assert_eq!(today, of_today);
    let host = format!("get channels.{group} testchannel -o jsonpath={{.status.address.hostname}}");
    let host = instance.kubectl(&host).expect();
    assert_eq!(host, "testchannel-kn-channel.default.svc.cluster.local");
    let reply = "-o jsonpath={.status.physicalSubscription.subscriberURI}";
    let reply = instance
        .kubectl(&format!("get subscriptions.{group} copy {reply}"))
        .expect();
    assert_eq!(reply, "http://answers-kn-channel.default.svc.cluster.local");

    let mut send = instance.rekindle("event");
    let url = format!("http://{host}");
    send.args(["send", "--to-url", &url, "--id", "1", "--type", "word"]);
    send.args(["--source", "/then", "--data", "\"from the old days\""]);
    send.env("KUBECONFIG", instance.kubeconfig());
    run(&mut send, "").expect();
    let log = || instance.kubectl("logs deploy/display").expect();
    instance.eventually(SOON, || log().contains("from the old days"));

    apply(&instance, "2019-eventing/sequence-of-messaging.yaml").expect();
    let steps = "get sequence first-assembly -o jsonpath={.spec.steps[*].ref.apiVersion}";
    instance.eventually(SOON, || {
        instance.kubectl(steps).stdout == "serving.knative.dev/v1"
    });
    instance
        .kubectl(&format!(
            "delete channels.{group},subscriptions.{group},sequences.messaging.knative.dev --all"
        ))
        .expect();
    instance.eventually(SOON, || {
        let left = "get channels,subscriptions,sequences,inmemorychannels -o name";
        instance.kubectl(left).expect().is_empty()
    });
}

#[test]
fn a_flow_of_2018() {
    let instance = Instance::start();
    for path in [
        "2018-flows/account.yaml",
        "2018-flows/function.yaml",
        "2018-flows/flow-of-kubernetes-events.yaml",
    ] {
        apply(&instance, path).expect();
    }
    await_ready(&instance, "flow/cluster-news");
    let said = condition(&instance, "flow/cluster-news", "ActionTargetResolved");
    assert_eq!(
        said,
        "True: Resolved to: \"http://reader.default.svc.cluster.local\""
    );
    let event = "
apiVersion: v1
kind: Event
metadata: {name: herald, namespace: default}
involvedObject: {kind: Pod, namespace: default, name: nobody}
reason: Heard
message: hear ye
type: Normal
";
    instance.apply(event).expect();
    let logs = "logs -l serving.knative.dev/configuration=reader -c user-container --tail=-1";
    instance.eventually(SOON, || {
        let log = instance.kubectl(logs);
        log.ok && log.stdout.contains("hear ye")
    });
    instance.kubectl("delete flow cluster-news").expect();
    instance.eventually(SOON, || {
        let left = "get feeds,apiserversources,channels.channels.knative.dev,channels -o name";
        instance.kubectl(left).expect().is_empty()
    });
}
