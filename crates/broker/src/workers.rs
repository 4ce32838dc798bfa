//! The broker's threads: each runs one single-threaded runtime, so that an event's way through the
//! broker crosses no thread but the log's. Connections and ingresses are dealt out to them.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// The threads. They end when this is dropped or stopped.
pub(crate) struct Workers {
    dealer: Dealer,
    running: Mutex<Option<Running>>,
}

struct Running {
    alive: watch::Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

/// Gives everybody a thread in turn. Keeps none of them alive.
#[derive(Clone)]
pub(crate) struct Dealer {
    handles: Arc<[Handle]>,
    turn: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts `count` threads, at least one.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let (alive, ended) = watch::channel(());
        let (mut handles, mut threads) = (Vec::new(), Vec::new());
        for number in 0..count.max(1) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let mut ended = ended.clone();
            let thread = thread::Builder::new()
                .name(format!("broker-{number}"))
                .spawn(move || {
                    // Nothing is ever sent: an error says that it is over.
                    runtime.block_on(async { while ended.changed().await.is_ok() {} });
                    runtime.shutdown_background();
                })?;
            threads.push(thread);
        }
        Ok(Self {
            dealer: Dealer {
                handles: handles.into(),
                turn: Arc::default(),
            },
            running: Mutex::new(Some(Running { alive, threads })),
        })
    }

    /// Who deals out the threads.
    pub(crate) fn dealer(&self) -> &Dealer {
        &self.dealer
    }

    /// Ends the threads with everything that runs on them, and waits for that.
    pub(crate) fn stop(&self) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Running { alive, threads }) = running {
            drop(alive);
            for thread in threads {
                // One that panicked has ended too.
                let _ = thread.join();
            }
        }
    }
}

impl Dealer {
    /// The thread whose turn it is.
    pub(crate) fn next(&self) -> &Handle {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.handles[turn % self.handles.len()]
    }
}
