//! The World finds what is there, and wakes whoever read what changed.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn pod(namespace: &str, name: &str, app: &str, owner: &str, version: u64) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": format!("uid-{name}"),
            "resourceVersion": version.to_string(),
            "labels": {"app": app},
            "ownerReferences": [{"uid": owner}],
        },
    })
}

fn names(objects: &[Arc<Value>]) -> Vec<String> {
    let full = |o: &Arc<Value>| format!("{}/{}", o.namespace(), o.name());
    objects.iter().map(full).collect()
}

#[test]
fn finds_by_name_namespace_label_and_owner() {
    let mut world = World::default();
    world.insert(POD, pod("b", "x", "web", "rs1", 1));
    world.insert(POD, pod("a", "z", "web", "rs1", 2));
    world.insert(POD, pod("a", "y", "db", "rs2", 3));
    assert_eq!(names(&world.list(POD, "")), ["a/y", "a/z", "b/x"]);
    assert_eq!(names(&world.list(POD, "a")), ["a/y", "a/z"]);
    assert_eq!(
        names(&world.labelled(POD, "", "app", "web")),
        ["a/z", "b/x"]
    );
    assert_eq!(names(&world.owned(POD, "b", "rs1")), ["b/x"]);
    world.insert(POD, pod("a", "z", "db", "rs2", 4));
    world.remove(POD, "b", "x");
    assert!(world.labelled(POD, "", "app", "web").is_empty());
    assert_eq!(names(&world.owned(POD, "", "rs2")), ["a/y", "a/z"]);
    assert!(world.get(POD, "b", "x").is_none());
    assert_eq!(world.keys(POD), [Key::new("a", "y"), Key::new("a", "z")]);
}

#[test]
fn objects_that_were_not_changed_lately_are_as_they_were() {
    let mut world = World::default();
    let object = |n: u64| {
        let mut pod = pod("a", &format!("p{n}"), "web", "rs1", n + 1);
        pod["spec"]["text"] = json!("all alike ".repeat(300));
        pod
    };
    for n in 0..2000 {
        let raw = serde_json::to_vec(&object(n)).unwrap();
        world.insert_raw(POD, &raw).unwrap();
    }
    for n in 0..2000 {
        let found = world.get(POD, "a", &format!("p{n}"));
        assert_eq!(found.as_deref(), Some(&object(n)));
    }
    world.insert(POD, pod("a", "p7", "db", "rs2", 9000));
    assert_eq!(names(&world.owned(POD, "a", "rs2")), ["a/p7"]);
    world.remove(POD, "a", "p8");
    assert_eq!(world.owned(POD, "a", "rs1").len(), 1998);
}

#[test]
fn sums_follow_what_comes_changes_and_goes() {
    fn by_app(pod: &Value) -> Vec<(String, i128)> {
        let app = pod.label("app").unwrap_or_default().to_owned();
        vec![(app, 1), ("all".to_owned(), 1)]
    }
    let mut world = World::default();
    assert!(world.tally(POD, by_app).is_empty());
    world.insert(POD, pod("a", "x", "web", "rs1", 1));
    world.insert(POD, pod("b", "y", "web", "rs1", 2));
    let sums = |world: &World| world.tally(POD, by_app).into_iter().collect::<Vec<_>>();
    let pairs = |pairs: &[(&str, i128)]| -> Vec<(String, i128)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
    };
    assert_eq!(sums(&world), pairs(&[("all", 2), ("web", 2)]));
    world.insert(POD, pod("a", "x", "db", "rs1", 3));
    world.insert(POD, pod("a", "z", "db", "rs1", 4));
    world.remove(POD, "b", "y");
    assert_eq!(sums(&world), pairs(&[("all", 2), ("db", 2)]));
    // A slot that is used again.
    world.remove(POD, "a", "x");
    world.insert(POD, pod("c", "n", "web", "rs1", 5));
    assert_eq!(sums(&world), pairs(&[("all", 2), ("db", 1), ("web", 1)]));
    let (_, reads) = world.observe(|world| world.tally(POD, by_app));
    world.subscribe(1, reads);
    world.take_woken();
    world.remove(POD, "c", "n");
    assert_eq!(world.take_woken().len(), 1, "as a list it is concerned");
}

#[test]
fn raw_objects_lose_managed_fields_and_gain_their_type() {
    let mut world = World::default();
    let raw = br#"{"metadata":{"namespace":"a","name":"x","uid":"u","resourceVersion":"7",
        "managedFields":[{"manager":"m"}]},"spec":{"n":1}}"#;
    let changed = world.insert_raw(POD, raw).unwrap();
    assert_eq!((changed.uid.as_str(), changed.changed), ("u", true));
    let expected = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "a", "name": "x", "uid": "u", "resourceVersion": "7"},
        "spec": {"n": 1},
    });
    assert_eq!(*world.get(POD, "a", "x").unwrap(), expected);
    assert!(
        !world.insert_raw(POD, raw).unwrap().changed,
        "the same version again"
    );
    assert!(world.insert_raw(POD, b"[]").is_err());
}

#[test]
fn an_unrecorded_read_wakes_nobody() {
    let mut world = World::default();
    let (_, reads) = world.observe(|w| {
        w.get(NODE, "", "n");
        w.unrecorded(|w| w.list(POD, ""));
    });
    assert_eq!(reads.len(), 1);
    world.subscribe(1, reads);
    world.insert(POD, pod("a", "x", "web", "rs", 1));
    assert!(world.take_woken().is_empty());
    world.insert(NODE, json!({"metadata": {"name": "n"}}));
    assert_eq!(world.take_woken(), BTreeSet::from([1]));
    assert!(world.take_woken().is_empty(), "woken once");
}

#[test]
fn facts_wake_when_they_differ() {
    let mut world = World::default();
    let fact = Fact::Decision {
        namespace: "a".into(),
        name: "r".into(),
    };
    let (_, reads) = world.observe(|w| w.fact(&fact));
    world.subscribe(9, reads);
    world.learn(fact.clone(), json!(1));
    assert_eq!(world.take_woken(), BTreeSet::from([9]));
    world.learn(fact.clone(), json!(1));
    assert!(world.take_woken().is_empty());
    world.unlearn(&fact);
    assert_eq!(world.take_woken(), BTreeSet::from([9]));
}

/// One question a plan may ask.
#[derive(Clone, Debug)]
enum Question {
    Get(&'static str, &'static str),
    List(&'static str),
    Label(&'static str, &'static str),
    Owner(&'static str, &'static str),
    Fact(&'static str),
}

impl Question {
    fn ask(&self, world: &World) -> Vec<Arc<Value>> {
        match self {
            Self::Get(ns, name) => world.get(POD, ns, name).into_iter().collect(),
            Self::List(ns) => world.list(POD, ns),
            Self::Label(ns, app) => world.labelled(POD, ns, "app", app),
            Self::Owner(ns, uid) => world.owned(POD, ns, uid),
            Self::Fact(image) => world.fact(&digest(image)).into_iter().collect(),
        }
    }
}

fn digest(image: &str) -> Fact {
    Fact::Digest {
        image: image.into(),
        namespace: "a".into(),
        service_account: "default".into(),
        pull_secrets: Vec::new(),
    }
}

/// One change of the world.
#[derive(Clone, Debug)]
enum Change {
    Put(&'static str, &'static str, &'static str, &'static str),
    Remove(&'static str, &'static str),
    Learn(&'static str, u8),
    Unlearn(&'static str),
}

impl Change {
    fn make(&self, world: &mut World, version: u64) {
        match *self {
            Self::Put(ns, name, app, owner) => {
                world.insert(POD, pod(ns, name, app, owner, version));
            }
            Self::Remove(ns, name) => world.remove(POD, ns, name),
            Self::Learn(image, value) => world.learn(digest(image), json!(value)),
            Self::Unlearn(image) => world.unlearn(&digest(image)),
        }
    }
}

const NAMESPACES: &[&str] = &["a", "b"];
const ANYWHERE: &[&str] = &["a", "b", ""];
const NAMES: &[&str] = &["x", "y", "z"];
const APPS: &[&str] = &["web", "db"];
const OWNERS: &[&str] = &["rs1", "rs2"];

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(words)
}

fn question() -> impl Strategy<Value = Question> {
    prop_oneof![
        (one_of(NAMESPACES), one_of(NAMES)).prop_map(|(ns, name)| Question::Get(ns, name)),
        one_of(ANYWHERE).prop_map(Question::List),
        (one_of(ANYWHERE), one_of(APPS)).prop_map(|(ns, app)| Question::Label(ns, app)),
        (one_of(ANYWHERE), one_of(OWNERS)).prop_map(|(ns, uid)| Question::Owner(ns, uid)),
        one_of(NAMES).prop_map(Question::Fact),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let put = (
        one_of(NAMESPACES),
        one_of(NAMES),
        one_of(APPS),
        one_of(OWNERS),
    );
    prop_oneof![
        4 => put.prop_map(|(ns, name, app, owner)| Change::Put(ns, name, app, owner)),
        2 => (one_of(NAMESPACES), one_of(NAMES)).prop_map(|(ns, name)| Change::Remove(ns, name)),
        1 => (one_of(NAMES), 0u8..3).prop_map(|(image, value)| Change::Learn(image, value)),
        1 => one_of(NAMES).prop_map(Change::Unlearn),
    ]
}

proptest! {
    /// Whatever a plan asked: if the answer differs after a change, the plan was woken by it.
    #[test]
    fn recorded_reads_are_complete(
        questions in prop::collection::vec(prop::collection::vec(question(), 1..4), 1..6),
        changes in prop::collection::vec(change(), 1..60),
    ) {
        let mut world = World::default();
        let mut answers = Vec::new();
        for (plan, asked) in (0..).zip(&questions) {
            let ask = |w: &World| asked.iter().map(|q| q.ask(w)).collect::<Vec<_>>();
            let (answer, reads) = world.observe(ask);
            world.subscribe(plan, reads);
            answers.push(answer);
        }
        for (version, change) in (1..).zip(&changes) {
            change.make(&mut world, version);
            let woken = world.take_woken();
            for (plan, asked) in (0..).zip(&questions) {
                let now: Vec<_> = asked.iter().map(|q| q.ask(&world)).collect();
                let known = &mut answers[plan as usize];
                prop_assert!(now == *known || woken.contains(&plan), "{change:?} missed {asked:?}");
                *known = now;
            }
        }
    }
}

#[test]
fn rehearsal_writes_like_an_api_server() {
    let mut world = World::default();
    let mut object = pod("a", "x", "web", "rs", 0);
    object["metadata"] = json!({"namespace": "a", "generateName": "x-"});
    let create = |object: &Value| Plan {
        actions: vec![Action::Create(object.clone())],
    };
    world.rehearse(&create(&object)).unwrap();
    let made = world.list(POD, "a").remove(0);
    assert_eq!((made.name(), made.generation()), ("x-00001", 1));
    let exists = world.rehearse(&create(&made)).unwrap_err();
    assert_eq!(exists.to_string(), "pods \"x-00001\" already exists");
    let mut newer = (*made).clone();
    newer["spec"] = json!({"nodeName": "n"});
    let update = Plan {
        actions: vec![Action::Update(newer.clone())],
    };
    world.rehearse(&update).unwrap();
    assert_eq!(world.list(POD, "a")[0].generation(), 2);
    let stale = world.rehearse(&update).unwrap_err();
    assert_eq!(stale, Refusal::Conflict("pods \"x-00001\"".into()));
}
