//! `watch`: what is there, then what changes, as a stream of JSON lines.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use rand::Rng;
use serde_json::{Value, json};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::body::Body;
use super::read::{filter, parse_revision, prefix, too_large};
use super::view::View;
use crate::request::{Query, Target};
use crate::selector::Filter;
use crate::status::{Result, Status};
use crate::store::{Change, Entry, Event, Watch};
use crate::{core, meta};

/// How often a quiet watch tells its revision.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// A watch without `timeoutSeconds` ends after this and up to twice this.
const TIMEOUT_MIN: Duration = Duration::from_secs(1800);
/// Events are gathered into chunks of about this size.
const CHUNK_BYTES: usize = 64 << 10;

/// Answers a watch of a collection or of one object.
pub(super) fn watch(view: View, target: &Target, query: &Query) -> Result<Body> {
    let filter = filter(&view.resource, query)?;
    let mut prefix = prefix(target);
    let single = !target.name.is_empty();
    if single {
        prefix = view.resource.path(&target.namespace, &target.name);
    }
    let bookmarks = query.flag("allowWatchBookmarks");
    let start = Start::parse(query, bookmarks)?;
    let id = Some(view.resource.id);
    let (initial, watch, revision) = match start {
        Start::After(revision) => {
            let current = view.core.store.revision();
            if revision > current {
                return Err(too_large(revision, current));
            }
            let watch = view.core.store.watch(id, revision).ok_or_else(|| {
                Status::expired(format!("too old resource version: {revision} ({current})"))
            })?;
            (VecDeque::new(), watch, revision)
        }
        Start::Present | Start::PresentWithBookmark => {
            let (page, watch) = view.core.store.list_and_watch(id, &prefix);
            (page.entries.into(), watch, page.revision)
        }
    };
    let timeout = query
        .number("timeoutSeconds")?
        .filter(|seconds| *seconds > 0);
    let timeout = timeout.map_or_else(random_timeout, Duration::from_secs);
    let mut ticks = tokio::time::interval_at(Instant::now() + BOOKMARK_INTERVAL, BOOKMARK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stream = Stream {
        initial_end: matches!(start, Start::PresentWithBookmark),
        first: true,
        ended: false,
        deadline: Instant::now() + timeout,
        view,
        filter,
        prefix,
        single,
        bookmarks,
        initial,
        watch,
        revision,
        ticks,
    };
    let chunks = stream::unfold(stream, |mut stream| async move {
        let chunk = stream.next_chunk().await?;
        Some((Ok(chunk), stream))
    });
    Ok(Body::stream(chunks.boxed()))
}

fn random_timeout() -> Duration {
    TIMEOUT_MIN + TIMEOUT_MIN.mul_f64(rand::rng().random())
}

/// Where the watch begins.
enum Start {
    /// With what is there now.
    Present,
    /// The same, and a bookmark behind it.
    PresentWithBookmark,
    /// Behind this revision.
    After(u64),
}

impl Start {
    fn parse(query: &Query, bookmarks: bool) -> Result<Self> {
        let stated = query.get("resourceVersion");
        let matching = query.get("resourceVersionMatch");
        let invalid = |why: &str| {
            Status::new(
                422,
                "Invalid",
                format!("ListOptions.meta.k8s.io \"\" is invalid: {why}"),
            )
        };
        if query.all("sendInitialEvents").next().is_none() {
            if !matching.is_empty() {
                return Err(invalid(
                    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch \
                     unless sendInitialEvents is provided",
                ));
            }
            return match stated {
                "" | "0" => Ok(Self::Present),
                stated => parse_revision(stated).map(Self::After),
            };
        }
        if matching != "NotOlderThan" {
            return Err(invalid(
                "resourceVersionMatch: Forbidden: sendInitialEvents requires setting \
                 resourceVersionMatch to NotOlderThan",
            ));
        }
        match (query.flag("sendInitialEvents"), bookmarks) {
            (true, true) => Ok(Self::PresentWithBookmark),
            (true, false) => Ok(Self::Present),
            (false, _) if matches!(stated, "" | "0") => Ok(Self::Present),
            (false, _) => parse_revision(stated).map(Self::After),
        }
    }
}

struct Stream {
    view: View,
    filter: Filter,
    prefix: String,
    single: bool,
    bookmarks: bool,
    initial: VecDeque<Arc<Entry>>,
    initial_end: bool,
    watch: Watch,
    /// The newest revision this watch has taken in.
    revision: u64,
    first: bool,
    ended: bool,
    deadline: Instant,
    ticks: Interval,
}

enum Next {
    Event(Option<Arc<Event>>),
    Bookmark,
    Timeout,
}

impl Stream {
    async fn next_chunk(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut out = Vec::new();
        self.send_initial(&mut out).await;
        while out.is_empty() {
            let next = tokio::select! {
                biased;
                event = self.watch.recv() => Next::Event(event),
                () = tokio::time::sleep_until(self.deadline) => Next::Timeout,
                _ = self.ticks.tick() => Next::Bookmark,
            };
            match next {
                Next::Event(Some(event)) => self.send_ready(&event, &mut out).await,
                Next::Bookmark => self.send_bookmark(&mut out),
                Next::Event(None) | Next::Timeout => {
                    self.ended = true;
                    if matches!(next, Next::Timeout) {
                        self.send_bookmark(&mut out);
                    }
                    break;
                }
            }
        }
        (!out.is_empty()).then(|| out.into())
    }

    async fn send_initial(&mut self, out: &mut Vec<u8>) {
        while let Some(entry) = self.initial.pop_front() {
            if self.is_covered(&entry.path) && self.filter.matches(&entry) {
                self.send("ADDED", &entry, out).await;
            }
            if out.len() >= CHUNK_BYTES {
                return;
            }
        }
        if std::mem::take(&mut self.initial_end) {
            line(out, "BOOKMARK", &self.view.bookmark(self.revision, true));
        }
    }

    /// Sends an event and all that are waiting behind it, up to a chunk.
    async fn send_ready(&mut self, event: &Event, out: &mut Vec<u8>) {
        self.send_event(event, out).await;
        while out.len() < CHUNK_BYTES {
            let Ok(event) = self.watch.try_recv() else {
                return;
            };
            self.send_event(&event, out).await;
        }
    }

    async fn send_event(&mut self, event: &Event, out: &mut Vec<u8>) {
        self.revision = event.entry.revision;
        if !self.is_covered(&event.entry.path) {
            return;
        }
        let matches = |entry: &Arc<Entry>| self.filter.is_empty() || self.filter.matches(entry);
        let was = event.previous.as_ref().is_some_and(matches);
        let is = event.change != Change::Deleted && matches(&event.entry);
        match (was, is) {
            (false, true) => self.send("ADDED", &event.entry, out).await,
            (true, true) => self.send("MODIFIED", &event.entry, out).await,
            (true, false) if event.change == Change::Deleted => {
                self.send("DELETED", &event.entry, out).await;
            }
            // It left the selection: the client gets the last state it knew, under the revision
            // of the change that took it away.
            (true, false) => {
                if let Some(left) = event
                    .previous
                    .as_ref()
                    .and_then(|p| restamp(p, self.revision))
                {
                    self.send("DELETED", &left, out).await;
                }
            }
            (false, false) => {}
        }
    }

    fn is_covered(&self, path: &str) -> bool {
        if self.single {
            path == self.prefix
        } else {
            path.starts_with(&self.prefix)
        }
    }

    async fn send(&mut self, kind: &str, entry: &Entry, out: &mut Vec<u8>) {
        match self.view.event(entry, self.first).await {
            Ok(object) => {
                self.first = false;
                out.extend_from_slice(b"{\"type\":\"");
                out.extend_from_slice(kind.as_bytes());
                out.extend_from_slice(b"\",\"object\":");
                out.extend_from_slice(&object);
                out.extend_from_slice(b"}\n");
            }
            Err(status) => {
                self.ended = true;
                line(out, "ERROR", &status.to_value());
            }
        }
    }

    fn send_bookmark(&self, out: &mut Vec<u8>) {
        if self.bookmarks {
            line(out, "BOOKMARK", &self.view.bookmark(self.revision, false));
        }
    }
}

fn line(out: &mut Vec<u8>, kind: &str, object: &Value) {
    out.extend_from_slice(
        json!({"type": kind, "object": object})
            .to_string()
            .as_bytes(),
    );
    out.push(b'\n');
}

fn restamp(entry: &Entry, revision: u64) -> Option<Entry> {
    let mut object = core::decode_stored(entry).ok()?;
    let bytes = meta::encode(&mut object, revision);
    Some(entry.restamped(revision, bytes.into()))
}
