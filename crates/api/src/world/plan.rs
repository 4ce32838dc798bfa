//! What a plan decides: a list of actions the driver performs in order.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Kind;
use crate::delivery;
use crate::route::Change;

/// The outcome of one planning: empty when the world is as it should be.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// Performed in order; a failed action ends the plan and the key is planned again later.
    pub actions: Vec<Action>,
}

/// One thing to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// The object must not exist yet; it is created.
    Create(Value),
    /// The object, computed from what was read, replaces what is stored (its `resourceVersion`
    /// guards against a write in between; a conflict means planning again). Two writes to one
    /// object in one plan may both carry the version that was read.
    Update(Value),
    /// The object's `status` replaces the stored one, likewise guarded.
    Status(Value),
    /// The object goes, if it still has this UID.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its namespace, empty for a cluster-scoped kind.
        namespace: String,
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
    /// Sets `spec.replicas` through the scale subresource.
    Scale {
        /// The kind of the target, a Deployment as a rule.
        kind: Kind,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The new `spec.replicas`.
        replicas: i32,
    },
    /// The gateway learns this before the actions behind it are performed. Level-triggered: every
    /// planning of a key states all it wants the gateway to know; the driver passes on what
    /// differs from the last time, and takes back what a successful planning no longer states.
    Route(Change),
    /// The same for the broker, just as level-triggered.
    Deliver(delivery::Change),
    /// The plan, which has asked the World in vain, wants to know this; the key is planned again
    /// when it is known. Facts that may change, errors among them, are forgotten by the driver
    /// after a while, so that they are asked for again.
    Need(Fact),
    /// Plan again at this time even if nothing changes.
    At(Timestamp),
    /// A Kubernetes Event about `regarding`.
    Event {
        /// What tells the object: apiVersion, kind and of its metadata namespace, name, uid and
        /// resourceVersion. See [`Action::event`].
        regarding: Value,
        /// `Normal` or `Warning`.
        event_type: &'static str,
        /// CamelCase reason.
        reason: String,
        /// The sentence for people.
        message: String,
    },
}

impl Action {
    /// An Event about `object`, of which only what tells it apart is kept.
    pub fn event(
        object: &Value,
        event_type: &'static str,
        reason: &str,
        message: impl Into<String>,
    ) -> Self {
        let metadata = &object["metadata"];
        let told = ["namespace", "name", "uid", "resourceVersion"];
        let told = told.into_iter().filter(|key| !metadata[key].is_null());
        let told = told.map(|key| (key.to_owned(), metadata[key].clone()));
        Self::Event {
            regarding: json!({
                "apiVersion": object["apiVersion"],
                "kind": object["kind"],
                "metadata": Value::Object(told.collect()),
            }),
            event_type,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}

/// Something a plan must know that is not an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fact {
    /// The digest reference of an image tag. Value: `{"digest": "repo@sha256:…"}` or
    /// `{"error": "…"}`.
    Digest {
        /// The image as the user wrote it.
        image: String,
        /// Whose pull secrets apply.
        namespace: String,
        /// The Pod's service account.
        service_account: String,
        /// The names of the Pod's own `imagePullSecrets`.
        pull_secrets: Vec<String>,
    },
    /// The autoscaler's last word on a revision. Value:
    /// `{"desired": i32, "excessBurstCapacity": i32}`; absent before the first decision.
    Decision {
        /// The namespace of the PodAutoscaler.
        namespace: String,
        /// The name of the PodAutoscaler.
        name: String,
    },
    /// Whether the gateway answers for a revision as its activator. Value: `{"ready": bool}`.
    ActivatorProbe {
        /// The namespace of the PodAutoscaler.
        namespace: String,
        /// The name of the PodAutoscaler.
        name: String,
    },
    /// An object of a kind that the World may not know, as it was a few seconds ago at most.
    /// Value: `{"object": {…}}`, or `{"error": "…", "code": u16}` with the API server's status
    /// code (404 where there is no such object or kind).
    Object {
        /// The object's `apiVersion`; a bare group where the version does not matter.
        api_version: String,
        /// Its kind.
        kind: String,
        /// Its namespace, empty for a cluster-scoped kind.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// How a kind is served. Value: `{"plural": "…", "namespaced": bool}`, or `{"error": "…"}`.
    Resource {
        /// The `apiVersion`.
        api_version: String,
        /// The kind.
        kind: String,
    },
    /// Whether a text is a JSONata expression. Value: `{}`, or `{"error": "…"}` where it is none.
    Jsonata {
        /// The text.
        expression: String,
    },
    /// Whether somebody may do something, by the cluster's own authorization. Value:
    /// `{"allowed": bool}`.
    Allowed {
        /// The user, `system:serviceaccount:NAMESPACE:NAME` for a ServiceAccount.
        user: String,
        /// The verb.
        verb: String,
        /// The API group, empty for core.
        group: String,
        /// The plural name of the resource.
        resource: String,
        /// Where; empty is everywhere.
        namespace: String,
    },
    /// A new token of a ServiceAccount. Value: `{"token": "…"}`, or `{"error": "…"}`. It is forgotten
    /// soon after it was asked for: whoever wants it keeps it.
    Token {
        /// The namespace of the account.
        namespace: String,
        /// The name of the account.
        account: String,
        /// Whom it is for.
        audience: String,
    },
    /// A certificate of the installation's own authority, with a new key. Value: `{"tls.crt": PEM,
    /// "tls.key": PEM, "ca.crt": PEM}`, or `{"error": "…"}`.
    Issued {
        /// Who it is for, `namespace/name` of the Secret.
        holder: String,
        /// The DNS names, sorted.
        names: Vec<String>,
        /// How long it is to hold, in seconds.
        lifetime_s: u64,
        /// What the asker knows of the authority ([`crate::certificate::authority_mark`]): with
        /// another authority it is another certificate.
        authority: String,
    },
    /// What an authority that speaks ACME wants to see before it signs. Value: `{"challenges":
    /// [{"host": "…", "token": "…"}]}`, or `{"error": "…"}`. From then on the tokens are answered
    /// for at the Service of challenges.
    Challenges(crate::certificate::Order),
    /// The certificate an authority that speaks ACME gives once it has looked. Value: `{"tls.crt":
    /// PEM, "tls.key": PEM}`, or `{"error": "…"}`.
    Granted(crate::certificate::Order),
    /// What keeps the event data plane from what it was told about an object. Value: `{"message":
    /// "…"}`; absent where nothing does. Told by the broker, never asked for with [`Action::Need`].
    Trouble {
        /// The kind of the object.
        kind: Kind,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Why the API server would not let a plan's write pass, until the plan of this root is
    /// performed whole. Value: `{"code": u16, "message": "…"}`. Told by the driver, never asked
    /// for with [`Action::Need`].
    Refused {
        /// The kind of the root object.
        root: Kind,
        /// The namespace of the root object.
        namespace: String,
        /// The name of the root object.
        name: String,
    },
}
