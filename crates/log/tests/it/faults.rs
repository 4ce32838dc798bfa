//! One course of events, in which an I/O error or a full disk hits each operation in turn: nothing
//! acknowledged is lost, the writer hears of the error, and after one that leaves the disk's
//! content unknown the log takes nothing more until it was reopened.

use std::collections::{BTreeMap, BTreeSet};

use log::disk::{Fault, MemDisk};
use log::{Error, Log, Logs, Position, Retention};

use crate::{append, open, options, texts};

/// Appends of one run, which fill several segments.
const APPENDS: u64 = 24;

/// What is known of a run.
#[derive(Default)]
struct Run {
    acknowledged: BTreeMap<u64, String>,
    /// What writers were told.
    errors: Vec<Error>,
}

impl Run {
    /// Everything but the openings may be hit.
    fn go(&mut self, logs: &Logs, log: &Log) {
        for n in 0..APPENDS {
            self.append(logs, log, n);
            if n % 4 == 3 {
                let known = self.acknowledged.keys().next_back().copied();
                let position = Position::at(known.unwrap_or_default() / 2);
                log.set_position("consumer", position).expect("in memory");
                let _ = log.sync_positions();
            }
            if n % 8 == 7 {
                let _ = log.retain(n, &Retention::default());
            }
        }
    }

    fn append(&mut self, logs: &Logs, log: &Log, n: u64) {
        let text = format!("{n:>300}");
        let error = match append(logs, log, n, &[&text]) {
            Ok(offset) => {
                let before = self.acknowledged.insert(offset, text);
                assert_eq!(before, None, "an offset was given twice");
                return;
            }
            Err(error) => error,
        };
        if matches!(error, Error::Full { .. }) {
            assert_eq!(log.stats().expect("it is open").failed, None);
        } else {
            self.refuses_until_reopened(logs, log);
        }
        self.errors.push(error);
    }

    fn refuses_until_reopened(&mut self, logs: &Logs, log: &Log) {
        assert!(log.stats().expect("it is open").failed.is_some());
        for _ in 0..3 {
            let refused = append(logs, log, 0, &["more"]);
            assert!(matches!(refused, Err(Error::Failed { .. })), "{refused:?}");
        }
        self.holds_all(log, "while it refuses");
        log.reopen().expect("the disk is well again");
        self.holds_all(log, "reopened");
        // What was not acknowledged may be there, and is for good then.
        let first = log.stats().expect("it is open").first;
        for (offset, text) in (first..).zip(texts(log, first)) {
            self.acknowledged.insert(offset, text);
        }
    }

    fn holds_all(&self, log: &Log, when: &str) {
        let first = log.stats().expect("it is open").first;
        let found: BTreeMap<u64, String> = (first..).zip(texts(log, first)).collect();
        for (offset, text) in self.acknowledged.range(first..) {
            assert_eq!(found.get(offset), Some(text), "record {offset}, {when}");
        }
    }
}

/// Runs with the `n`-th changing operation hit by `fault`; answers which that was, if there are so
/// many.
fn run(n: u64, fault: Fault) -> Option<&'static str> {
    let disk = MemDisk::default();
    let logs = open(&disk, options());
    let log = logs.log("events").expect("a good name");
    log.open().expect("nothing is armed yet");
    disk.arm(n, fault);
    let mut run = Run::default();
    run.go(&logs, &log);
    let hit = disk.hit();
    assert!(run.errors.len() <= 1, "{hit:?}: {:?}", run.errors);
    run.holds_all(&log, "at the end");
    for seed in 0..3 {
        let disk = disk.crash(seed);
        let logs = open(&disk, options());
        let log = logs.log("events").expect("a good name");
        run.holds_all(&log, "after a power failure");
        append(&logs, &log, APPENDS, &["one more"]).expect("it goes on");
    }
    hit
}

#[test]
fn an_error_at_any_operation_loses_nothing_acknowledged() {
    for fault in [Fault::Error, Fault::Full] {
        let hit: BTreeSet<_> = (0..).map_while(|n| run(n, fault)).collect();
        let all = [
            "open",
            "remove_file",
            "rename",
            "reserve",
            "set_len",
            "sync",
            "sync_dir",
            "write_at",
        ];
        assert_eq!(
            hit,
            BTreeSet::from(all),
            "the course of events meets every operation"
        );
    }
}

/// The kernel forgets what a failed sync could not write, and reports success the next time: only
/// what is read back from the disk and synced anew may be believed.
#[test]
fn what_a_failed_sync_lost_is_never_acknowledged_by_a_later_one() {
    let disk = MemDisk::default();
    let logs = open(&disk, options());
    let log = logs.log("events").expect("a good name");
    append(&logs, &log, 0, &["kept"]).expect("the disk is well");
    let mut n = 0;
    while disk.hit() != Some("sync") {
        disk.arm(n, Fault::Error);
        let lost = append(&logs, &log, 0, &["lost"]);
        n += 1;
        match lost {
            Ok(_) => disk.disarm(),
            Err(error) => assert!(matches!(error, Error::Io { .. }), "{error}"),
        }
        if disk.hit() != Some("sync") {
            log.reopen().expect("the disk is well again");
        }
    }
    let refused = append(&logs, &log, 0, &["refused"]);
    assert!(matches!(refused, Err(Error::Failed { .. })), "{refused:?}");
    log.reopen().expect("the disk is well again");
    // Whatever it holds now, it holds for good.
    let held = texts(&log, 0);
    assert_eq!(held[0], "kept");
    assert!(!held.contains(&"refused".to_owned()), "{held:?}");
    for seed in 0..8 {
        let disk = disk.crash(seed);
        let log = open(&disk, options()).log("events").expect("a good name");
        assert_eq!(texts(&log, 0), held, "seed {seed}");
    }
}
