//! How much of the disk a build may still take. Everything that makes files asks: programs that run,
//! what is fetched, copied and unpacked, and what becomes a layer.

use std::path::PathBuf;

use crate::volume::usage;

/// A bound and what has been taken of it, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// What the build may take.
    pub(super) max: u64,
    /// What it has taken before.
    pub(super) used: u64,
}

impl Room {
    /// What it may still take.
    pub(super) const fn left(self) -> u64 {
        self.max.saturating_sub(self.used)
    }

    /// Whether there is room for so many bytes.
    ///
    /// # Errors
    /// There is not: a sentence that names the bound.
    pub(super) fn check(self, bytes: u64) -> Result<(), String> {
        match bytes > self.left() {
            true => Err(self.exceeded()),
            false => Ok(()),
        }
    }

    /// What to say when there is not enough.
    pub(super) fn exceeded(self) -> String {
        let max = self.max;
        format!("the build has made more than {max} bytes of files")
    }
}

/// Directories of a program that runs, measured again and again.
pub(super) struct Meter {
    room: Room,
    places: Vec<PathBuf>,
    /// What was in them before.
    before: u64,
}

impl Meter {
    /// Measures for the first time. Blocks.
    pub(super) fn begin(room: Room, places: Vec<PathBuf>) -> Self {
        let before = taken(&places);
        Self {
            room,
            places,
            before,
        }
    }

    /// What there is now that was not there before, `more` measured as well. Blocks.
    pub(super) fn check(&self, more: Option<PathBuf>) -> Result<(), String> {
        let own = more.map_or(0, |place| usage::disk(&place));
        let bytes = own + taken(&self.places).saturating_sub(self.before);
        self.room.check(bytes)
    }
}

fn taken(places: &[PathBuf]) -> u64 {
    places.iter().map(|place| usage::disk(place)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let (cache, own) = (dir.path().join("cache"), dir.path().join("own"));
        for place in [&cache, &own] {
            std::fs::create_dir(place).expect("made");
        }
        std::fs::write(cache.join("old"), vec![1; 2 << 20]).expect("written");
        let room = Room {
            max: 3 << 20,
            used: 1 << 20,
        };
        let meter = Meter::begin(room, vec![cache.clone()]);
        assert_eq!(meter.check(None), Ok(()));
        std::fs::write(cache.join("new"), vec![1; 1 << 20]).expect("written");
        assert_eq!(meter.check(Some(own.clone())), Ok(()));
        std::fs::write(own.join("a"), vec![1; 2 << 20]).expect("written");
        let error = "the build has made more than 3145728 bytes of files";
        assert_eq!(meter.check(Some(own)), Err(error.to_owned()));
    }
}
