//! Damage by data: what is cut off silently, and what stops the opening with its place.

use std::path::PathBuf;

use log::disk::MemDisk;
use log::{Error, Options};

use crate::{append, open, options, texts};

const HEAD: usize = 40;
/// A record here: 28 bytes of head, 12 of payload.
const RECORD: usize = 40;

fn path(base: u64) -> PathBuf {
    PathBuf::from(format!("/logs/events/{base:020}.segment"))
}

/// Three commits of two records each, in one segment.
fn six_records() -> MemDisk {
    let disk = MemDisk::default();
    let logs = open(&disk, roomy());
    let log = logs.log("events").unwrap();
    for n in [0, 2, 4] {
        let texts = [format!("record{n:06}"), format!("record{:06}", n + 1)];
        append(&logs, &log, 1, &[&texts[0], &texts[1]]).unwrap();
    }
    logs.close();
    disk
}

fn roomy() -> Options {
    Options {
        segment_bytes: 1 << 20,
        ..options()
    }
}

/// Applies `damage` to the file and expects so many records to be there, and that the log goes on.
fn check(name: &str, damage: impl FnOnce(&mut Vec<u8>), want: u64) {
    let disk = six_records();
    let mut bytes = disk.read(&path(0)).unwrap();
    assert_eq!(bytes.len(), HEAD + 6 * RECORD);
    damage(&mut bytes);
    disk.put(&path(0), bytes);
    for round in 0..2 {
        let logs = open(&disk, roomy());
        let log = logs.log("events").unwrap();
        assert_eq!(log.stats().unwrap().end, want + round, "{name}");
        assert_eq!(append(&logs, &log, 1, &["after"]).unwrap(), want + round);
        let found = texts(&log, 0);
        assert_eq!(found.len() as u64, want + round + 1, "{name}");
        assert!(
            found[..want as usize]
                .iter()
                .all(|t| t.starts_with("record"))
        );
        assert!(found[want as usize..].iter().all(|t| t == "after"));
    }
}

#[test]
fn a_torn_end_is_cut_off() {
    for cut in 1..RECORD {
        check("cut", |file| file.truncate(file.len() - cut), 5);
    }
    check(
        "cut at a record",
        |file| file.truncate(HEAD + 4 * RECORD),
        4,
    );
    check("nothing but the head", |file| file.truncate(HEAD), 0);
    check("part of the head", |file| file.truncate(HEAD - 1), 0);
    check("an empty file", Vec::clear, 0);
    check("zeroes behind", |file| file.extend([0; 5_000]), 6);
    check("noise behind", |file| file.extend([0xa5; 5_000]), 6);
    check("an absurd length", |file| file.extend([0xff; 28]), 6);
    check(
        "the last record flipped",
        |file| file[HEAD + 6 * RECORD - 1] ^= 1,
        5,
    );
}

#[test]
fn a_torn_commit_is_cut_at_its_first_gap() {
    // Both records of the last commit are in doubt: the second alone proves nothing.
    check(
        "the fifth flipped",
        |file| file[HEAD + 4 * RECORD + 30] ^= 1,
        4,
    );
    check(
        "the fifth zeroed",
        |file| file[HEAD + 4 * RECORD..][..RECORD].fill(0),
        4,
    );
}

#[test]
fn an_old_record_behind_the_end_is_not_taken_for_the_next() {
    check(
        "a copy of the third",
        |file| file.extend_from_within(HEAD + 2 * RECORD..HEAD + 3 * RECORD),
        6,
    );
}

#[test]
fn damage_of_what_was_synced_is_told_not_cut_off() {
    for record in 0..4 {
        let disk = six_records();
        let mut bytes = disk.read(&path(0)).unwrap();
        bytes[HEAD + record * RECORD + 30] ^= 1;
        disk.put(&path(0), bytes.clone());
        let logs = open(&disk, roomy());
        let error = logs.log("events").unwrap().open().unwrap_err();
        let Error::Corrupt { position, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(position as usize, HEAD + record * RECORD);
        assert_eq!(disk.read(&path(0)).unwrap(), bytes, "nothing was changed");
    }
}

/// Fifty records over several segments, closed.
fn segments() -> (MemDisk, Vec<u64>) {
    let disk = MemDisk::default();
    let logs = open(&disk, options());
    let log = logs.log("events").unwrap();
    let mut bases = vec![0];
    for n in 0..200_u64 {
        let before = log.stats().unwrap().segments;
        append(&logs, &log, n, &[&format!("record{n:06}")]).unwrap();
        if log.stats().unwrap().segments > before {
            bases.push(n);
        }
    }
    logs.close();
    assert!(bases.len() > 3);
    (disk, bases)
}

#[test]
fn a_sealed_segment_without_its_foot_is_scanned_and_sealed_again() {
    let (disk, bases) = segments();
    for cut in [1, 64, 65, 80] {
        let mut bytes = disk.read(&path(bases[1])).unwrap();
        bytes.truncate(bytes.len() - cut);
        disk.put(&path(bases[1]), bytes);
        let logs = open(&disk, options());
        assert_eq!(texts(&logs.log("events").unwrap(), 0).len(), 200);
    }
    let sealed = disk.read(&path(bases[1])).unwrap();
    assert_eq!(&sealed[sealed.len() - 64..][..8], b"RKSEALED");
}

#[test]
fn a_damaged_index_is_made_again_from_the_records() {
    let (disk, bases) = segments();
    let mut bytes = disk.read(&path(bases[1])).unwrap();
    let index = bytes.len() - 64 - 24;
    bytes[index] ^= 1;
    disk.put(&path(bases[1]), bytes);
    let logs = open(&disk, options());
    assert_eq!(texts(&logs.log("events").unwrap(), 0).len(), 200);
}

#[test]
fn a_damaged_record_of_a_sealed_segment_stops_its_reader_only() {
    let (disk, bases) = segments();
    let mut bytes = disk.read(&path(bases[1])).unwrap();
    bytes[HEAD + 30] ^= 1;
    disk.put(&path(bases[1]), bytes);
    let logs = open(&disk, options());
    let log = logs.log("events").unwrap();
    let error = crate::read(&log, 0).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert_eq!(texts(&log, bases[2]).len() as u64, 200 - bases[2]);
}

#[test]
fn a_missing_segment_is_told() {
    let (disk, bases) = segments();
    log::disk::Disk::remove_file(&disk, &path(bases[1])).unwrap();
    // The foot of the first says where the next must begin; without it a scan would.
    let logs = open(&disk, options());
    let error = logs.log("events").unwrap().open().unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[test]
fn another_format_is_refused_with_its_number() {
    let disk = six_records();
    let mut bytes = disk.read(&path(0)).unwrap();
    bytes[8] = 9;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..12]);
    crc.update(&bytes[16..HEAD]);
    bytes[12..16].copy_from_slice(&crc.finalize().to_le_bytes());
    disk.put(&path(0), bytes);
    let error = open(&disk, roomy()).log("events").unwrap().open();
    assert!(matches!(error, Err(Error::Format { found: 9, .. })));
}

#[test]
fn torn_positions_lose_only_the_newest() {
    let disk = six_records();
    let positions = PathBuf::from("/logs/events/positions");
    {
        let logs = open(&disk, roomy());
        let log = logs.log("events").unwrap();
        log.set_position("a", log::Position::at(2)).unwrap();
        log.sync_positions().unwrap();
        log.set_position("a", log::Position::at(4)).unwrap();
        log.sync_positions().unwrap();
    }
    let whole = disk.read(&positions).unwrap();
    for (cut, want) in [
        (0, Some(4)),
        (1, Some(2)),
        (20, Some(2)),
        (whole.len() - 17, None),
    ] {
        disk.put(&positions, whole[..whole.len() - cut].to_vec());
        let logs = open(&disk, roomy());
        let found = logs.log("events").unwrap().position("a").unwrap();
        assert_eq!(found.map(|p| p.next), want, "{cut} bytes cut");
    }
}
