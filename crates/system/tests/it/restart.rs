//! The daemon is killed with SIGKILL and started again: its state is there, and the containers
//! have gone on without it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use system::{App, Image, Instance, binary, run};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: counter}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: counter
      image: example.com/busybox
      args: [-c, 'i=0; while true; do echo line $i; i=$((i+1)); sleep 1; done']
";

#[test]
fn kill_9_keeps_objects_and_containers() {
    let mut instance = Instance::start();
    instance.load_image(&Image::busybox("example.com/busybox").expect("make the image"));
    instance.apply(POD).expect();
    instance
        .kubectl("create configmap kept --from-literal=k=v")
        .expect();
    instance
        .kubectl("wait pod/counter --for=condition=Ready --timeout=60s")
        .expect();
    let status = "get pod counter -o jsonpath={.metadata.uid},{.status.podIP},\
                  {.status.containerStatuses[0].containerID},\
                  {.status.containerStatuses[0].restartCount}";
    let before = instance.kubectl(status).expect();

    instance.kill_9();
    instance.restart();

    assert_eq!(
        instance
            .kubectl("get cm kept -o jsonpath={.data.k}")
            .expect(),
        "v"
    );
    instance
        .kubectl("wait pod/counter --for=condition=Ready --timeout=60s")
        .expect();
    assert_eq!(instance.kubectl(status).expect(), before);
    instance.kubectl("exec counter -- sh -c true").expect();
    let lines = || instance.kubectl("logs counter").expect();
    let then = lines().lines().count();
    instance.eventually(Duration::from_secs(30), || lines().lines().count() > then);
    assert!(
        lines().starts_with("line 0\n"),
        "the log goes on, from its start"
    );
}

/// Who takes the lead from nobody counts a transition; who still has it does not.
#[test]
fn the_lead_is_given_back_at_the_end_and_kept_through_a_crash() {
    let mut instance = Instance::start();
    let words = "get lease -n knative-serving controller.00-of-01 \
                 -o jsonpath={.spec.holderIdentity},{.spec.leaseTransitions}";
    let lease = |instance: &Instance| {
        let lease = instance.kubectl(words).expect();
        let (holder, transitions) = lease.split_once(',').expect("both");
        (holder.to_owned(), transitions.parse::<u32>().unwrap_or(0))
    };
    let patience = Duration::from_secs(60);
    instance.eventually(patience, || instance.kubectl(words).ok);
    let (holder, before) = lease(&instance);
    instance.kill_9();
    instance.restart();
    assert_eq!(lease(&instance), (holder.clone(), before));
    instance.terminate();
    instance.restart();
    instance.eventually(patience, || {
        lease(&instance) == (holder.clone(), before + 1)
    });
}

/// A gateway that has just come up again knows no host yet; a request that comes by then waits.
#[test]
fn the_first_request_after_a_restart_is_answered() {
    let mut instance = Instance::start();
    instance.load(App::Hello, "example.com/hello");
    let names: Vec<String> = (0..20).map(|number| format!("hello-{number}")).collect();
    let services: Vec<String> = names
        .iter()
        .map(|name| {
            format!(
                "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {{name: {name}}}\n\
                 spec: {{template: {{spec: {{containers: [{{image: example.com/hello}}]}}}}}}\n"
            )
        })
        .collect();
    instance.apply(&services.join("---\n")).expect();
    instance
        .kubectl("wait ksvc --all --for=condition=Ready --timeout=60s")
        .expect();
    for name in names.iter().rev().take(3) {
        instance.kill_9();
        instance.restart();
        let host = format!("{name}.default.localhost");
        assert_eq!(instance.curl(&host, "/").expect(), "Hello World!\n");
    }
}

/// A byte of the journal that changed on the medium is damage, no torn end: the start says where
/// and what helps, and what it names helps.
#[test]
fn a_damaged_store_is_refused_and_repaired() {
    let mut instance = Instance::start();
    let create = |instance: &Instance, name: &str| {
        let create = format!("create configmap {name} --from-literal=word=of-{name}");
        instance.kubectl(&create).expect();
    };
    create(&instance, "one");
    create(&instance, "lost");
    // What a start has recovered is on the medium before anything else is written.
    instance.kill_9();
    instance.restart();
    create(&instance, "two");
    instance.kill_9();
    let store = instance.data_dir().join("store");
    let files = fs::read_dir(&store).expect("the store").flatten();
    let mut journals: Vec<PathBuf> = files.map(|entry| entry.path()).collect();
    journals.retain(|path| path.display().to_string().contains("/journal-"));
    let journal = journals.pop().expect("a journal");
    let mut bytes = fs::read(&journal).expect("read");
    let word = b"of-lost";
    let mut places = bytes.windows(word.len());
    let at = places.position(|part| part == word).expect("the word");
    bytes[at] ^= 1;
    fs::write(&journal, &bytes).expect("write");

    let mut up = instance.inside("timeout");
    up.arg("60").arg(binary()).arg("up");
    let refused = run(up.arg("--data-dir").arg(instance.data_dir()), "").expect_failure();
    let place = format!("{} is damaged at byte ", journal.display());
    assert!(refused.contains(&place), "{refused}");
    let data_dir = instance.data_dir().display().to_string();
    let remedy = format!("rekindle store repair --data-dir {data_dir}");
    assert!(refused.contains(&remedy), "{refused}");

    let mut repair = instance.inside(&binary());
    let said = run(
        repair.args(["store", "repair", "--data-dir", &data_dir]),
        "",
    )
    .expect();
    assert!(
        said.contains("are lost: the checksum does not match"),
        "{said}"
    );
    instance.restart();
    let names = instance.kubectl("get configmaps -o name").expect();
    let has = |name: &str| names.contains(&format!("configmap/{name}\n"));
    assert_eq!([has("one"), has("lost")], [true, false], "{names}");
    assert!(names.contains("configmap/two"), "{names}");
}
