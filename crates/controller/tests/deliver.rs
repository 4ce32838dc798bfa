//! What the driver tells the broker, and facts that get old: a planner of this file's own over the
//! real API server, in one process.

#![allow(clippy::unwrap_used)] // Helpers of tests fail by panicking.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::delivery::{Access, Change, Ingress, Key as DeliveryKey};
use api::object::ObjectExt;
use api::world::{Action, BROKER, CONFIG_MAP, Context, Fact, Key, Plan, Planner, World};
use apiserver::{ApiServer, Config};
use controller::request::{self, Request, path};
use controller::{Driver, Effects, Gather, Gathered};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use kube::Client;
use serde_json::{Value, json};

/// States an ingress for each ConfigMap of the default namespace that says `state: <host>`, and
/// says in its hosts what is known about a fact.
fn plan(_: &Context, key: &Key, world: &World) -> Plan {
    let map = world.get(CONFIG_MAP, &key.namespace, &key.name);
    let Some(map) = map.filter(|_| key.namespace == "default") else {
        return Plan::default();
    };
    let Some(host) = map["data"]["state"].as_str() else {
        return Plan::default();
    };
    let fact = fact();
    let mut actions = Vec::new();
    let known = match world.fact(&fact) {
        Some(known) => known.to_string(),
        None => {
            actions.push(Action::Need(fact));
            "nothing".to_owned()
        }
    };
    let ingress = Ingress {
        uid: map.uid().into(),
        hosts: vec![format!("{host} {known}")],
        access: Access::default(),
        subscribers: Vec::new(),
        retention: None,
        bytes_max: None,
        makes_event_types: false,
    };
    let key = DeliveryKey::new(BROKER, &key.namespace, &key.name);
    actions.push(Action::Deliver(Change::Ingress(
        key,
        Some(Arc::new(ingress)),
    )));
    Plan { actions }
}

fn fact() -> Fact {
    Fact::Resource {
        api_version: "example.com/v1".to_owned(),
        kind: "Thing".to_owned(),
    }
}

/// Answers 1, 1, 2, 2, 3, … to whoever asks.
#[derive(Default)]
struct Counts(AtomicUsize);

impl Gather for Counts {
    fn gather<'a>(&'a self, _: &'a Fact) -> BoxFuture<'a, Gathered> {
        let asked = self.0.fetch_add(1, Ordering::Relaxed);
        let found = Gathered {
            value: json!(1 + asked / 2),
            valid_for: Some(Duration::from_millis(20)),
        };
        async move { found }.boxed()
    }
}

struct Running {
    client: Client,
    told: Arc<Mutex<Vec<String>>>,
    asked: Arc<Counts>,
    _server: ApiServer,
    _dir: tempfile::TempDir,
}

impl Running {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = ApiServer::open(Config::new(dir.path())).await.unwrap();
        let client = Client::new(server.service(), "default");
        let told = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::new(Counts::default());
        let log = Arc::clone(&told);
        let effects = Effects {
            route: Box::new(|change| unreachable!("{change:?}")),
            deliver: Box::new(move |change| {
                let line = match &change {
                    Change::Ingress(key, Some(ingress)) => {
                        format!("{} {}", key.name, ingress.hosts[0])
                    }
                    other => format!("{} gone", other.key().name),
                };
                log.lock().unwrap().push(line);
            }),
            caught_up: None,
            gather: Arc::clone(&asked) as Arc<dyn Gather>,
            record: Box::new(drop),
        };
        let planner = Planner {
            name: "Test",
            root: CONFIG_MAP,
            watches: &[],
            is_urgent: false,
            plan,
        };
        let driver = Driver::new(client.clone(), Context::default(), vec![planner], effects);
        tokio::spawn(driver.run(std::future::pending()));
        Self {
            client,
            told,
            asked,
            _server: server,
            _dir: dir,
        }
    }

    async fn send(&self, method: Method, name: &str, object: &Value) {
        let at = if method == Method::POST { "" } else { name };
        let request = Request::json(
            method,
            path(CONFIG_MAP, "default", at, ""),
            object.to_string(),
        );
        request::call(&self.client, request).await.unwrap();
    }

    async fn set(&self, method: Method, name: &str, state: &str) {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default"},
            "data": {"state": state},
        });
        self.send(method, name, &object).await;
    }

    /// Waits until the broker was told `line`.
    async fn until(&self, line: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.told().iter().any(|told| told == line) {
            assert!(
                Instant::now() < deadline,
                "{line} is not in {:?}",
                self.told()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn the_broker_is_told_what_is_new_and_what_is_no_more() {
    let running = Running::start().await;
    running.set(Method::POST, "a", "one").await;
    running.until("a one 1").await;
    running.set(Method::PUT, "a", "two").await;
    running.set(Method::POST, "b", "three").await;
    running.send(Method::DELETE, "a", &json!({})).await;
    running.until("a gone").await;
    running.until("b three 2").await;
    let last = running
        .told()
        .into_iter()
        .rfind(|told| told.starts_with("a "));
    assert_eq!(last.as_deref(), Some("a gone"));
}

#[tokio::test]
async fn an_old_fact_stands_until_the_new_one_is_there() {
    let running = Running::start().await;
    running.set(Method::POST, "a", "x").await;
    running.until("a x 3").await;
    let told = running.told();
    // Each answer once, though it was given twice, and never a moment without any.
    assert_eq!(told[..4], ["a x nothing", "a x 1", "a x 2", "a x 3"]);
    running.send(Method::DELETE, "a", &json!({})).await;
    running.until("a gone").await;
    // Nobody builds on it any more: it is forgotten, and not asked for again.
    tokio::time::sleep(Duration::from_millis(60)).await;
    let asked = running.asked.0.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(running.asked.0.load(Ordering::Relaxed), asked);
}
