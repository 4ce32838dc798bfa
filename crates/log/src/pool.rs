//! A few threads for all logs: they write and sync what others wait for. Started when there is
//! something to do; a process whose logs are idle has at most these, asleep.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) type Job = Box<dyn FnOnce() + Send>;

pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    threads_max: usize,
}

#[derive(Default)]
struct Queue {
    ready: VecDeque<Job>,
    later: BTreeMap<(Instant, u64), Job>,
    number: u64,
    threads: usize,
    asleep: usize,
    closed: bool,
}

impl Pool {
    /// With `threads_max` 0 the jobs wait for [`Pool::run_all`].
    pub(crate) fn new(threads_max: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                queue: Mutex::default(),
                changed: Condvar::new(),
                threads_max,
            }),
        }
    }

    /// Whether the caller has to run the jobs.
    pub(crate) fn is_manual(&self) -> bool {
        self.shared.threads_max == 0
    }

    /// Whether a job that ends now would keep no other waiting by going on.
    pub(crate) fn is_quiet(&self) -> bool {
        self.shared.lock().ready.is_empty()
    }

    pub(crate) fn run(&self, job: Job) {
        let mut queue = self.shared.lock();
        queue.ready.push_back(job);
        self.wake(queue);
    }

    pub(crate) fn run_after(&self, delay: Duration, job: Job) {
        let mut queue = self.shared.lock();
        queue.number += 1;
        let key = (Instant::now() + delay, queue.number);
        queue.later.insert(key, job);
        self.wake(queue);
    }

    /// Runs everything that waits, in the caller's thread, whenever it is due.
    pub(crate) fn run_all(&self) {
        loop {
            let mut queue = self.shared.lock();
            let job = queue
                .ready
                .pop_front()
                .or_else(|| queue.later.pop_first().map(|(_, job)| job));
            drop(queue);
            match job {
                Some(job) => job(),
                None => return,
            }
        }
    }

    fn wake(&self, mut queue: MutexGuard<'_, Queue>) {
        let waiting = queue.ready.len() + usize::from(!queue.later.is_empty());
        if queue.asleep >= waiting || queue.threads >= self.shared.threads_max {
            self.shared.changed.notify_one();
            return;
        }
        queue.threads += 1;
        drop(queue);
        let shared = self.shared.clone();
        let started = thread::Builder::new()
            .name("log".to_owned())
            .stack_size(256 << 10)
            .spawn(move || shared.work());
        if let Err(error) = started {
            tracing::error!(%error, "could not start a thread for the logs; writing in the caller's");
            self.shared.lock().threads -= 1;
            self.run_all();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.next() {
                drop(queue);
                job();
                queue = self.lock();
                continue;
            }
            if queue.closed {
                queue.threads -= 1;
                return;
            }
            queue = self.sleep(queue);
        }
    }

    fn sleep<'a>(&'a self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        queue.asleep += 1;
        let due = queue.later.first_key_value().map(|((due, _), _)| *due);
        let mut queue = match due {
            None => self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner),
            Some(due) => {
                let delay = due.saturating_duration_since(Instant::now());
                let woken = self.changed.wait_timeout(queue, delay);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        queue.asleep -= 1;
        queue
    }
}

impl Queue {
    fn next(&mut self) -> Option<Job> {
        let due = self.later.first_key_value().map(|((due, _), _)| *due);
        if due.is_some_and(|due| self.closed || due <= Instant::now()) {
            return self.later.pop_first().map(|(_, job)| job);
        }
        self.ready.pop_front()
    }
}
