//! How much of the disk directories take. Called for Pods whose disk is bounded.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// `st_blocks` counts these, bytes.
const BLOCK_BYTES: u64 = 512;

/// Bytes a directory and everything below it take on the disk; a file with several names counts
/// once. What cannot be read, or goes away meanwhile, counts nothing. Blocks.
pub(crate) fn disk(directory: &Path) -> u64 {
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            // Of the entry itself: links are not followed.
            let Ok(found) = entry.metadata() else {
                continue;
            };
            let known =
                found.nlink() > 1 && !found.is_dir() && !seen.insert((found.dev(), found.ino()));
            if !known {
                bytes += found.blocks() * BLOCK_BYTES;
            }
            if found.is_dir() {
                open.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::disk;
    use std::fs;

    #[test]
    fn files_count_once_and_holes_not_at_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        assert_eq!(disk(&path("missing")), 0);
        fs::create_dir(path("sub")).expect("made");
        let empty = disk(dir.path());
        fs::write(path("sub/a"), vec![1; 1 << 20]).expect("written");
        let one = disk(dir.path());
        assert!((1 << 20..2 << 20).contains(&(one - empty)), "{one}");
        fs::hard_link(path("sub/a"), path("b")).expect("linked");
        std::os::unix::fs::symlink("/", path("c")).expect("linked");
        let hole = fs::File::create(path("d")).expect("made");
        hole.set_len(1 << 30).expect("a hole");
        assert!(disk(dir.path()) - one < 1 << 16);
    }
}
