//! Producers, consumers, retention and deletion at the same time, on real files and real threads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use log::disk::FileDisk;
use log::{Error, Logs, Next, Options, Position, Retention};

const PRODUCERS: u64 = 8;
const EVENTS: u64 = 400;

fn logs(dir: &std::path::Path) -> Logs {
    let options = Options {
        segment_bytes: 20_000,
        cache_bytes: 30_000,
        files_max: 3,
        ..Options::default()
    };
    Logs::open(Arc::new(FileDisk), dir, options).unwrap()
}

#[test]
fn every_consumer_sees_every_event_once_and_each_producers_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let logs = logs(dir.path());
    let log = logs.log("events").unwrap();
    let consumers = ["a", "b", "c"];
    for name in consumers {
        log.set_position(name, Position::at(0)).unwrap();
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                scope.spawn({
                    let log = log.clone();
                    move || produce(&log, producer)
                })
            })
            .collect();
        let readers: Vec<_> = consumers
            .map(|name| {
                scope.spawn({
                    let log = log.clone();
                    move || consume(&log, name)
                })
            })
            .into();
        let cleaner = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                log.retain(1, &Retention::default()).unwrap();
            }
        });
        let acknowledged: BTreeSet<u64> = producers
            .into_iter()
            .flat_map(|p| p.join().unwrap())
            .collect();
        assert_eq!(
            acknowledged.len() as u64,
            PRODUCERS * EVENTS,
            "an offset was given twice"
        );
        for reader in readers {
            check_order(&reader.join().unwrap());
        }
        is_over.store(true, Ordering::Relaxed);
        cleaner.join().unwrap();
    });
    log.retain(1, &Retention::default()).unwrap();
    assert!(
        log.stats().unwrap().first > 0,
        "what all have passed was dropped"
    );
}

fn produce(log: &log::Log, producer: u64) -> Vec<u64> {
    let event = |n: u64| {
        let mut payload = [producer.to_le_bytes(), n.to_le_bytes()].concat();
        payload.resize(100, 0);
        payload
    };
    (0..EVENTS)
        .map(|n| log.append(1, &[event(n)]).unwrap().wait().unwrap())
        .collect()
}

fn consume(log: &log::Log, name: &str) -> Vec<(u64, u64)> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let mut reader = log.reader(0);
    let mut seen = Vec::new();
    while (seen.len() as u64) < PRODUCERS * EVENTS {
        match reader.try_next().unwrap() {
            Next::Record(record) => {
                seen.push((number(&record.payload[..8]), number(&record.payload[8..16])));
                log.set_position(name, Position::at(record.offset + 1))
                    .unwrap();
            }
            Next::Disk => reader.load().unwrap(),
            Next::End => {
                block_on(log.grown(reader.offset())).unwrap();
            }
        }
    }
    seen
}

/// A future's end, waited for by parking this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        thread::park();
    }
}

fn check_order(seen: &[(u64, u64)]) {
    for producer in 0..PRODUCERS {
        let own = seen.iter().filter(|(p, _)| *p == producer).map(|(_, n)| *n);
        assert!(own.eq(0..EVENTS), "events of producer {producer}");
    }
}

#[test]
fn deleting_under_load_ends_every_waiter() {
    let dir = tempfile::tempdir().unwrap();
    let logs = logs(dir.path());
    for _ in 0..20 {
        let log = logs.log("events").unwrap();
        thread::scope(|scope| {
            for producer in 0..4 {
                let log = log.clone();
                scope.spawn(move || {
                    loop {
                        let done = log.append(1, &[[producer; 50]]).and_then(log::Append::wait);
                        match done {
                            Ok(_) => {}
                            Err(Error::Deleted { .. }) => return,
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
            let waiter = log.clone();
            scope.spawn(move || {
                let end = block_on(waiter.grown(u64::MAX));
                assert!(matches!(end, Err(Error::Deleted { .. })));
            });
            block_on(log.grown(20)).unwrap();
            logs.delete("events").unwrap();
        });
        assert_eq!(logs.log("events").unwrap().stats().unwrap().end, 0);
    }
}
