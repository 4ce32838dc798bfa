//! Directories that released formats left behind must open, and what is written today must be what
//! format 1 is: the committed bytes are the format.

use std::fs;
use std::path::{Path, PathBuf};

use log::{Log, Logs, Options, Position};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1")
}

fn open(root: &Path) -> Logs {
    let options = Options {
        segment_bytes: 600,
        ..Options::default()
    };
    crate::open_files(root, &options)
}

fn event(n: u64) -> String {
    format!("event number {n} of the fixture")
}

/// Writes what the fixture holds: sealed segments, one being written, a consumer that is behind
/// and one that delivered in parallel.
fn write(log: &Log) {
    for n in (0..40).step_by(2) {
        let pair = [event(n), event(n + 1)];
        let append = log.append(1_700_000_000_000 + n, &pair).unwrap();
        append.wait().unwrap();
    }
    log.set_position("behind", Position::at(3)).unwrap();
    let done = vec![(12, 13), (15, 20)];
    log.set_position("parallel", Position { next: 10, done })
        .unwrap();
    log.sync_positions().unwrap();
}

fn check(log: &Log) {
    let records = crate::read(log, 0).unwrap();
    assert_eq!(records.len(), 40);
    for (n, record) in (0..).zip(&records) {
        assert_eq!(record.offset, n);
        assert_eq!(record.arrival_ms, 1_700_000_000_000 + n / 2 * 2);
        assert_eq!(record.payload, event(n));
    }
    assert!(log.stats().unwrap().segments > 2);
    assert_eq!(log.offset_at(1_700_000_000_020).unwrap(), 20);
    assert_eq!(log.position("behind").unwrap(), Some(Position::at(3)));
    let parallel = log.position("parallel").unwrap().unwrap();
    assert!(parallel.is_done(12) && !parallel.is_done(13) && parallel.is_done(19));
}

#[test]
fn a_directory_of_format_1_opens() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("events")).unwrap();
    for entry in fs::read_dir(fixture()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(
            entry.path(),
            dir.path().join("events").join(entry.file_name()),
        )
        .unwrap();
    }
    let log = open(dir.path()).log("events").unwrap();
    check(&log);
    let append = log.append(1_800_000_000_000, &["one more"]).unwrap();
    assert_eq!(append.wait().unwrap(), 40);
}

/// `LOG_WRITE_FIXTURE=1` writes the committed directory anew: only for a format that was never
/// released.
#[test]
fn today_writes_the_bytes_of_format_1() {
    let dir = tempfile::tempdir().unwrap();
    {
        let logs = open(dir.path());
        let log = logs.log("events").unwrap();
        write(&log);
        check(&log);
        logs.close();
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(dir.path().join("events")).unwrap() {
        let entry = entry.unwrap();
        let committed = fixture().join(entry.file_name());
        if std::env::var_os("LOG_WRITE_FIXTURE").is_some() {
            fs::create_dir_all(fixture()).unwrap();
            fs::copy(entry.path(), &committed).unwrap();
        }
        let same = fs::read(entry.path()).unwrap() == fs::read(&committed).unwrap();
        assert!(same, "{} differs", committed.display());
        names.push(entry.file_name());
    }
    assert_eq!(names.len(), fs::read_dir(fixture()).unwrap().count());
}
