//! Random operations on a log and on a plain list of what it acknowledged, with crashes, torn
//! writes, I/O errors of reads too, and full disks at any operation: what was acknowledged is there in order,
//! what is there was submitted, no consumer's position is ahead of it.

use std::collections::{BTreeMap, BTreeSet};

use log::disk::{Fault, MemDisk};
use log::{Log, Logs, Options, Position, Record, Retention, Stats};
use proptest::prelude::*;

use crate::{open, options, read};

const CONSUMERS: [&str; 3] = ["first", "second", "third"];

#[derive(Clone, Debug)]
enum Op {
    /// Appends of so many payloads of these sizes each, then one commit for all of them.
    Append(Vec<Vec<usize>>),
    /// A consumer's position, as a part of what is there, in 1/255.
    Position(usize, u8),
    RemovePosition(usize),
    SyncPositions,
    Retain,
    Close,
    Reopen,
    /// `kill -9`: the files stay as they were seen.
    Kill,
    /// The power fails.
    Crash(u64),
    Arm(u64, Fault),
    /// Everything is read, then the log reopened, and the n-th read in that fails.
    ReadError(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let sizes = prop::collection::vec(prop_oneof![8 => 0..80_usize, 1 => 400..3_000_usize], 1..6);
    let fault = prop_oneof![
        3 => Just(Fault::Crash),
        2 => Just(Fault::Error),
        2 => Just(Fault::Full)
    ];
    prop_oneof![
        8 => prop::collection::vec(sizes, 1..5).prop_map(Op::Append),
        4 => (0..CONSUMERS.len(), any::<u8>()).prop_map(|(n, part)| Op::Position(n, part)),
        1 => (0..CONSUMERS.len()).prop_map(Op::RemovePosition),
        1 => Just(Op::SyncPositions),
        2 => Just(Op::Retain),
        1 => Just(Op::Close),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
        2 => any::<u64>().prop_map(Op::Crash),
        3 => (0..12_u64, fault).prop_map(|(n, fault)| Op::Arm(n, fault)),
        2 => (0..40_u64).prop_map(Op::ReadError),
    ]
}

/// The log under test and what it must hold.
struct Subject {
    disk: MemDisk,
    open: Option<(Logs, Log)>,
    options: Options,
    /// By offset. What was dropped stays in it: until the directory is synced it may come back.
    acknowledged: BTreeMap<u64, Vec<u8>>,
    /// What was submitted for an offset and not acknowledged.
    submitted: BTreeSet<(u64, Vec<u8>)>,
    /// For each consumer the positions it may come back with; `None` is none.
    positions: BTreeMap<&'static str, Vec<Option<Position>>>,
    number: u64,
    /// A fault was armed since the last recovery: operations may fail.
    may_fail: bool,
}

impl Subject {
    fn new(cache_bytes: usize) -> Self {
        let mut subject = Self {
            disk: MemDisk::default(),
            open: None,
            options: Options {
                cache_bytes,
                ..options()
            },
            acknowledged: BTreeMap::new(),
            submitted: BTreeSet::new(),
            positions: CONSUMERS.map(|name| (name, vec![None])).into(),
            number: 0,
            may_fail: false,
        };
        subject.recover();
        subject
    }

    fn log(&self) -> &Log {
        &self.open.as_ref().expect("open between operations").1
    }

    fn end(&self) -> u64 {
        self.log().stats().expect("it is open").end
    }

    /// Opens the log after whatever happened and takes over what survived.
    fn recover(&mut self) {
        self.open = None;
        self.disk.disarm();
        self.may_fail = false;
        let logs = open(&self.disk, self.options.clone());
        let log = logs.log("events").expect("a good name");
        log.open().expect("a log opens after any crash");
        self.open = Some((logs, log));
        self.adopt();
    }

    fn adopt(&mut self) {
        let stats = self.log().stats().expect("it is open");
        for record in read(self.log(), stats.first).expect("what was recovered is readable") {
            let survivor = (record.offset, record.payload.to_vec());
            if self.submitted.contains(&survivor) && !self.acknowledged.contains_key(&survivor.0) {
                self.acknowledged.insert(survivor.0, survivor.1);
            }
        }
        self.submitted.clear();
        for (name, candidates) in &mut self.positions {
            let (_, log) = self.open.as_ref().expect("just opened");
            let found = log.position(name).expect("positions are readable");
            let Some(age) = candidates.iter().rposition(|c| *c == found) else {
                panic!("{name} came back with {found:?}, expected one of {candidates:?}");
            };
            // Older ones may still be what the medium has.
            candidates.truncate(age + 1);
        }
        self.check();
    }

    /// The log holds exactly what it acknowledged, or took over, in order.
    fn check(&self) {
        let stats = self.log().stats().expect("it is open");
        let found = read(self.log(), stats.first).expect("everything is readable");
        self.check_records(&stats, &found);
        for candidates in self.positions.values() {
            let now = candidates.last().expect("one at least");
            assert!(now.as_ref().is_none_or(|p| p.next <= stats.end));
        }
    }

    fn check_records(&self, stats: &Stats, found: &[Record]) {
        let expected: Vec<(u64, &[u8])> = self
            .acknowledged
            .range(stats.first..)
            .map(|(offset, payload)| (*offset, payload.as_slice()))
            .collect();
        let got: Vec<(u64, &[u8])> = found.iter().map(|r| (r.offset, &r.payload[..])).collect();
        let is_same = got == expected;
        let offsets =
            |all: &[(u64, &[u8])]| all.iter().map(|(n, p)| (*n, p.len())).collect::<Vec<_>>();
        assert!(
            is_same,
            "holds {:?}, acknowledged {:?}",
            offsets(&got),
            offsets(&expected)
        );
        assert!(found.is_sorted_by_key(|record| record.arrival_ms));
    }

    /// What cannot be read is an error, and never less than there was.
    fn read_error(&mut self, n: u64) {
        let stats = self.log().stats().expect("it is open");
        self.disk.arm_read(n);
        if let Ok(found) = read(self.log(), stats.first) {
            self.check_records(&stats, &found);
        }
        let _ = self.log().reopen();
        self.disk.disarm_reads();
        self.reopened();
    }

    fn append(&mut self, batches: &[Vec<usize>]) {
        let (logs, log) = self.open.clone().expect("open between operations");
        let mut waiting = Vec::new();
        for sizes in batches {
            let payloads: Vec<Vec<u8>> = sizes.iter().map(|size| self.payload(*size)).collect();
            let Ok(append) = log.append(self.number, &payloads) else {
                assert!(self.may_fail, "only after a failure");
                continue;
            };
            for (n, payload) in payloads.iter().enumerate() {
                let offset = append.first_offset() + n as u64;
                self.submitted.insert((offset, payload.clone()));
            }
            waiting.push((append, payloads));
        }
        logs.run();
        for (append, payloads) in waiting {
            match append.wait() {
                Err(_) => assert!(self.may_fail, "only after a failure"),
                Ok(first) => {
                    for (n, payload) in payloads.into_iter().enumerate() {
                        let before = self.acknowledged.insert(first + n as u64, payload);
                        assert_eq!(before, None, "an offset was given twice");
                    }
                }
            }
        }
    }

    fn payload(&mut self, size: usize) -> Vec<u8> {
        self.number += 1;
        let mut payload = self.number.to_le_bytes().to_vec();
        payload.resize(8 + size, self.number as u8);
        payload
    }

    fn set_position(&mut self, name: &'static str, part: u8) {
        let end = self.end();
        let next = end * u64::from(part) / 255;
        let mut position = Position::at(next);
        if next + 2 < end {
            position.done.push((next + 1, next + 2));
        }
        if self.log().set_position(name, position.clone()).is_ok() {
            self.candidates(name).push(Some(position));
        }
    }

    fn candidates(&mut self, name: &'static str) -> &mut Vec<Option<Position>> {
        self.positions.entry(name).or_default()
    }

    fn settle_positions(&mut self) {
        for candidates in self.positions.values_mut() {
            candidates.drain(..candidates.len() - 1);
        }
    }

    fn retain(&mut self) {
        let first_before = self.log().stats().expect("it is open").first;
        let all = self.log().positions().expect("it is open");
        let needed = all.iter().map(|(_, p)| p.next).min();
        let needed = needed.unwrap_or_else(|| self.end());
        match self.log().retain(self.number, &Retention::default()) {
            Ok(_) => self.settle_positions(),
            Err(_) => assert!(self.may_fail, "only after a failure"),
        }
        let first = self.log().stats().expect("it is open").first;
        assert!(
            first == first_before || first <= needed,
            "dropped what was needed"
        );
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Append(batches) => self.append(batches),
            Op::Position(n, part) => self.set_position(CONSUMERS[*n], *part),
            Op::RemovePosition(n) => {
                if self.log().remove_position(CONSUMERS[*n]).is_ok() {
                    self.candidates(CONSUMERS[*n]).push(None);
                }
            }
            Op::SyncPositions => match self.log().sync_positions() {
                Ok(()) => self.settle_positions(),
                Err(_) => assert!(self.may_fail, "only after a failure"),
            },
            Op::Retain => self.retain(),
            Op::Close => {
                self.open.as_ref().expect("open").0.close();
                self.reopened();
            }
            Op::Reopen => {
                let _ = self.log().reopen();
                self.reopened();
            }
            Op::Kill => {
                self.open = None;
                self.disk.restart();
                self.recover();
            }
            Op::Crash(seed) => self.crash(*seed),
            Op::Arm(n, fault) => {
                self.may_fail = true;
                self.disk.arm(*n, *fault);
            }
            Op::ReadError(n) => self.read_error(*n),
        }
    }

    fn crash(&mut self, seed: u64) {
        self.open = None;
        self.disk = self.disk.crash(seed);
        self.recover();
        self.settle_positions();
    }

    /// After a close the next use opens; a fault may hit it, and then the one after.
    fn reopened(&mut self) {
        if self.log().open().is_err() {
            assert!(self.may_fail, "only after a failure");
        }
        if self.log().open().is_ok() {
            self.adopt();
        }
    }

    /// An armed fault may have stopped the machine, or made an opening fail.
    fn mend(&mut self, seed: u64) {
        if self.log().stats().is_err() || self.disk.list_fails() {
            self.crash(seed);
        }
    }
}

trait ListFails {
    fn list_fails(&self) -> bool;
}

impl ListFails for MemDisk {
    fn list_fails(&self) -> bool {
        log::disk::Disk::list(self, std::path::Path::new("/")).is_err()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn the_log_holds_what_it_acknowledged(
        ops in prop::collection::vec(op(), 1..60),
        cache_bytes in prop_oneof![Just(0_usize), Just(4_000), Just(1 << 20)],
        seed in any::<u64>(),
    ) {
        let mut subject = Subject::new(cache_bytes);
        for (n, op) in ops.iter().enumerate() {
            subject.apply(op);
            subject.mend(seed.wrapping_add(n as u64));
            subject.check();
        }
        subject.crash(seed);
    }
}

/// `LOG_MODEL_CASES` for a long run by hand.
fn cases() -> u32 {
    let given = std::env::var("LOG_MODEL_CASES").ok();
    given.and_then(|n| n.parse().ok()).unwrap_or(400)
}
