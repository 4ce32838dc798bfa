//! The route table as the workers read it: hosts resolved to revisions. Written by
//! `Gateway::apply`; a request that begins after a change has been applied sees it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serving::route::{Change, RevisionKey, Target, VirtualHost, host_key, ingress_keys};

use crate::pod::Pods;
use crate::revision::RevisionState;

/// Where a split's requests go.
#[derive(Clone)]
pub(crate) enum Backend {
    Revision(Arc<RevisionState>),
    /// `host:port`, reached without limits.
    Address(Arc<str>),
}

/// A host and the resolved targets of its rules.
pub(crate) struct HostEntry {
    pub(crate) host: Arc<VirtualHost>,
    /// By rule, then by split, as in `host`.
    pub(crate) backends: Vec<Vec<Backend>>,
}

#[derive(Default)]
struct Inner {
    hosts: HashMap<String, Arc<HostEntry>>,
    /// Hosts of Ingresses of Kubernetes.
    ingresses: HashMap<String, Arc<HostEntry>>,
    revisions: HashMap<RevisionKey, Arc<RevisionState>>,
}

impl Inner {
    fn revision(&mut self, key: &RevisionKey, queue_max: usize) -> Arc<RevisionState> {
        if let Some(revision) = self.revisions.get(key) {
            return Arc::clone(revision);
        }
        let revision = RevisionState::new(key.clone(), queue_max);
        self.revisions.insert(key.clone(), Arc::clone(&revision));
        revision
    }

    fn resolve(&mut self, host: Arc<VirtualHost>, queue_max: usize) -> HostEntry {
        let mut backend = |target: &Target| match target {
            Target::Revision(key) => Backend::Revision(self.revision(key, queue_max)),
            Target::Address(address) => Backend::Address(address.as_str().into()),
        };
        let backends = host
            .rules
            .iter()
            .map(|rule| {
                rule.splits
                    .iter()
                    .map(|split| backend(&split.target))
                    .collect()
            })
            .collect();
        HostEntry { host, backends }
    }

    fn ingress(&self, key: &str) -> Option<&Arc<HostEntry>> {
        if self.ingresses.is_empty() {
            return None;
        }
        let keys = ingress_keys(key);
        keys.iter().find_map(|key| self.ingresses.get(key))
    }

    /// Forgets a revision that no controller and no host speaks of.
    fn forget_unused(&mut self, key: &RevisionKey) {
        let unused = |revision: &Arc<RevisionState>| {
            revision.facts.load().is_none() && Arc::strong_count(revision) == 1
        };
        if self.revisions.get(key).is_some_and(unused) {
            self.revisions.remove(key);
        }
    }
}

/// The table.
pub(crate) struct Table {
    inner: RwLock<Inner>,
    generation: AtomicU64,
    queue_max: usize,
    pods: Pods,
}

impl Table {
    pub(crate) fn new(queue_max: usize, pods: Pods) -> Self {
        Self {
            inner: RwLock::default(),
            generation: AtomicU64::new(0),
            queue_max,
            pods,
        }
    }

    /// Takes in one change. When this returns, new requests see it.
    pub(crate) fn apply(&self, change: Change) {
        match change {
            Change::Host(host, rules) => {
                self.apply_host(|inner| &mut inner.hosts, &host_key(&host), rules);
            }
            Change::Ingress(host, rules) => {
                self.apply_host(|inner| &mut inner.ingresses, &host_key(&host), rules);
            }
            Change::Revision(key, facts) => {
                let gone = facts.is_none();
                let revision = self.write(|inner| inner.revision(&key, self.queue_max));
                revision.update(facts, &self.pods);
                drop(revision);
                if gone {
                    self.write(|inner| inner.forget_unused(&key));
                }
            }
            // No request is decided by it; `tls` keeps them.
            Change::Identity(..) | Change::Internal(_) => {}
        }
    }

    fn apply_host(
        &self,
        hosts: fn(&mut Inner) -> &mut HashMap<String, Arc<HostEntry>>,
        host: &str,
        rules: Option<Arc<VirtualHost>>,
    ) {
        self.write(|inner| {
            let before = match rules {
                Some(rules) => {
                    let entry = Arc::new(inner.resolve(rules, self.queue_max));
                    hosts(inner).insert(host.to_owned(), entry)
                }
                None => hosts(inner).remove(host),
            };
            let keys: Vec<RevisionKey> = before
                .iter()
                .flat_map(|entry| entry.backends.iter().flatten())
                .filter_map(|backend| match backend {
                    Backend::Revision(revision) => Some(revision.key.clone()),
                    Backend::Address(_) => None,
                })
                .collect();
            drop(before);
            for key in keys {
                inner.forget_unused(&key);
            }
        });
    }

    fn write<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut inner);
        self.generation.fetch_add(1, Ordering::Release);
        result
    }

    /// Forgets removed revisions that requests had still been referring to.
    pub(crate) fn sweep(&self, removed: &[RevisionKey]) {
        if !removed.is_empty() {
            self.write(|inner| removed.iter().for_each(|key| inner.forget_unused(key)));
        }
    }

    /// Rises with every change; an entry looked up under the same number is still the right one.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The host with this key (see `host_key`): Knative's, else that of an Ingress.
    pub(crate) fn host(&self, key: &str) -> Option<Arc<HostEntry>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let found = inner.hosts.get(key).or_else(|| inner.ingress(key));
        found.map(Arc::clone)
    }

    /// The revision, if a controller has said anything of it.
    pub(crate) fn revision(&self, key: &RevisionKey) -> Option<Arc<RevisionState>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.revisions.get(key).map(Arc::clone)
    }

    /// Every revision of the table, in no particular order.
    pub(crate) fn revisions(&self) -> Vec<Arc<RevisionState>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.revisions.values().map(Arc::clone).collect()
    }
}
