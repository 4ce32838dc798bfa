//! What callers rely on, one behaviour a test.

use std::future::Future as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use log::disk::{Disk as _, Fault, FileDisk, MemDisk};
use log::{Error, Logs, Next, Options, Position, Retention};

use crate::{append, open, options, read, texts};

#[test]
fn appends_of_many_producers_share_one_sync() {
    let disk = MemDisk::default();
    let logs = open(
        &disk,
        Options {
            segment_bytes: 1 << 20,
            ..options()
        },
    );
    let log = logs.log("events").unwrap();
    append(&logs, &log, 1, &["warm"]).unwrap();
    let before = disk.changes();
    let waiting: Vec<_> = (0..256)
        .map(|n| log.append(2, &[format!("event {n}")]).unwrap())
        .collect();
    logs.run();
    for (n, append) in waiting.into_iter().enumerate() {
        assert_eq!(append.wait().unwrap(), 1 + n as u64);
    }
    assert_eq!(disk.changes() - before, 2, "one write, one sync");
    assert_eq!(texts(&log, 1).len(), 256);
}

#[test]
fn a_batch_has_consecutive_offsets_and_arrivals_never_fall() {
    let disk = MemDisk::default();
    let logs = open(&disk, options());
    let log = logs.log("events").unwrap();
    assert_eq!(append(&logs, &log, 50, &["a", "b"]).unwrap(), 0);
    assert_eq!(append(&logs, &log, 40, &["", "d"]).unwrap(), 2);
    let records = read(&log, 1).unwrap();
    let seen: Vec<_> = records
        .iter()
        .map(|r| (r.offset, r.arrival_ms, &r.payload[..]))
        .collect();
    assert_eq!(seen, [(1, 50, &b"b"[..]), (2, 50, b""), (3, 50, b"d")]);
}

#[test]
fn nothing_is_shown_before_it_is_durable() {
    let disk = MemDisk::default();
    let logs = open(&disk, options());
    let log = logs.log("events").unwrap();
    let waiting = log.append(1, &["event"]).unwrap();
    assert_eq!(read(&log, 0).unwrap(), []);
    logs.run();
    waiting.wait().unwrap();
    assert_eq!(read(&log, 0).unwrap().len(), 1);
}

#[test]
fn a_full_disk_refuses_and_the_log_goes_on_when_there_is_room() {
    let disk = MemDisk::default();
    let logs = open(&disk, options());
    let log = logs.log("events").unwrap();
    append(&logs, &log, 1, &["kept"]).unwrap();
    let large = "x".repeat(200_000);
    disk.set_capacity(Some(100_000));
    let first = log.append(2, &[&large]).unwrap();
    logs.run();
    let error = first.wait().unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(append(&logs, &log, 3, &["small"]).unwrap(), 1);
    disk.set_capacity(None);
    assert_eq!(append(&logs, &log, 4, &[&large]).unwrap(), 2);
    assert_eq!(texts(&log, 0), ["kept", "small", &large]);
}

#[test]
fn after_an_unclear_failure_only_a_reopening_helps() {
    // The operations of an append: write, sync.
    for operation in [0, 1] {
        let disk = MemDisk::default();
        let logs = open(&disk, options());
        let log = logs.log("events").unwrap();
        append(&logs, &log, 1, &["kept"]).unwrap();
        disk.arm(operation, Fault::Error);
        let error = append(&logs, &log, 2, &["doubtful"]).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        let error = append(&logs, &log, 3, &["refused"]).unwrap_err();
        assert!(matches!(error, Error::Failed { .. }), "{error}");
        assert!(!error.is_retryable());
        assert_eq!(texts(&log, 0), ["kept"], "reading goes on");
        log.reopen().unwrap();
        append(&logs, &log, 4, &["after"]).unwrap();
        let crashed = disk.crash(7);
        let logs = open(&crashed, options());
        let found = texts(&logs.log("events").unwrap(), 0);
        assert_eq!(found.first().map(String::as_str), Some("kept"));
        assert_eq!(found.last().map(String::as_str), Some("after"));
    }
}

#[test]
fn limits_are_told() {
    let disk = MemDisk::default();
    let logs = open(
        &disk,
        Options {
            pending_bytes_max: 1_000,
            ..options()
        },
    );
    let log = logs.log("events").unwrap();
    let too_large = vec![0; log::PAYLOAD_BYTES_MAX + 1];
    assert!(matches!(
        log.append(1, &[too_large]),
        Err(Error::TooLarge { .. })
    ));
    let first = log.append(1, &[vec![0; 2_000]]).unwrap();
    let busy = log.append(1, &["x"]).err().expect("refused");
    assert!(busy.is_retryable(), "{busy}");
    logs.run();
    first.wait().unwrap();
    append(&logs, &log, 1, &["x"]).unwrap();
    for name in ["", ".x", "a/b", "lock", "ä"] {
        assert!(
            matches!(logs.log(name), Err(Error::Name { .. })),
            "{name:?}"
        );
    }
}

#[test]
fn a_time_is_found_over_segments() {
    let disk = MemDisk::default();
    let logs = open(
        &disk,
        Options {
            cache_bytes: 0,
            ..options()
        },
    );
    let log = logs.log("events").unwrap();
    for n in 0..200 {
        append(&logs, &log, 1_000 + n * 10, &["an event of some size"]).unwrap();
    }
    assert!(log.stats().unwrap().segments > 3);
    for (time, offset) in [
        (0, 0),
        (1_000, 0),
        (1_001, 1),
        (1_010, 1),
        (2_000, 100),
        (2_985, 199),
        (2_990, 199),
        (3_000, 200),
    ] {
        assert_eq!(log.offset_at(time).unwrap(), offset, "time {time}");
    }
}

#[test]
fn passed_segments_are_dropped_and_their_readers_told() {
    let disk = MemDisk::default();
    let logs = open(
        &disk,
        Options {
            cache_bytes: 0,
            ..options()
        },
    );
    let log = logs.log("events").unwrap();
    for n in 0..200 {
        append(&logs, &log, n, &["an event of some size"]).unwrap();
    }
    log.set_position("slow", Position::at(100)).unwrap();
    log.set_position("quick", Position::at(200)).unwrap();
    let segments = log.stats().unwrap().segments;
    let dropped = log.retain(300, &Retention::default()).unwrap();
    let stats = log.stats().unwrap();
    assert_eq!(stats.segments, segments - dropped);
    assert!(
        dropped > 0 && stats.first > 0 && stats.first <= 100,
        "{stats:?}"
    );
    let Err(Error::Dropped { first, .. }) = log.reader(0).read() else {
        panic!("not told");
    };
    assert_eq!(read(&log, first).unwrap().len() as u64, 200 - first);
    drop((log, logs));
    let logs = open(&disk, options());
    let log = logs.log("events").unwrap();
    assert_eq!(log.stats().unwrap().first, first);
    assert_eq!(log.position("slow").unwrap(), Some(Position::at(100)));
}

#[test]
fn a_large_segment_that_all_have_passed_goes_too() {
    let disk = MemDisk::default();
    let logs = open(
        &disk,
        Options {
            segment_bytes: 8 << 20,
            ..options()
        },
    );
    let log = logs.log("events").unwrap();
    append(
        &logs,
        &log,
        1,
        &["x".repeat(2 << 20)]
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    )
    .unwrap();
    log.set_position("only", Position::at(1)).unwrap();
    assert_eq!(log.retain(2, &Retention::default()).unwrap(), 1);
    assert!(log.stats().unwrap().bytes < 1_000);
    assert_eq!(append(&logs, &log, 3, &["next"]).unwrap(), 1);
    assert_eq!(texts(&log, 1), ["next"]);
}

#[test]
fn positions_come_back_compacted() {
    let disk = MemDisk::default();
    let logs = open(&disk, options());
    let log = logs.log("events").unwrap();
    append(&logs, &log, 1, &["a", "b", "c", "d", "e"]).unwrap();
    let early = Position {
        next: 1,
        done: vec![(2, 3), (4, 5)],
    };
    log.set_position("parallel", early.clone()).unwrap();
    log.set_position("gone", Position::at(3)).unwrap();
    log.remove_position("gone").unwrap();
    for round in 0..3_000 {
        log.set_position("busy", Position::at(round % 5)).unwrap();
        logs.run();
    }
    let file = disk.read(Path::new("/logs/events/positions")).unwrap();
    assert!(file.len() < 80_000, "{} bytes", file.len());
    let ahead = log.set_position("busy", Position::at(6));
    assert!(matches!(
        ahead,
        Err(Error::Ahead {
            next: 6,
            end: 5,
            ..
        })
    ));
    drop((log, logs));
    let log = open(&disk, options()).log("events").unwrap();
    let all = log.positions().unwrap();
    assert_eq!(
        all,
        [
            ("busy".to_owned(), Position::at(4)),
            ("parallel".to_owned(), early)
        ]
    );
    assert_eq!(log.positions_of("bu").unwrap(), all[..1]);
    assert!(log.positions_of("c").unwrap().is_empty());
}

#[test]
fn many_positions_are_one_write() {
    let disk = MemDisk::default();
    let logs = open(&disk, options());
    let log = logs.log("events").unwrap();
    append(&logs, &log, 1, &["a", "b"]).unwrap();
    let set_all = |next| {
        for n in 0..1_000 {
            log.set_position(&format!("trigger-{n}"), Position::at(next))
                .unwrap();
        }
        log.sync_positions().unwrap();
    };
    set_all(1);
    let before = disk.changes();
    set_all(2);
    assert_eq!(disk.changes() - before, 2, "one write, one sync");
}

#[test]
fn a_deleted_log_is_gone_and_its_name_free() {
    let disk = MemDisk::default();
    let logs = open(&disk, options());
    let log = logs.log("events").unwrap();
    append(&logs, &log, 1, &["old"]).unwrap();
    logs.log("other").unwrap().open().unwrap();
    logs.delete("events").unwrap();
    logs.delete("never-made").unwrap();
    assert!(matches!(log.append(1, &["x"]), Err(Error::Deleted { .. })));
    assert!(matches!(log.reader(0).read(), Err(Error::Deleted { .. })));
    assert_eq!(logs.names().unwrap(), ["other"]);
    let again = logs.log("events").unwrap();
    append(&logs, &again, 2, &["new"]).unwrap();
    assert_eq!(texts(&again, 0), ["new"]);
}

#[test]
fn a_log_costs_nothing_before_its_first_use() {
    let disk = MemDisk::default();
    let logs = open(&disk, options());
    let before = disk.changes();
    let all: Vec<_> = (0..5_000)
        .map(|n| logs.log(&format!("channel-{n}")).unwrap())
        .collect();
    assert_eq!((disk.changes(), all.len()), (before, 5_000));
    assert_eq!(logs.names().unwrap(), Vec::<String>::new());
}

#[test]
fn a_reader_says_when_it_would_have_to_wait() {
    let disk = MemDisk::default();
    let logs = open(
        &disk,
        Options {
            cache_bytes: 0,
            ..options()
        },
    );
    let log = logs.log("events").unwrap();
    append(&logs, &log, 1, &["a", "b"]).unwrap();
    let mut reader = log.reader(0);
    assert_eq!(reader.try_next().unwrap(), Next::Disk);
    reader.load().unwrap();
    let Next::Record(record) = reader.try_next().unwrap() else {
        panic!("not loaded");
    };
    assert_eq!((record.offset, reader.offset()), (0, 1));
    assert!(matches!(reader.try_next().unwrap(), Next::Record(_)));
    assert_eq!(reader.try_next().unwrap(), Next::End);
}

#[test]
fn the_end_of_the_log_is_read_from_memory() {
    let disk = MemDisk::default();
    let logs = open(
        &disk,
        Options {
            cache_bytes: 1 << 20,
            ..options()
        },
    );
    let log = logs.log("events").unwrap();
    let mut reader = log.reader(0);
    for n in 0..100 {
        append(&logs, &log, 1, &["event"]).unwrap();
        let next = reader.try_next().unwrap();
        assert!(matches!(next, Next::Record(record) if record.offset == n));
    }
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn futures_are_woken_once_and_leave_nothing_behind() {
    let disk = MemDisk::default();
    let logs = open(&disk, options());
    let log = logs.log("events").unwrap();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(count.clone());
    let mut cx = Context::from_waker(&waker);
    let mut grown = std::pin::pin!(log.grown(0));
    assert!(grown.as_mut().poll(&mut cx).is_pending());
    for _ in 0..10 {
        let mut given_up = std::pin::pin!(log.grown(0));
        assert!(given_up.as_mut().poll(&mut cx).is_pending());
    }
    let mut append = std::pin::pin!(log.append(1, &["event"]).unwrap());
    assert!(append.as_mut().poll(&mut cx).is_pending());
    assert!(append.as_mut().poll(&mut cx).is_pending());
    logs.run();
    assert!(matches!(append.as_mut().poll(&mut cx), Poll::Ready(Ok(0))));
    assert!(matches!(grown.as_mut().poll(&mut cx), Poll::Ready(Ok(1))));
    assert!(count.0.load(Ordering::Relaxed) >= 2);
}

#[test]
fn real_files_keep_everything_and_are_locked() {
    let dir = tempfile::tempdir().unwrap();
    let two_threads = Options {
        threads_max: 2,
        ..options()
    };
    {
        let logs = crate::open_files(dir.path(), &two_threads);
        let second = Logs::open(Arc::new(FileDisk), dir.path(), two_threads.clone());
        assert!(matches!(second, Err(Error::Locked { .. })));
        let log = logs.log("events").unwrap();
        for n in 0..300 {
            log.append(n, &[format!("event {n}")])
                .unwrap()
                .wait()
                .unwrap();
        }
        log.set_position("consumer", Position::at(250)).unwrap();
        log.sync_positions().unwrap();
        assert!(log.retain(1, &Retention::default()).unwrap() > 0);
        logs.log("short-lived").unwrap().open().unwrap();
        logs.delete("short-lived").unwrap();
        logs.close();
    }
    let logs = crate::open_files(dir.path(), &two_threads);
    let log = logs.log("events").unwrap();
    assert_eq!(log.position("consumer").unwrap(), Some(Position::at(250)));
    assert_eq!(texts(&log, 298), ["event 298", "event 299"]);
    assert_eq!(logs.names().unwrap(), ["events"]);
    let left = FileDisk.list(dir.path()).unwrap();
    assert_eq!(left.len(), 2, "{left:?}");
}
