//! Actions as requests: what each asks of the API server and what its answer means for the World.

use api::object::ObjectExt;
use api::world::{Action, BINDING, Key, Kind, POD, World};
use bytes::Bytes;
use http::Method;
use kube::Client;
use serde_json::{Value, json};

use crate::mirror::{Mirror, Touched};
use crate::request::{self, Error, Request, path};

/// A write on its way, or the read that brings the World up to date after one was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) verb: Verb,
    pub(crate) kind: Kind,
    pub(crate) key: Key,
    /// Of deletes: the precondition.
    uid: String,
}

/// What is done to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    /// Update of the object or its status.
    Replace,
    Delete,
    Scale,
    /// Read again after a refusal.
    Refresh,
}

/// What became of one action that needs no request, or what is to be sent.
#[derive(Debug)]
pub(crate) enum Step {
    /// The World shows that nothing is to be done.
    Nothing,
    /// This is to be sent.
    Send(Box<(Target, Request)>),
    /// The action cannot be carried out by anybody.
    Broken(String),
}

impl Step {
    fn send(target: Target, request: Request) -> Self {
        Self::Send(Box::new((target, request)))
    }
}

/// Versions of objects as a plan read them and as its own writes left them.
pub(crate) type Rewrites = Vec<(Kind, Key, String, String)>;

impl Target {
    fn new(verb: Verb, kind: Kind, key: Key) -> Self {
        let uid = String::new();
        Self {
            verb,
            kind,
            key,
            uid,
        }
    }

    /// The read that shows why this write was refused.
    pub(crate) fn refresh(&self) -> (Self, Request) {
        let kind = if self.kind == BINDING { POD } else { self.kind };
        let uri = path(kind, &self.key.namespace, &self.key.name, "");
        let target = Self::new(Verb::Refresh, kind, self.key.clone());
        (target, Request::get(uri))
    }

    /// Whether the World is to be brought up to date because of this refusal.
    pub(crate) fn is_outdated(&self, error: &Error) -> bool {
        self.verb != Verb::Refresh && (error.is_conflict() || error.is_not_found())
    }

    /// Lets the World know the answer; answers the objects that differ now.
    pub(crate) fn settle(&self, mirror: &mut Mirror, answer: &Bytes) -> Vec<Touched> {
        let key = self.key.clone();
        match self.verb {
            // The answer is a Status; the watch brings the Pod.
            Verb::Create if self.kind == BINDING => Vec::new(),
            Verb::Create | Verb::Replace | Verb::Refresh => {
                mirror.wrote(self.kind, answer).into_iter().collect()
            }
            Verb::Delete => mirror.deleted(self.kind, key, &self.uid, answer),
            Verb::Scale => mirror.scaled(self.kind, key, answer).into_iter().collect(),
        }
    }
}

/// Turns a write action into a request; `rewrites` are the writes this plan has made so far.
pub(crate) fn prepare(world: &World, action: &Action, rewrites: &Rewrites) -> Step {
    match action {
        Action::Create(object) => create(object),
        Action::Update(object) => replace(world, object, "", rewrites),
        Action::Status(object) => replace(world, object, "status", rewrites),
        Action::Delete {
            kind,
            namespace,
            name,
            uid,
        } => delete(*kind, Key::new(namespace, name), uid),
        Action::Scale {
            kind,
            namespace,
            name,
            replicas,
        } => scale(world, *kind, Key::new(namespace, name), *replicas),
        Action::Route(_)
        | Action::Deliver(_)
        | Action::Need(_)
        | Action::At(_)
        | Action::Event { .. } => Step::Nothing,
    }
}

/// Sends a request of a plan.
pub(crate) async fn send(client: Client, request: Request) -> Result<Bytes, Error> {
    request::call(&client, request).await
}

fn create(object: &Value) -> Step {
    let Some(kind) = Kind::find(object.api_version(), object.kind()) else {
        return unknown(object);
    };
    let key = Key::new(object.namespace(), object.name());
    let uri = path(kind, object.namespace(), "", "");
    let request = Request::json(Method::POST, uri, object.to_string());
    Step::send(Target::new(Verb::Create, kind, key), request)
}

fn replace(world: &World, object: &Value, subresource: &str, rewrites: &Rewrites) -> Step {
    let Some(kind) = Kind::find(object.api_version(), object.kind()) else {
        return unknown(object);
    };
    let key = Key::new(object.namespace(), object.name());
    let stored = world.get(kind, &key.namespace, &key.name);
    let same = |stored: &Value| match subresource {
        "status" => stored.get("status") == object.get("status"),
        _ => same_but_version(stored, object),
    };
    if stored.is_some_and(|stored| same(&stored)) {
        return Step::Nothing;
    }
    let read = object.resource_version();
    let written = rewrites
        .iter()
        .rev()
        .find(|(k, at, old, _)| *k == kind && *at == key && old == read);
    let body = match written {
        Some((.., new)) => {
            let mut object = object.clone();
            object["metadata"]["resourceVersion"] = json!(new);
            object.to_string()
        }
        None => object.to_string(),
    };
    let uri = path(kind, &key.namespace, &key.name, subresource);
    let request = Request::json(Method::PUT, uri, body);
    Step::send(Target::new(Verb::Replace, kind, key), request)
}

fn delete(kind: Kind, key: Key, uid: &str) -> Step {
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "preconditions": {"uid": uid},
    });
    let uri = path(kind, &key.namespace, &key.name, "");
    let request = Request::json(Method::DELETE, uri, options.to_string());
    let target = Target {
        uid: uid.to_owned(),
        ..Target::new(Verb::Delete, kind, key)
    };
    Step::send(target, request)
}

/// The guard makes the answer, a Scale, enough to know the whole object.
fn scale(world: &World, kind: Kind, key: Key, replicas: i32) -> Step {
    let Some(stored) = world.get(kind, &key.namespace, &key.name) else {
        return Step::Broken(format!(
            "{} {:?} is not there to scale",
            kind.plural, key.name
        ));
    };
    if stored["spec"]["replicas"] == replicas {
        return Step::Nothing;
    }
    let patch = json!({
        "metadata": {"resourceVersion": stored.resource_version()},
        "spec": {"replicas": replicas},
    });
    let uri = path(kind, &key.namespace, &key.name, "scale");
    let request = Request {
        content_type: "application/merge-patch+json",
        ..Request::json(Method::PATCH, uri, patch.to_string())
    };
    Step::send(Target::new(Verb::Scale, kind, key), request)
}

fn unknown(object: &Value) -> Step {
    let (version, kind) = (object.api_version(), object.kind());
    Step::Broken(format!("{version}, {kind} is no kind plans may write"))
}

/// Whether a main-resource write would change nothing: the server keeps `status` itself.
fn same_but_version(stored: &Value, object: &Value) -> bool {
    let (Some(stored), Some(object)) = (stored.as_object(), object.as_object()) else {
        return false;
    };
    same_without(stored, object, &["status", "metadata"])
        && match (&stored.get("metadata"), &object.get("metadata")) {
            (Some(Value::Object(stored)), Some(Value::Object(object))) => {
                same_without(stored, object, &["resourceVersion"])
            }
            (stored, object) => stored == object,
        }
}

/// Whether two maps agree but for these keys.
fn same_without(
    a: &serde_json::Map<String, Value>,
    b: &serde_json::Map<String, Value>,
    without: &[&str],
) -> bool {
    let counts = |(key, _): &(&String, &Value)| !without.contains(&key.as_str());
    a.iter().filter(counts).eq(b.iter().filter(counts))
}

#[cfg(test)]
mod tests {
    use api::world::DEPLOYMENT;

    use super::*;

    fn world() -> World {
        let mut world = World::default();
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"namespace": "a", "name": "d", "uid": "u", "resourceVersion": "5"},
            "spec": {"replicas": 1}, "status": {"replicas": 1},
        });
        world.insert(DEPLOYMENT, deployment);
        world
    }

    fn sent(step: Step) -> String {
        match step {
            Step::Send(sent) => format!(
                "{} {} {}",
                sent.1.method,
                sent.1.uri,
                String::from_utf8_lossy(&sent.1.body)
            ),
            Step::Nothing => "nothing".into(),
            Step::Broken(why) => why,
        }
    }

    fn check(action: Action, expected: &str) {
        assert_eq!(sent(prepare(&world(), &action, &Vec::new())), expected);
    }

    fn scale_to(name: &str, replicas: i32) -> Action {
        Action::Scale {
            kind: DEPLOYMENT,
            namespace: "a".into(),
            name: name.into(),
            replicas,
        }
    }

    #[test]
    fn writes_become_requests() {
        check(
            Action::Create(
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a"}}),
            ),
            r#"POST /api/v1/namespaces/a/pods {"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"a"}}"#,
        );
        check(
            Action::Delete {
                kind: POD,
                namespace: "a".into(),
                name: "p".into(),
                uid: "u".into(),
            },
            r#"DELETE /api/v1/namespaces/a/pods/p {"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"u"},"propagationPolicy":"Background"}"#,
        );
        check(scale_to("d", 1), "nothing");
        check(scale_to("e", 1), "deployments \"e\" is not there to scale");
        check(
            scale_to("d", 2),
            r#"PATCH /apis/apps/v1/namespaces/a/deployments/d/scale {"metadata":{"resourceVersion":"5"},"spec":{"replicas":2}}"#,
        );
        check(
            Action::Create(json!({"apiVersion": "v9", "kind": "Pod"})),
            "v9, Pod is no kind plans may write",
        );
    }

    #[test]
    fn what_is_so_already_is_not_written() {
        let world = world();
        let stored = world.get(DEPLOYMENT, "a", "d").unwrap();
        check(Action::Update((*stored).clone()), "nothing");
        check(Action::Status((*stored).clone()), "nothing");
        let mut status = (*stored).clone();
        status["status"]["replicas"] = json!(2);
        check(Action::Update(status.clone()), "nothing");
        let rewrites = vec![(DEPLOYMENT, Key::new("a", "d"), "5".into(), "6".into())];
        let request = sent(prepare(&world, &Action::Status(status), &rewrites));
        assert!(request.starts_with("PUT /apis/apps/v1/namespaces/a/deployments/d/status"));
        assert!(request.contains(r#""resourceVersion":"6""#), "{request}");
    }
}
