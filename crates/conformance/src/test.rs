//! What a running test has at hand: a name of its own, the cluster, the gateway, and the steps that
//! many tests share (create and wait, ask until, count answers).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::join_all;
use rand::Rng as _;
use serde_json::{Value, json};

use crate::cluster::{
    CONFIGURATIONS, Cluster, DEPLOYMENTS, PODS, REVISIONS, ROUTES, Resource, SERVICES,
};
use crate::draft::Draft;
use crate::web::{self, Answer, Ask};

/// How long to wait for a state; long because the machine may be busy with everything else.
pub const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// What all tests of a run share.
pub struct Setup {
    /// The Kubernetes API.
    pub cluster: Cluster,
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// What image names begin with.
    pub images: String,
}

/// One test's place.
#[derive(Clone)]
pub struct Test {
    setup: Rc<Setup>,
    /// A name nothing else has: the test's, and eight letters.
    pub name: String,
    /// Where it makes its objects.
    pub namespace: &'static str,
    made: Rc<RefCell<Vec<Made>>>,
}

/// An object a test has made: what it is, its namespace, its name.
type Made = (Resource, &'static str, String);

/// The namespace of most tests.
pub const NAMESPACE: &str = "serving-tests";
/// The other one.
pub const ALT_NAMESPACE: &str = "serving-tests-alt";

impl Test {
    /// A place for the test called `name`.
    pub fn new(setup: Rc<Setup>, name: &str) -> Self {
        let test = Self {
            setup,
            name: String::new(),
            namespace: NAMESPACE,
            made: Rc::default(),
        };
        let name = test.fresh(&kebab(name));
        Self { name, ..test }
    }

    /// The same test in the other namespace.
    pub fn elsewhere(&self) -> Self {
        self.within_namespace(ALT_NAMESPACE)
    }

    /// The same test in a namespace of its choice.
    pub fn within_namespace(&self, namespace: &'static str) -> Self {
        Self {
            namespace,
            ..self.clone()
        }
    }

    /// The same test, for an object of another name.
    pub fn also(&self, word: &str) -> Self {
        Self {
            name: self.fresh(word),
            ..self.clone()
        }
    }

    /// `word` and eight letters.
    pub fn fresh(&self, word: &str) -> String {
        let mut random = rand::rng();
        let letters: String = (0..8)
            .map(|_| char::from(random.random_range(b'a'..=b'z')))
            .collect();
        let word = word.get(..word.len().min(30)).unwrap_or(word);
        format!("{}-{letters}", word.trim_end_matches('-'))
    }

    /// The API.
    pub fn cluster(&self) -> &Cluster {
        &self.setup.cluster
    }

    /// The gateway's address.
    pub fn gateway(&self) -> SocketAddr {
        self.setup.gateway
    }

    /// The full name of a test image.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.setup.images)
    }

    /// A Service of the test's own name.
    pub fn draft(&self, image: &str) -> Draft {
        Draft::service(&self.name, &self.image(image))
    }

    /// Gets one of the test's objects.
    pub async fn get(&self, kind: Resource, name: &str) -> Result<Value> {
        self.cluster().get(kind, self.namespace, name).await
    }

    /// Lists by labels.
    pub async fn list(&self, kind: Resource, selector: &str) -> Result<Vec<Value>> {
        self.cluster().list(kind, self.namespace, selector).await
    }

    /// Creates an object.
    pub async fn create(&self, kind: Resource, draft: &Draft) -> Result<Value> {
        let made = self
            .cluster()
            .create(kind, self.namespace, &draft.0, "")
            .await?;
        let name = text(&made, "/metadata/name");
        self.made.borrow_mut().push((kind, self.namespace, name));
        Ok(made)
    }

    /// Deletes what the test has made, the newest first: the next tests need the room.
    pub async fn clean_up(&self) -> Result<()> {
        let made = self.made.take();
        for (kind, namespace, name) in made.into_iter().rev() {
            self.cluster().delete(kind, namespace, &name).await?;
        }
        Ok(())
    }

    /// Changes an object in place.
    pub async fn update(
        &self,
        kind: Resource,
        name: &str,
        change: impl Fn(&mut Value),
    ) -> Result<Value> {
        self.cluster()
            .update(kind, self.namespace, name, change)
            .await
    }

    /// Deletes an object.
    pub async fn delete(&self, kind: Resource, name: &str) -> Result<()> {
        self.cluster().delete(kind, self.namespace, name).await
    }

    /// A JSON patch of an object.
    pub async fn patch(&self, kind: Resource, name: &str, patch: Value) -> Result<Value> {
        self.cluster()
            .json_patch(kind, self.namespace, name, &patch, "")
            .await
    }

    /// Waits until `what` is true of an object, and returns it.
    pub async fn until(
        &self,
        kind: Resource,
        name: &str,
        said: &str,
        what: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < end {
            last = self.cluster().find(kind, self.namespace, name).await?;
            if let Some(object) = last.take_if(|object| what(object)) {
                return Ok(object);
            }
            tokio::time::sleep(POLL).await;
        }
        let status = last.map(|object| object["status"].to_string());
        bail!("{} {name} is not {said}; status: {status:?}", kind.plural)
    }

    /// Waits until `what` says so; a level, not an edge.
    pub async fn eventually<F, R>(&self, said: &str, what: F) -> Result<()>
    where
        F: Fn() -> R,
        R: Future<Output = Result<bool>>,
    {
        self.within(PATIENCE, said, what).await
    }

    /// As [`Self::eventually`] with a patience of one's own.
    pub async fn within<F, R>(&self, patience: Duration, said: &str, what: F) -> Result<()>
    where
        F: Fn() -> R,
        R: Future<Output = Result<bool>>,
    {
        let end = Instant::now() + patience;
        while !what().await? {
            ensure!(Instant::now() < end, "not within {patience:?}: {said}");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits for `Ready` of the newest generation.
    pub async fn ready(&self, kind: Resource, name: &str) -> Result<Value> {
        self.until(kind, name, "ready", is_ready).await
    }

    /// Creates a Service and waits until it is ready.
    pub async fn serve(&self, draft: &Draft) -> Result<Running> {
        let made = self.create(SERVICES, draft).await?;
        let name = text(&made, "/metadata/name");
        let service = self.ready(SERVICES, &name).await?;
        Ok(Running {
            test: self.clone(),
            service,
        })
    }

    /// Asks the host in `url` for `path`.
    pub async fn ask(&self, url: &str, path: &str) -> Result<Answer> {
        web::ask(self.gateway(), &Ask::get(url, path)).await
    }

    /// The body of a 200 from `url`.
    pub async fn fetch(&self, url: &str) -> Result<String> {
        Ok(self.ask(url, "/").await?.ok()?.body)
    }

    /// How often each text comes back for `count` requests, `at_once` of them under way together;
    /// everything but 200 is an error.
    pub async fn tally(
        &self,
        url: &str,
        count: usize,
        at_once: usize,
    ) -> Result<BTreeMap<String, usize>> {
        let mut tally = BTreeMap::new();
        let mut left = count;
        while left > 0 {
            let now = left.min(at_once);
            for body in join_all((0..now).map(|_| self.fetch(url))).await {
                *tally.entry(body?).or_default() += 1;
            }
            left -= now;
        }
        Ok(tally)
    }

    /// Keeps asking `url` while `work` is done; every answer must be 200.
    pub async fn while_asked<T>(
        &self,
        url: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let prober = async {
            let mut asked = 0_u64;
            loop {
                let answer = self.ask(url, "/").await.context("the prober")?;
                ensure!(
                    answer.status == 200,
                    "request {asked} of the prober: {}: {}",
                    answer.status,
                    answer.body
                );
                asked += 1;
                tokio::time::sleep(POLL).await;
            }
            #[allow(unreachable_code)]
            Ok(())
        };
        tokio::select! {
            outcome = work => outcome,
            outcome = prober => {
                outcome?;
                bail!("the prober ended")
            }
        }
    }

    /// The Pods of a revision that are not going away.
    pub async fn pods(&self, revision: &str) -> Result<Vec<Value>> {
        let selector = format!("serving.knative.dev/revision={revision}");
        let mut pods = self.list(PODS, &selector).await?;
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        Ok(pods)
    }

    /// `status.readyReplicas` of a revision's Deployment.
    pub async fn ready_replicas(&self, revision: &str) -> Result<u64> {
        let deployment = self
            .get(DEPLOYMENTS, &format!("{revision}-deployment"))
            .await?;
        Ok(deployment["status"]["readyReplicas"].as_u64().unwrap_or(0))
    }
}

/// A Service that is ready.
#[derive(Clone)]
pub struct Running {
    test: Test,
    /// As last seen.
    pub service: Value,
}

impl Running {
    /// Its name.
    pub fn name(&self) -> String {
        text(&self.service, "/metadata/name")
    }

    /// Its public URL.
    pub fn url(&self) -> String {
        text(&self.service, "/status/url")
    }

    /// The name of the latest ready revision.
    pub fn revision(&self) -> String {
        text(&self.service, "/status/latestReadyRevisionName")
    }

    /// The URL of a tag.
    pub fn tag_url(&self, tag: &str) -> Result<String> {
        let targets = self.service["status"]["traffic"].as_array();
        let target = targets
            .into_iter()
            .flatten()
            .find(|target| target["tag"] == tag);
        let target = target.with_context(|| format!("no tag {tag} in status.traffic"))?;
        Ok(text(target, "/url"))
    }

    /// Changes it and waits until it is ready again.
    pub async fn update(&mut self, change: impl Fn(&mut Value)) -> Result<()> {
        let name = self.name();
        self.test.update(SERVICES, &name, change).await?;
        self.service = self.test.ready(SERVICES, &name).await?;
        Ok(())
    }

    /// Asks for `path`.
    pub async fn ask(&self, path: &str) -> Result<Answer> {
        self.test.ask(&self.url(), path).await
    }

    /// The body of a 200 for `/`.
    pub async fn fetch(&self) -> Result<String> {
        self.test.fetch(&self.url()).await
    }

    /// Asks until the text has come back.
    pub async fn says(&self, text: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask("/").await?.ok()?;
            if answer.body == text {
                return Ok(());
            }
            ensure!(Instant::now() < end, "{:?} is not {text:?}", answer.body);
            tokio::time::sleep(POLL).await;
        }
    }

    /// Its Configuration.
    pub async fn configuration(&self) -> Result<Value> {
        self.test.get(CONFIGURATIONS, &self.name()).await
    }

    /// Its Route.
    pub async fn route(&self) -> Result<Value> {
        self.test.get(ROUTES, &self.name()).await
    }

    /// The latest ready Revision.
    pub async fn latest(&self) -> Result<Value> {
        self.test.get(REVISIONS, &self.revision()).await
    }
}

/// The text at a JSON pointer; empty without.
pub fn text(object: &Value, pointer: &str) -> String {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

/// The condition of a type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    static NONE: Value = Value::Null;
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions
        .find(|condition| condition["type"] == kind)
        .unwrap_or(&NONE)
}

/// Whether the object is ready in its newest generation.
pub fn is_ready(object: &Value) -> bool {
    condition(object, "Ready")["status"] == "True"
        && object["status"]["observedGeneration"] == object["metadata"]["generation"]
}

/// Whether the object says, of its newest generation, that it is not ready.
pub fn has_failed(object: &Value) -> bool {
    condition(object, "Ready")["status"] == "False"
        && object["status"]["observedGeneration"] == object["metadata"]["generation"]
}

/// `TestBlueGreenRoute` → `blue-green-route`.
fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    let name = name.strip_prefix("Test").unwrap_or(name);
    for letter in name.chars() {
        if !letter.is_ascii_alphanumeric() {
            continue;
        }
        let after_lower = kebab.ends_with(|last: char| last.is_ascii_lowercase());
        if letter.is_ascii_uppercase() && after_lower {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}

/// A traffic target: a tag (or none), a revision (or the latest), a percentage.
pub fn target(tag: &str, revision: Option<&str>, percent: u64) -> Value {
    let mut target = json!({"percent": percent});
    if !tag.is_empty() {
        target["tag"] = json!(tag);
    }
    match revision {
        Some(name) => target["revisionName"] = json!(name),
        None => target["latestRevision"] = json!(true),
    }
    target
}
