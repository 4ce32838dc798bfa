//! One watch of one kind over the whole cluster, as an endless stream of updates in raw bytes.
//!
//! Begins with a watch list (`sendInitialEvents`) and falls back to list and watch where the
//! server does not know it; resumes after a broken connection from the last resource version,
//! and starts over after 410 Gone. The driver turns updates into changes of the World.

use std::collections::VecDeque;
use std::time::Duration;

use api::world::Kind;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde::Deserialize;
use serde_json::value::RawValue;
use stdx::Backoff;

use crate::request::{self, Error, Request};

/// How long the server keeps one watch open.
const WATCH_TIMEOUT_S: u32 = 290;
/// Objects in one page of a list.
const PAGE_OBJECTS: u32 = 500;
/// Between attempts after an error.
const BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(50),
    max: Duration::from_secs(15),
};

/// What the stream tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// The whole collection follows, ending with [`Update::Synced`]. Comes first, and again when
    /// the server no longer knows the last resource version.
    Restarted,
    /// These objects are so now.
    Put(Vec<Bytes>),
    /// This object, in its last state, is gone.
    Gone(Bytes),
    /// Whatever exists and is not newer than this resource version has been put.
    Synced {
        /// The collection's resource version.
        version: u64,
    },
    /// The server does not serve this kind, which is as good as an empty collection; it is asked
    /// again from time to time.
    NotServed,
}

/// The stream for `kind`. Never ends; cancel it by dropping.
pub fn watch(client: Client, kind: Kind) -> impl Stream<Item = Update> {
    let watcher = Watcher {
        client,
        kind,
        state: State::Start,
        pending: VecDeque::new(),
        failures: 0,
        pause: None,
        watch_list: true,
    };
    stream::unfold(watcher, |mut watcher| async {
        let update = watcher.next().await;
        Some((update, watcher))
    })
}

struct Watcher {
    client: Client,
    kind: Kind,
    state: State,
    /// Decoded and not yet handed out.
    pending: VecDeque<Update>,
    /// Consecutive, for the back-off.
    failures: u32,
    /// To be slept before the next request.
    pause: Option<Duration>,
    /// Off once the server has refused `sendInitialEvents`.
    watch_list: bool,
}

enum State {
    /// Nothing is known.
    Start,
    /// A page of the list is to be read.
    Listing { token: String },
    /// A watch is to be opened from this resource version.
    Resume { version: String },
    /// A watch is open.
    Open {
        body: Body,
        buffer: BytesMut,
        /// Of the last event or bookmark; empty while initial events come.
        version: String,
        initial: bool,
    },
}

#[derive(Deserialize)]
struct Event<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    metadata: HeaderMeta,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct HeaderMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    token: String,
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "k8s.io/initial-events-end")]
    initial_events_end: Option<String>,
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(default)]
    metadata: HeaderMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

impl Watcher {
    async fn next(&mut self) -> Update {
        loop {
            if let Some(update) = self.pending.pop_front() {
                return update;
            }
            if let Some(pause) = self.pause.take() {
                tokio::time::sleep(pause).await;
            }
            if let Err(error) = self.step().await {
                self.recover(&error);
            }
        }
    }

    async fn step(&mut self) -> Result<(), Error> {
        match &mut self.state {
            State::Start if self.watch_list => self.open_watch_list().await,
            State::Start => {
                self.pending.push_back(Update::Restarted);
                let token = String::new();
                self.state = State::Listing { token };
                Ok(())
            }
            State::Listing { token } => {
                let token = token.clone();
                self.list_page(token).await
            }
            State::Resume { version } => {
                let version = version.clone();
                let from = format!("&resourceVersion={version}");
                let body = open(&self.client, self.kind, &from).await?;
                self.state = State::Open {
                    body,
                    buffer: BytesMut::new(),
                    version,
                    initial: false,
                };
                Ok(())
            }
            State::Open { .. } => self.read().await,
        }
    }

    async fn open_watch_list(&mut self) -> Result<(), Error> {
        let from = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        let body = match open(&self.client, self.kind, from).await {
            Ok(body) => body,
            Err(error) if error.is_rejected() => {
                self.watch_list = false;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.pending.push_back(Update::Restarted);
        self.state = State::Open {
            body,
            buffer: BytesMut::new(),
            version: String::new(),
            initial: true,
        };
        Ok(())
    }

    async fn list_page(&mut self, token: String) -> Result<(), Error> {
        let path = request::path(self.kind, "", "", "");
        let uri = match token.as_str() {
            "" => format!("{path}?limit={PAGE_OBJECTS}"),
            token => format!("{path}?limit={PAGE_OBJECTS}&continue={token}"),
        };
        let page = request::call(&self.client, Request::get(uri)).await?;
        let list: List<'_> = serde_json::from_slice(&page)?;
        let items = list.items.unwrap_or_default();
        let objects = items.iter().map(|item| slice_of(&page, item)).collect();
        self.pending.push_back(Update::Put(objects));
        self.failures = 0;
        let version = list.metadata.resource_version;
        if list.metadata.token.is_empty() {
            self.pending.push_back(Update::Synced {
                version: number(&version),
            });
            self.state = State::Resume { version };
        } else {
            self.state = State::Listing {
                token: list.metadata.token,
            };
        }
        Ok(())
    }

    /// Takes the next frame of the open watch.
    async fn read(&mut self) -> Result<(), Error> {
        let State::Open {
            body,
            buffer,
            version,
            initial,
        } = &mut self.state
        else {
            return Ok(());
        };
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    buffer.extend_from_slice(&data);
                }
            }
            Some(Err(error)) => return Err(Error::Transport(error)),
            None => {
                // The server's time limit; an interrupted initial phase begins anew.
                self.state = match std::mem::take(version) {
                    version if *initial || version.is_empty() => State::Start,
                    version => State::Resume { version },
                };
                return Ok(());
            }
        }
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end + 1).freeze();
            if line.len() > 1 {
                decode(&line, version, initial, &mut self.pending)?;
            }
        }
        self.failures = 0;
        Ok(())
    }

    fn recover(&mut self, error: &Error) {
        let kind = self.kind.plural;
        if error.is_gone() {
            tracing::debug!(kind, "watch too old, starting over");
            self.state = State::Start;
            return;
        }
        if error.is_not_found() {
            self.pending.push_back(Update::NotServed);
            self.failures = u32::MAX;
        } else if self.failures > 0 {
            tracing::warn!(kind, error = %chain(error), "watch interrupted");
        }
        self.pause = Some(BACKOFF.delay(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.state = match std::mem::replace(&mut self.state, State::Start) {
            State::Open {
                version, initial, ..
            } if !initial && !version.is_empty() => State::Resume { version },
            State::Resume { version } => State::Resume { version },
            State::Open { .. } | State::Start | State::Listing { .. } => State::Start,
        };
    }
}

async fn open(client: &Client, kind: Kind, from: &str) -> Result<Body, Error> {
    let path = request::path(kind, "", "", "");
    let query = format!("watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_TIMEOUT_S}");
    request::open(client, Request::get(format!("{path}?{query}{from}"))).await
}

/// Appends what one line of the watch says to `pending`.
fn decode(
    line: &Bytes,
    version: &mut String,
    initial: &mut bool,
    pending: &mut VecDeque<Update>,
) -> Result<(), Error> {
    let event: Event<'_> = serde_json::from_slice(line)?;
    let object = || slice_of(line, event.object);
    let header = || serde_json::from_str::<Header>(event.object.get()).map(|h| h.metadata);
    match event.r#type {
        "ADDED" | "MODIFIED" => {
            if !*initial {
                *version = header()?.resource_version;
            }
            match pending.back_mut() {
                Some(Update::Put(objects)) => objects.push(object()),
                _ => pending.push_back(Update::Put(vec![object()])),
            }
        }
        "DELETED" => {
            *version = header()?.resource_version;
            pending.push_back(Update::Gone(object()));
        }
        "BOOKMARK" => {
            let metadata = header()?;
            let end = metadata.annotations.and_then(|a| a.initial_events_end);
            *version = metadata.resource_version;
            if *initial && end.as_deref() == Some("true") {
                *initial = false;
                pending.push_back(Update::Synced {
                    version: number(version),
                });
            }
        }
        _ => return Err(request::refusal(500, event.object.get().as_bytes())),
    }
    Ok(())
}

/// The part of `whole` that `raw`, borrowed from it, covers; shares the memory.
fn slice_of(whole: &Bytes, raw: &RawValue) -> Bytes {
    whole.slice_ref(raw.get().as_bytes())
}

fn number(version: &str) -> u64 {
    version.parse().unwrap_or_default()
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
