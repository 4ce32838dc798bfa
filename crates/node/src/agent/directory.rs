//! What others may know of a Pod while its worker runs it: object, network, runs. Logs, exec,
//! attach, forwarding and statistics look here.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{broadcast, mpsc};

use super::step::Input;
use super::worker::Message;
use crate::builtin::Dialer;
use crate::launcher::Process;
use crate::logs::{LogFile, Output};
use crate::net::PodNet;

/// The present or last run of one container.
#[derive(Clone)]
pub(crate) struct RunInfo {
    /// The launcher's name for it.
    pub(crate) id: String,
    /// Which run.
    pub(crate) attempt: u32,
    /// Whether its launcher is the one without the filter.
    pub(crate) unconfined: bool,
    /// Where it lives: directory and control group.
    pub(crate) slot: Option<String>,
    /// Its first process, in the machine's numbering; none for builtins.
    pub(crate) pid: Option<i32>,
    /// Its log.
    pub(crate) log: Arc<LogFile>,
    /// Its output, for those attached.
    pub(crate) attached: broadcast::Sender<Output>,
    /// Its standard input or terminal.
    pub(crate) stdin: Option<Arc<OwnedFd>>,
    /// Whether that is a terminal.
    pub(crate) tty: bool,
    /// Whether it runs now.
    pub(crate) running: bool,
    /// Environment, user and rights, for processes to run beside it; none for builtins.
    pub(crate) process: Option<Arc<Process>>,
}

/// One Pod.
pub(crate) struct Directory {
    pub(crate) uid: String,
    to: mpsc::UnboundedSender<Message>,
    inner: Mutex<Inner>,
}

struct Inner {
    pod: Arc<Pod>,
    net: Option<PodNet>,
    host_network: bool,
    runs: BTreeMap<String, RunInfo>,
}

impl Directory {
    pub(crate) fn new(pod: Arc<Pod>, to: mpsc::UnboundedSender<Message>) -> Self {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let inner = Inner {
            pod,
            net: None,
            host_network: false,
            runs: BTreeMap::new(),
        };
        Self {
            uid,
            to,
            inner: Mutex::new(inner),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the worker something; a worker that has ended needs to know nothing.
    pub(crate) fn send(&self, message: Message) {
        if let Message::Input(Input::Pod(pod)) = &message {
            self.inner().pod = Arc::clone(pod);
        }
        let _ = self.to.send(message);
    }

    pub(crate) fn pod(&self) -> Arc<Pod> {
        Arc::clone(&self.inner().pod)
    }

    pub(crate) fn is_named(&self, namespace: &str, name: &str) -> bool {
        let inner = self.inner();
        let meta = &inner.pod.metadata;
        meta.namespace.as_deref() == Some(namespace) && meta.name.as_deref() == Some(name)
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.inner().pod.metadata.deletion_timestamp.is_some()
    }

    pub(crate) fn set_network(&self, net: Option<PodNet>, host_network: bool) {
        let mut inner = self.inner();
        inner.net = net;
        inner.host_network = host_network;
    }

    pub(crate) fn dialer(&self) -> Option<Dialer> {
        let inner = self.inner();
        match (&inner.net, inner.host_network) {
            (Some(net), _) => Some(Dialer::new(Some(net.clone()))),
            (None, true) => Some(Dialer::new(None)),
            (None, false) => None,
        }
    }

    pub(crate) fn run(&self, container: &str) -> Option<RunInfo> {
        self.inner().runs.get(container).cloned()
    }

    pub(crate) fn runs(&self) -> Vec<(String, RunInfo)> {
        self.inner()
            .runs
            .iter()
            .map(|(name, run)| (name.clone(), run.clone()))
            .collect()
    }

    pub(crate) fn set_run(&self, container: &str, run: RunInfo) {
        self.inner().runs.insert(container.to_owned(), run);
    }

    pub(crate) fn change_run(&self, container: &str, change: impl FnOnce(&mut RunInfo)) {
        if let Some(run) = self.inner().runs.get_mut(container) {
            change(run);
        }
    }
}
