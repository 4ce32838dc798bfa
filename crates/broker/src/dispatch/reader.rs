//! The one reader of an ingress: reads what was just kept, asks the index who wants it, and puts
//! it into their lanes. Its cost grows with the matches, not with the consumers.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::{debug, error};

use super::Lanes;
use crate::record::Record;
use crate::topic::Topic;

/// Bytes read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Reads until `lanes` is closed. `topic.tail` says how far it has come.
pub(super) async fn run(topic: Arc<Topic>, mut lanes: watch::Receiver<Arc<Lanes>>) {
    loop {
        let tail = topic.tail();
        let known = topic.journal().end();
        if tail >= known {
            tokio::select! {
                grown = topic.journal().grown(tail) => if let Err(error) = grown {
                    debug!(ingress = %topic.name(), %error, "the event log has ended");
                    return topic.end(error.to_string());
                },
                changed = lanes.changed() => if changed.is_err() { return },
            }
            continue;
        }
        let current = Arc::clone(&lanes.borrow_and_update());
        match distribute(&topic, &current, tail, known) {
            Ok(next) => topic.set_tail(next),
            Err(error) => {
                error!(ingress = %topic.name(), %error, "the event log cannot be read; delivery of new events stops");
                return topic.end(format!("the event log cannot be read: {error}"));
            }
        }
        for lane in &current.all {
            if lane.is_behind() {
                lane.changed.notify_one();
            }
        }
        // Consumers on this thread take what is there before more is read.
        tokio::task::yield_now().await;
    }
}

/// Hands out one chunk; answers where the next begins.
fn distribute(
    topic: &Topic,
    lanes: &Lanes,
    tail: u64,
    end: u64,
) -> Result<u64, crate::backend::BackendError> {
    let mut live = 0;
    for lane in &lanes.all {
        live += usize::from(lane.meet(tail));
    }
    if live == 0 {
        // Whoever is behind reads for itself, to where this reader has not been.
        return Ok(end);
    }
    let batch = topic.journal().read(tail, CHUNK_BYTES)?;
    for (offset, bytes) in batch.records {
        if offset >= end {
            return Ok(end);
        }
        match Record::parse(bytes) {
            Ok(record) => {
                let record = Arc::new(record);
                for at in lanes.index.matching(record.event()) {
                    lanes.all[at].offer(offset, &record);
                }
            }
            Err(error) => error!(ingress = %topic.name(), offset, %error, "an event is skipped"),
        }
    }
    Ok(batch.next.max(tail + 1).min(end))
}
