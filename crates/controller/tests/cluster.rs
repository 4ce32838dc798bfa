//! The driver with Kubernetes' own controllers over the real API server, in one process: no
//! listener, no node. A fake node, an observer of Pods, makes them ready or lets them go.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests fail by panicking.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::object::ObjectExt;
use api::world::{Context, DEPLOYMENT, Fact, Kind, NODE, POD, REPLICA_SET};
use apiserver::{ApiServer, Config};
use controller::lease;
use controller::request::{self, Request, path};
use controller::{Driver, Effects, Gather, Gathered, Observer};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

struct NoFacts;

impl Gather for NoFacts {
    fn gather<'a>(&'a self, fact: &'a Fact) -> BoxFuture<'a, Gathered> {
        async move { unreachable!("nobody needs {fact:?}") }.boxed()
    }
}

/// When each Pod was first seen.
type Seen = Arc<Mutex<Vec<(String, Instant)>>>;

struct Cluster {
    client: Client,
    seen: Seen,
    metrics: Arc<controller::Metrics>,
    stop: Option<oneshot::Sender<()>>,
    driver: Option<tokio::task::JoinHandle<()>>,
    _server: ApiServer,
    _dir: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = ApiServer::open(Config::new(dir.path())).await.unwrap();
        let client = Client::new(server.service(), "default");
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
        });
        let mut cluster = Self {
            client,
            seen: Seen::default(),
            metrics: Arc::default(),
            stop: None,
            driver: None,
            _server: server,
            _dir: dir,
        };
        cluster.post(NODE, "", node).await;
        cluster.start_driver();
        cluster
    }

    fn start_driver(&mut self) {
        let context = Context {
            binds_pods: true,
            ..Context::default()
        };
        let effects = Effects {
            route: Box::new(|change| unreachable!("{change:?}")),
            deliver: Box::new(|change| unreachable!("{change:?}")),
            caught_up: None,
            gather: Arc::new(NoFacts),
            record: Box::new(drop),
        };
        let planners = workloads::planners();
        let mut driver = Driver::new(self.client.clone(), context, planners, effects);
        driver.observe(fake_node(self.client.clone(), Arc::clone(&self.seen)));
        self.metrics = driver.metrics();
        let (stop, stopped) = oneshot::channel();
        self.stop = Some(stop);
        self.driver = Some(tokio::spawn(driver.run(async {
            let _ = stopped.await;
        })));
    }

    async fn stop_driver(&mut self) {
        drop(self.stop.take());
        self.driver.take().unwrap().await.unwrap();
    }

    async fn post(&self, kind: Kind, namespace: &str, object: Value) -> Value {
        let uri = path(kind, namespace, "", "");
        self.send(Request::json(Method::POST, uri, object.to_string()))
            .await
    }

    async fn get(&self, kind: Kind, name: &str) -> Value {
        self.send(Request::get(path(kind, "default", name, "")))
            .await
    }

    async fn patch(&self, kind: Kind, name: &str, patch: Value) -> Value {
        let request = Request {
            content_type: "application/merge-patch+json",
            ..Request::json(
                Method::PATCH,
                path(kind, "default", name, ""),
                patch.to_string(),
            )
        };
        self.send(request).await
    }

    async fn send(&self, request: Request) -> Value {
        let answer = request::call(&self.client, request).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    async fn items(&self, kind: Kind) -> Vec<Value> {
        let list = self.get(kind, "").await;
        list["items"].as_array().unwrap().clone()
    }

    /// Waits until `holds` of the Deployment `web`.
    async fn until(&self, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let deployment = self.get(DEPLOYMENT, "web").await;
            if holds(&deployment) {
                return deployment;
            }
            assert!(
                Instant::now() < deadline,
                "{deployment:#}\n{:#?}",
                self.items(POD).await
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn available(&self, replicas: u64) -> Value {
        self.until(|d| {
            let count = |key: &str| d["status"][key].as_u64().unwrap_or_default();
            d["status"]["observedGeneration"] == d["metadata"]["generation"]
                && count("availableReplicas") == replicas
                && count("updatedReplicas") == replicas
                && count("replicas") == replicas
        })
        .await
    }
}

/// Makes every Pod ready that is bound to a node, and lets every Pod go that is to go.
fn fake_node(client: Client, seen: Seen) -> Observer {
    let (tell, mut told) = mpsc::unbounded_channel::<Value>();
    tokio::spawn(async move {
        while let Some(pod) = told.recv().await {
            // The Pod may be gone already.
            let _ = request::call(&client, answer(pod)).await;
        }
    });
    Observer {
        name: "FakeNode",
        root: POD,
        watches: &[],
        observe: Box::new(move |_, key, world| {
            let Some(pod) = world.get(POD, &key.namespace, &key.name) else {
                return;
            };
            if pod.is_terminating() || pod["status"]["podIP"].is_null() {
                let first = (pod.name().to_owned(), Instant::now());
                seen.lock().unwrap().push(first);
                let _ = tell.send((*pod).clone());
            }
        }),
    }
}

fn answer(mut pod: Value) -> Request {
    if pod.is_terminating() {
        let uri = path(POD, pod.namespace(), pod.name(), "");
        let now = json!({"gracePeriodSeconds": 0}).to_string();
        return Request::json(Method::DELETE, uri, now);
    }
    assert_eq!(pod["spec"]["nodeName"], "one");
    pod["status"] = json!({
        "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
        "conditions": [{"type": "Ready", "status": "True",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    });
    let uri = path(POD, pod.namespace(), pod.name(), "status");
    Request::json(Method::PUT, uri, pod.to_string())
}

fn web(replicas: u64, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_made_scaled_rolled_and_goes() {
    let mut cluster = Cluster::start().await;
    cluster.post(DEPLOYMENT, "default", web(2, "a")).await;
    cluster.available(2).await;
    cluster
        .patch(DEPLOYMENT, "web", json!({"spec": {"replicas": 5}}))
        .await;
    cluster.available(5).await;
    let template = json!({"spec": {"containers": [{"name": "c", "image": "b"}]}});
    cluster
        .patch(DEPLOYMENT, "web", json!({"spec": {"template": template}}))
        .await;
    cluster.available(5).await;
    let pods = cluster.items(POD).await;
    for pod in pods.iter().filter(|pod| !pod.is_terminating()) {
        assert_eq!(pod["spec"]["containers"][0]["image"], "b");
    }
    assert_eq!(cluster.items(REPLICA_SET).await.len(), 2);

    cluster.stop_driver().await;
    cluster
        .patch(DEPLOYMENT, "web", json!({"spec": {"replicas": 1}}))
        .await;
    cluster.start_driver();
    cluster.available(1).await;
    let errors: u64 = cluster.metrics.snapshot().values().map(|q| q.errors).sum();
    assert_eq!(errors, 0, "{:#?}", cluster.metrics.snapshot());
}

/// Run with `--nocapture` to see how long a scale takes to become a Pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_scale_to_pod() {
    let cluster = Cluster::start().await;
    cluster.post(DEPLOYMENT, "default", web(0, "a")).await;
    cluster.available(0).await;
    let mut took = Vec::new();
    for _ in 0..20 {
        cluster.seen.lock().unwrap().clear();
        let start = Instant::now();
        cluster
            .patch(DEPLOYMENT, "web", json!({"spec": {"replicas": 1}}))
            .await;
        let patched = start.elapsed();
        cluster.available(1).await;
        let (_, seen) = cluster.seen.lock().unwrap()[0].clone();
        took.push((seen - start, patched));
        cluster
            .patch(DEPLOYMENT, "web", json!({"spec": {"replicas": 0}}))
            .await;
        cluster.available(0).await;
    }
    took.sort();
    println!(
        "scale to Pod (and the patch itself): median {:?}, best {:?}, worst {:?}",
        took[took.len() / 2],
        took[0],
        took[took.len() - 1]
    );
    println!("{:#?}", cluster.metrics.snapshot()["ReplicaSet"]);
}

fn candidate(identity: &str) -> lease::Config {
    lease::Config {
        duration: Duration::from_secs(2),
        renew_deadline: Duration::from_millis(1800),
        retry_period: Duration::from_millis(20),
        ..lease::Config::new("default", "leader", identity)
    }
}

#[tokio::test]
async fn one_leads_and_the_next_follows() {
    let dir = tempfile::tempdir().unwrap();
    let server = ApiServer::open(Config::new(dir.path())).await.unwrap();
    let client = Client::new(server.service(), "default");
    let (end, ended) = oneshot::channel::<()>();
    let (began, begin) = oneshot::channel();
    let first = tokio::spawn({
        let client = client.clone();
        async move {
            let work = async {
                let _ = began.send(());
                let _ = ended.await;
            };
            lease::lead(&client, &candidate("a"), work).await
        }
    });
    begin.await.unwrap();
    let config = candidate("b");
    let second = lease::lead(&client, &config, async { "b leads" });
    let mut second = std::pin::pin!(second);
    let early = tokio::time::timeout(Duration::from_millis(2500), &mut second).await;
    assert!(
        early.is_err(),
        "the lease is renewed, so nobody else gets it"
    );
    end.send(()).unwrap();
    assert_eq!(first.await.unwrap(), Some(()));
    assert_eq!(second.await, Some("b leads"));
}
