//! What does not work is told, tried again, and told when it works again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::delivery::Key;
use broker::{AppendError, Backend, BackendError, Batch, Journal, Position, Report};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::support::{Consumer, Fixture, PATIENCE, trigger};

/// Passes on what is told: the object's name and why it does not work.
struct Hear(mpsc::UnboundedSender<(String, Option<String>)>);

impl Report for Hear {
    fn trouble(&self, key: &Key, why: Option<&str>) {
        let name = format!("{} {}", key.kind.kind, key.name);
        // The test may have heard enough.
        let _ = self.0.send((name, why.map(str::to_owned)));
    }
}

async fn heard(
    ear: &mut mpsc::UnboundedReceiver<(String, Option<String>)>,
) -> (String, Option<String>) {
    let told = tokio::time::timeout(PATIENCE, ear.recv()).await;
    told.expect("it is told in time").expect("somebody tells")
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_is_told_and_tried_again() {
    let (tell, mut ear) = mpsc::unbounded_channel();
    let fixture = Fixture::adjusted(move |config| config.report = Arc::new(Hear(tell.clone())));
    let mut consumer = Consumer::start().await;
    // Something else has the place of its directory.
    let place = fixture.dir().join("broker-uid");
    std::fs::write(&place, "x").expect("written");
    fixture.set_broker(vec![trigger("t", &consumer.url)]);
    let (name, why) = heard(&mut ear).await;
    assert_eq!(name, "Broker default");
    let why = why.expect("it does not work");
    assert!(why.contains("broker-uid"), "{why}");
    assert_eq!(fixture.post_event("1", "t").await, 404);
    std::fs::remove_file(&place).expect("removed");
    assert_eq!(heard(&mut ear).await, (name, None));
    assert_eq!(fixture.post_event("2", "t").await, 202);
    assert_eq!(consumer.ids(1).await, ["2"]);
}

/// Logs that fail when the test says so, until they are mended.
struct Fragile {
    inner: Arc<dyn Backend>,
    is_broken: Arc<AtomicBool>,
}

impl Backend for Fragile {
    fn open(&self, name: &str) -> Result<Arc<dyn Journal>, BackendError> {
        Ok(Arc::new(FragileLog {
            inner: self.inner.open(name)?,
            is_broken: Arc::clone(&self.is_broken),
        }))
    }

    fn names(&self) -> Result<Vec<String>, BackendError> {
        self.inner.names()
    }

    fn remove(&self, name: &str) -> Result<(), BackendError> {
        self.inner.remove(name)
    }
}

struct FragileLog {
    inner: Arc<dyn Journal>,
    is_broken: Arc<AtomicBool>,
}

impl FragileLog {
    fn check(&self) -> Result<(), BackendError> {
        match self.trouble() {
            Some(why) => Err(BackendError(why)),
            None => Ok(()),
        }
    }
}

impl Journal for FragileLog {
    fn append(&self, records: Vec<Bytes>) -> BoxFuture<'static, Result<u64, AppendError>> {
        match self.trouble() {
            Some(why) => Box::pin(std::future::ready(Err(AppendError::Failed(why)))),
            None => self.inner.append(records),
        }
    }

    fn end(&self) -> u64 {
        self.inner.end()
    }

    fn grown(&self, offset: u64) -> BoxFuture<'static, Result<u64, BackendError>> {
        self.inner.grown(offset)
    }

    fn start(&self) -> u64 {
        self.inner.start()
    }

    fn read(&self, from: u64, bytes_max: usize) -> Result<Batch, BackendError> {
        self.check()?;
        self.inner.read(from, bytes_max)
    }

    fn at_time(&self, arrival_ms: u64) -> Result<u64, BackendError> {
        self.inner.at_time(arrival_ms)
    }

    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }

    fn trouble(&self) -> Option<String> {
        let is_broken = self.is_broken.load(Ordering::SeqCst);
        is_broken.then(|| "the disk is gone".to_owned())
    }

    fn mend(&self) -> Result<(), BackendError> {
        self.is_broken.store(false, Ordering::SeqCst);
        self.inner.mend()
    }

    fn positions(&self, prefix: &str) -> Result<Vec<(String, Position)>, BackendError> {
        self.inner.positions(prefix)
    }

    fn set_position(&self, consumer: &str, position: &Position) -> Result<(), BackendError> {
        self.inner.set_position(consumer, position)
    }

    fn forget(&self, consumer: &str) -> Result<(), BackendError> {
        self.inner.forget(consumer)
    }

    fn cut(&self, keep: Duration) -> Result<(), BackendError> {
        self.inner.cut(keep)
    }
}

#[tokio::test]
async fn a_log_that_fails_is_told_and_read_anew() {
    let (tell, mut ear) = mpsc::unbounded_channel();
    let is_broken = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&is_broken);
    let fixture = Fixture::adjusted(move |config| {
        config.report = Arc::new(Hear(tell.clone()));
        config.backend = Arc::new(Fragile {
            inner: Arc::clone(&config.backend),
            is_broken: Arc::clone(&switch),
        });
    });
    let mut consumer = Consumer::start().await;
    fixture.set_broker(vec![trigger("t", &consumer.url)]);
    assert_eq!(fixture.post_event("1", "t").await, 202);
    assert_eq!(consumer.ids(1).await, ["1"]);
    is_broken.store(true, Ordering::SeqCst);
    let (name, why) = heard(&mut ear).await;
    assert_eq!(name, "Broker default");
    assert_eq!(why.as_deref(), Some("the disk is gone"));
    assert_eq!(heard(&mut ear).await, (name, None));
    // What reads the log has begun anew, too.
    assert_eq!(fixture.post_event("2", "t").await, 202);
    assert_eq!(consumer.ids(1).await, ["2"]);
}
