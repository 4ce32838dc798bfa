//! Who answers on a listener, and what it decides about a request: answer it by itself, or forward
//! it to a revision. Called once per request, before anything is read of the body.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serving::route::{
    CHALLENGE_PATH, Protocol, Revision, RevisionKey, Rule, Split, Visibility, draw_split, host_key,
    match_rule, without_port,
};

use crate::config::Face;
use crate::pod::PodState;
use crate::queue::Queue;
use crate::reply::Reply;
use crate::revision::RevisionState;
use crate::table::{Backend, HostEntry, Table};

/// What the decision needs to know of a request, whichever protocol it came by.
pub(crate) struct Query<'a> {
    /// The Host header or `:authority`.
    pub(crate) host: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    pub(crate) network_probe: Option<&'a str>,
    pub(crate) user_agent: &'a str,
    /// An activator has counted the request already.
    pub(crate) proxied: bool,
    pub(crate) headers: &'a dyn Headers<'a>,
}

/// The header fields of a request, however they are kept.
pub(crate) trait Headers<'a> {
    /// A field's value by its lower-case name.
    fn get(&self, name: &str) -> Option<&'a str>;
}

/// The time limits of a request; `None` is off.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Limits {
    /// From the request's head to the response's last byte.
    pub(crate) total: Option<Duration>,
    /// To the response's first byte.
    pub(crate) response_start: Option<Duration>,
    /// Since the last byte of the response.
    pub(crate) idle: Option<Duration>,
}

impl Limits {
    pub(crate) fn of(revision: &Revision) -> Self {
        Self {
            total: Some(revision.timeout).filter(|timeout| !timeout.is_zero()),
            response_start: revision
                .response_start_timeout
                .filter(|timeout| !timeout.is_zero()),
            idle: revision.idle_timeout.filter(|timeout| !timeout.is_zero()),
        }
    }

    /// When the first byte of the answer to a request of `started` must be there.
    pub(crate) fn first_byte(&self, started: Instant) -> Option<Instant> {
        let limit = [self.total, self.response_start, self.idle]
            .into_iter()
            .flatten()
            .min();
        limit.map(|limit| started + limit)
    }
}

/// Where a request goes.
#[derive(Clone)]
pub(crate) enum Via {
    Revision(Arc<RevisionState>),
    /// This very Pod, past its limit and its counters when not `counted`.
    Pod {
        pod: Arc<PodState>,
        counted: bool,
    },
    Address(Arc<str>),
}

/// A request that is sent on.
pub(crate) struct Forward {
    pub(crate) via: Via,
    pub(crate) limits: Limits,
    /// The body of a 504.
    pub(crate) timeout_text: &'static str,
    /// The rule and the split, for the headers they set.
    pub(crate) rule: Option<(Arc<HostEntry>, usize, usize)>,
    pub(crate) protocol: Protocol,
    /// The request counts as the activator's.
    pub(crate) proxied: bool,
}

impl Forward {
    fn matched(&self) -> Option<(&Rule, &Split)> {
        self.rule.as_ref().map(|(entry, rule, split)| {
            let rule = &entry.host.rules[*rule];
            (rule, &rule.splits[*split])
        })
    }

    /// The fields to be set on the request: the rule's, then the split's.
    pub(crate) fn set_headers(&self) -> [Option<&BTreeMap<String, String>>; 2] {
        let matched = self.matched();
        [
            matched.map(|(rule, _)| &rule.append_headers),
            matched.map(|(_, split)| &split.append_headers),
        ]
    }

    /// The host the backend is to be asked for instead of the client's.
    pub(crate) fn rewrite_host(&self) -> Option<&str> {
        self.matched()
            .and_then(|(rule, _)| rule.rewrite_host.as_deref())
    }
}

/// What becomes of a request.
pub(crate) enum Decision {
    Reply(Reply),
    Forward(Forward),
    /// Ask the application's prober.
    Probe(Arc<Queue>),
}

/// The last host a connection asked for: most connections ask for one.
#[derive(Default)]
pub(crate) struct HostCache {
    generation: u64,
    host: String,
    entry: Option<Arc<HostEntry>>,
}

/// Who answers on a listener.
pub(crate) enum Front {
    Gateway(Ingress),
    Queue(Arc<Queue>),
}

impl Front {
    /// Decides about one request. `draw` is a random number.
    pub(crate) fn decide(
        &self,
        query: &Query<'_>,
        https: bool,
        draw: u64,
        cache: &mut HostCache,
    ) -> Decision {
        match self {
            Self::Gateway(ingress) => ingress.decide(query, https, draw, cache),
            Self::Queue(queue) => queue.decide(query),
        }
    }
}

/// The gateway's side of a listener.
pub(crate) struct Ingress {
    pub(crate) face: Face,
    pub(crate) table: Arc<Table>,
    /// Where users are sent who must come by TLS.
    pub(crate) https_port: Arc<AtomicU16>,
}

impl Ingress {
    fn decide(&self, query: &Query<'_>, https: bool, draw: u64, cache: &mut HostCache) -> Decision {
        if self.face == Face::Activator {
            return self.activate(query);
        }
        let Some(entry) = self.lookup(query.host, cache) else {
            return Decision::Reply(Reply::no_such_host());
        };
        let host = &entry.host;
        if self.face == Face::External && host.visibility == Visibility::ClusterLocal {
            return Decision::Reply(Reply::no_such_host());
        }
        // Whoever looks whether the name leads here looks by plain HTTP (RFC 8555 section 8.3).
        if host.redirect_to_https && !https && !query.target.starts_with(CHALLENGE_PATH) {
            return Decision::Reply(self.redirect(query));
        }
        let path = query.target.split('?').next().unwrap_or_default();
        let drawn =
            match_rule(&host.rules, path, |name| query.headers.get(name)).and_then(|rule| {
                let split = draw_split(&host.rules[rule].splits, (draw % 100) as u8)?;
                Some((rule, split))
            });
        let Some((rule, split)) = drawn else {
            return Decision::Reply(Reply::no_such_host());
        };
        match &entry.backends[rule][split] {
            Backend::Revision(revision) => {
                let revision = Arc::clone(revision);
                forward(revision, query, Some((Arc::clone(entry), rule, split)))
            }
            Backend::Address(address) => Decision::Forward(Forward {
                via: Via::Address(Arc::clone(address)),
                limits: Limits::default(),
                timeout_text: "request timeout",
                rule: Some((Arc::clone(entry), rule, split)),
                protocol: Protocol::Http1,
                proxied: false,
            }),
        }
    }

    fn redirect(&self, query: &Query<'_>) -> Reply {
        let host = without_port(query.host);
        let port = self.https_port.load(Ordering::Relaxed);
        let location = match port {
            443 => format!("https://{host}{}", query.target),
            port => format!("https://{host}:{port}{}", query.target),
        };
        Reply::text(301, "").with_header("location", location)
    }

    fn lookup<'c>(&self, host: &str, cache: &'c mut HostCache) -> Option<&'c Arc<HostEntry>> {
        let generation = self.table.generation();
        if cache.entry.is_none() || cache.generation != generation || cache.host != host {
            cache.entry = self.table.host(&host_key(host));
            cache.generation = generation;
            host.clone_into(&mut cache.host);
        }
        cache.entry.as_ref()
    }

    /// The activator's own way to find a revision.
    fn activate(&self, query: &Query<'_>) -> Decision {
        if query.network_probe == Some("activator") {
            return Decision::Reply(Reply::text(200, "activator"));
        }
        if query.user_agent.starts_with("kube-probe/") && query.network_probe.is_none() {
            return Decision::Reply(Reply::text(200, ""));
        }
        let named = query
            .headers
            .get("knative-serving-namespace")
            .zip(query.headers.get("knative-serving-revision"));
        let key = match named {
            Some((namespace, name)) => RevisionKey::new(namespace, name),
            None => {
                let host = host_key(query.host);
                let mut labels = host.split('.');
                let (name, namespace) = (labels.next(), labels.next());
                RevisionKey::new(namespace.unwrap_or_default(), name.unwrap_or_default())
            }
        };
        match self.table.revision(&key) {
            Some(revision) => forward(revision, query, None),
            None => Decision::Reply(no_such_revision(&key)),
        }
    }
}

fn forward(
    revision: Arc<RevisionState>,
    query: &Query<'_>,
    rule: Option<(Arc<HostEntry>, usize, usize)>,
) -> Decision {
    let facts = revision.facts.load();
    let Some(facts) = &*facts else {
        return Decision::Reply(no_such_revision(&revision.key));
    };
    if let Some(probe) = query.network_probe {
        return Decision::Reply(answer_probe(probe, query, &revision));
    }
    let text = if facts.activator_in_path {
        "activator request timeout"
    } else {
        "request timeout"
    };
    Decision::Forward(Forward {
        limits: Limits::of(facts),
        timeout_text: text,
        rule,
        protocol: facts.protocol,
        proxied: facts.activator_in_path,
        via: Via::Revision(Arc::clone(&revision)),
    })
}

/// The answers to `K-Network-Probe` requests that reach a revision through a gateway.
fn answer_probe(probe: &str, query: &Query<'_>, revision: &RevisionState) -> Reply {
    match probe {
        "probe" => answer_ingress_probe(query.headers.get("k-network-hash").unwrap_or_default()),
        "activator" => Reply::text(200, "activator"),
        "queue" if revision.has_pods() => Reply::text(200, "queue"),
        "queue" => Reply::text(503, "queue not ready\n"),
        other => Reply::owned(400, format!("unexpected probe header value: {other:?}\n")),
    }
}

/// The ingress prober wants its hash back.
pub(crate) fn answer_ingress_probe(hash: &str) -> Reply {
    if hash.is_empty() {
        return Reply::text(
            400,
            "a probe request must contain a non-empty \"K-Network-Hash\" header\n",
        );
    }
    Reply::text(200, "").with_header("k-network-hash", hash.to_owned())
}

fn no_such_revision(key: &RevisionKey) -> Reply {
    let RevisionKey { namespace, name } = key;
    let text = format!(
        "Error getting active endpoint: revision.serving.knative.dev \"{namespace}/{name}\" not found\n"
    );
    Reply::owned(404, text)
}
