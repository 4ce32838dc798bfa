//! The values that go down from the controllers to the broker: who may send events where, and who
//! gets them. Written by `eventing`'s plans, read by `broker`; neither knows the other.
//!
//! An *ingress* is anything that events are posted to and that keeps them: a Broker or a channel.
//! Its *subscribers* are Triggers or Subscriptions. A *handler* is an addressable that answers
//! each event itself and keeps nothing. A *source* makes events. Everything here is resolved: no
//! references are left, only addresses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::route::Identity;
use crate::world::Kind;

/// An object of Eventing by kind, namespace and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// Its kind: [`crate::world`] has a constant for each.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Key {
    /// The key of object `name` in `namespace`.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// Where an event is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Absolute `http://` or `https://` URL.
    pub url: String,
    /// PEM certificates that the server's must descend from, besides the system's.
    pub ca_certs: Option<String>,
    /// The audience of the OIDC token that goes with each request, if one does.
    pub audience: Option<String>,
}

/// How the wait grows between attempts. Knative's `backoffPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Growth {
    /// `delay · n`, n counted from 0.
    Linear,
    /// `delay · 2ⁿ`, n counted from 0.
    Exponential,
}

/// How the body is encoded. Knative's `delivery.format`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Binary mode.
    Binary,
    /// Structured mode.
    Json,
}

/// A resolved `DeliverySpec`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Policy {
    /// Attempts after the first.
    pub retry: u32,
    /// `None` waits not at all between attempts, as Knative does unless policy and delay are set.
    pub backoff: Option<(Growth, Duration)>,
    /// One attempt may take this long; `None` leaves it to the broker's own limit.
    pub timeout: Option<Duration>,
    /// Honour `Retry-After` of 429 and 503 up to this long.
    pub retry_after_max: Option<Duration>,
    /// `None` keeps the mode the event came in.
    pub format: Option<Format>,
    /// Events that cannot be delivered go here; `None` drops them.
    pub dead_letter: Option<Endpoint>,
}

/// Where the events come from that a subscriber sees first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Start {
    /// What arrives after it subscribed.
    #[default]
    Now,
    /// The event at this position of the ingress' log, and on.
    Offset(u64),
    /// Events that arrived at this time or later.
    Time(Timestamp),
}

/// One consumer of an ingress.
#[derive(Clone, PartialEq, Debug)]
pub struct Subscriber {
    /// The UID of the Trigger or Subscription: its position in the log is kept under it.
    pub uid: Arc<str>,
    /// The Trigger or Subscription.
    pub key: Key,
    /// `spec.filters` as Knative spells it, or the one-element form of the older `spec.filter`:
    /// `[{"attributes": {…}}]`. Empty matches all.
    pub filters: Vec<Value>,
    /// Who gets the event; `None` hands it to `reply` as it is.
    pub target: Option<Endpoint>,
    /// Who gets the answer. Triggers answer into their Broker: see `replies_to_ingress`.
    pub reply: Option<Endpoint>,
    /// The answer goes into the ingress again, one hop nearer to its end.
    pub replies_to_ingress: bool,
    /// Retries, dead letters.
    pub policy: Policy,
    /// One event at a time, in the order of arrival.
    pub ordered: bool,
    /// Requests in flight at once, 0 for the broker's own limit.
    pub parallelism: u32,
    /// Where a consumer without a position starts.
    pub start: Start,
    /// A different value than last time sets the position back to `start`. Empty never does.
    pub replay: String,
    /// `namespace/name` of the ServiceAccount whose token it sends, where audiences ask for one.
    pub service_account: Option<String>,
}

/// Who may post, when policies are in force. EventPolicy, resolved.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Access {
    /// Tokens are checked against this audience; `None` does not authenticate.
    pub audience: Option<String>,
    /// `None` admits every authenticated sender.
    pub allowed: Option<Vec<Allowed>>,
}

/// One EventPolicy.
#[derive(Clone, PartialEq, Debug)]
pub struct Allowed {
    /// Subjects, exact or with a trailing `*`.
    pub subjects: Vec<String>,
    /// Filters the event must pass besides.
    pub filters: Vec<Value>,
}

/// A Broker or channel.
#[derive(Clone, PartialEq, Debug)]
pub struct Ingress {
    /// The UID of the object: its log is kept under it and dropped with it.
    pub uid: Arc<str>,
    /// Host names (lower case, no port) whose every path is this ingress: channels. A Broker is
    /// reached by the path `/NAMESPACE/NAME` under the ingress' shared names, or by hosts of old.
    pub hosts: Vec<String>,
    /// Who may post.
    pub access: Access,
    /// In the order of their names.
    pub subscribers: Vec<Arc<Subscriber>>,
    /// Events are kept at least this long after they arrived, even when all have passed them.
    pub retention: Option<Duration>,
    /// Events are kept up to this many bytes; beyond it ingress answers 429.
    pub bytes_max: Option<u64>,
    /// EventTypes are made of the events that come.
    pub makes_event_types: bool,
}

/// An addressable that answers each event itself.
#[derive(Clone, PartialEq, Debug)]
pub struct Handler {
    /// The UID of the object.
    pub uid: Arc<str>,
    /// Host names (lower case, no port) whose every path is this handler; else by path.
    pub hosts: Vec<String>,
    /// Who may post.
    pub access: Access,
    /// The object as stored: what it does is in its spec (IntegrationSink, JobSink,
    /// EventTransform, RequestReply).
    pub object: Arc<Value>,
    /// Where results go, if not back.
    pub sink: Option<Endpoint>,
    /// `namespace/name` of the ServiceAccount whose token goes there, where one is asked for.
    pub service_account: Option<String>,
}

/// Something in this process that makes events.
#[derive(Clone, PartialEq, Debug)]
pub struct Source {
    /// The UID of the object.
    pub uid: Arc<str>,
    /// The object as stored (PingSource, ApiServerSource, IntegrationSource, GitHubSource).
    pub object: Arc<Value>,
    /// Where events go.
    pub sink: Endpoint,
    /// `ceOverrides.extensions`.
    pub extensions: BTreeMap<String, String>,
    /// What else its plan has found out, by name (namespaces, plurals, secrets' values).
    pub facts: BTreeMap<String, Value>,
}

/// A certificate by which this process shows who it is, under some host names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Lower case, no port.
    pub hosts: Vec<String>,
    /// The certificate and its key.
    pub identity: Identity,
    /// Events are taken by TLS alone.
    pub is_strict: bool,
}

/// One change of the graph. The last word about a key wins; `None` removes it.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A Broker or channel.
    Ingress(Key, Option<Arc<Ingress>>),
    /// An addressable that keeps nothing.
    Handler(Key, Option<Arc<Handler>>),
    /// A maker of events.
    Source(Key, Option<Arc<Source>>),
    /// A certificate to show; the key is its Secret's.
    Identity(Key, Option<Arc<Shown>>),
    /// PEM certificates to trust when sending, besides the system's; the key is a ConfigMap's.
    Trust(Key, Option<Arc<str>>),
}

impl Change {
    /// What it is about.
    pub fn key(&self) -> &Key {
        match self {
            Self::Ingress(key, _)
            | Self::Handler(key, _)
            | Self::Source(key, _)
            | Self::Identity(key, _)
            | Self::Trust(key, _) => key,
        }
    }

    /// The change that takes it back.
    pub fn taken_back(&self) -> Self {
        match self {
            Self::Ingress(key, _) => Self::Ingress(key.clone(), None),
            Self::Handler(key, _) => Self::Handler(key.clone(), None),
            Self::Source(key, _) => Self::Source(key.clone(), None),
            Self::Identity(key, _) => Self::Identity(key.clone(), None),
            Self::Trust(key, _) => Self::Trust(key.clone(), None),
        }
    }
}
