//! A disk in memory that keeps apart what a program sees and what the medium would still have
//! after a power failure, and that fails on command.
//!
//! Used by the tests of this crate and of those that stand on it. The model is the unfriendliest
//! that the promises of [`Disk`] allow: of what was not synced, any sector may be on the medium
//! and any other not, and names reach it in order but at any time.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stdx::Rng;

use super::{Disk, DiskFile};

/// What the medium writes as a whole, in bytes.
const SECTOR: usize = 512;

/// What goes wrong at the armed operation. Only operations that change something count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops: a write is done in part, every later operation fails until
    /// [`MemDisk::crash`].
    Crash,
    /// An I/O error; a write is done in part, a sync loses what it should have made durable while
    /// it stays visible, as the page cache does.
    Error,
    /// No space is left; a write is done in part.
    Full,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemDisk {
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    name_changes: Vec<NameChange>,
    files: BTreeMap<u64, Content>,
    locks: BTreeMap<PathBuf, std::sync::Weak<()>>,
    armed: Option<(u64, Fault)>,
    /// What the last fault hit.
    hit: Option<&'static str>,
    /// How many more reading operations go well.
    reads_left: Option<u64>,
    capacity: Option<u64>,
    crashed: bool,
    changes: u64,
}

enum NameChange {
    Set(PathBuf, u64),
    Removed(PathBuf),
}

#[derive(Default)]
struct Content {
    visible: Vec<u8>,
    medium: Vec<u8>,
    unsynced: Vec<Change>,
}

enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl MemDisk {
    /// Lets the `n`-th changing operation from now (0 is the next) go wrong.
    pub fn arm(&self, n: u64, fault: Fault) {
        let mut world = self.world();
        world.armed = Some((world.changes + n, fault));
    }

    /// Lets the `n`-th reading operation from now (0 is the next), that is a look at a directory, the
    /// opening of a file that is there, or a read, fail with an I/O error, and those after it go well.
    pub fn arm_read(&self, n: u64) {
        self.world().reads_left = Some(n);
    }

    /// Takes back what [`MemDisk::arm`] set.
    pub fn disarm(&self) {
        self.world().armed = None;
    }

    /// Takes back what [`MemDisk::arm_read`] set.
    pub fn disarm_reads(&self) {
        self.world().reads_left = None;
    }

    /// The operation that the last fault hit, in the words of [`Disk`] and [`DiskFile`].
    #[must_use]
    pub fn hit(&self) -> Option<&'static str> {
        self.world().hit
    }

    /// Limits the sum of all files' bytes.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.world().capacity = bytes;
    }

    /// How many operations have changed something.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.world().changes
    }

    /// The disk as the medium has it after a power failure: what was synced, and of the rest
    /// whatever `seed` draws. The old disk stays stopped.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut world = self.world();
        let mut rng = Rng::new(seed);
        world.crashed = true;
        let kept = rng.below(world.name_changes.len() as u64 + 1) as usize;
        let changes: Vec<NameChange> = world.name_changes.drain(..kept).collect();
        let mut names = world.durable_names.clone();
        for change in changes {
            change.apply(&mut names);
        }
        let files = names
            .values()
            .filter_map(|id| Some((*id, world.files.get(id)?.survivors(&mut rng))))
            .collect();
        Self {
            world: Arc::new(Mutex::new(World {
                durable_names: names.clone(),
                names,
                files,
                capacity: world.capacity,
                ..World::default()
            })),
        }
    }

    /// Lets a stopped machine's files be used again as the program left them: the process was
    /// killed, the machine was not.
    pub fn restart(&self) {
        self.world().crashed = false;
    }

    /// The bytes of a file as a program sees them.
    #[must_use]
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.world();
        let id = world.names.get(path)?;
        Some(world.files.get(id)?.visible.clone())
    }

    /// Replaces a file's bytes, on the medium too: damage, or a file from elsewhere.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut world = self.world();
        let id = world.id_of(path);
        world.durable_names.insert(path.to_owned(), id);
        let content = Content {
            medium: bytes.clone(),
            visible: bytes,
            unsynced: Vec::new(),
        };
        world.files.insert(id, content);
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    fn id_of(&mut self, path: &Path) -> u64 {
        if let Some(id) = self.names.get(path) {
            return *id;
        }
        let id = self.files.last_key_value().map_or(0, |(id, _)| id + 1);
        self.names.insert(path.to_owned(), id);
        self.files.insert(id, Content::default());
        id
    }

    fn alive(&self) -> io::Result<()> {
        if self.crashed {
            return Err(io::Error::other("the machine has stopped"));
        }
        Ok(())
    }

    /// Fails when this reading operation is to.
    fn reading(&mut self, operation: &'static str) -> io::Result<()> {
        self.alive()?;
        match self.reads_left {
            Some(0) => {
                self.reads_left = None;
                self.hit = Some(operation);
                Err(Fault::Error.error())
            }
            left => {
                self.reads_left = left.map(|left| left - 1);
                Ok(())
            }
        }
    }

    /// Counts a change; the fault that is due.
    fn change(&mut self, operation: &'static str) -> io::Result<Option<Fault>> {
        self.alive()?;
        let due = self.armed.filter(|(at, _)| *at == self.changes);
        self.changes += 1;
        Ok(due.map(|(_, fault)| {
            self.armed = None;
            self.hit = Some(operation);
            self.crashed = fault == Fault::Crash;
            fault
        }))
    }

    /// A change that happens as a whole or, at a fault, not at all.
    fn whole_change(&mut self, operation: &'static str) -> io::Result<()> {
        self.change(operation)?
            .map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }

    fn room(&self, more: u64) -> io::Result<()> {
        let used: u64 = self
            .names
            .values()
            .filter_map(|id| self.files.get(id))
            .map(|content| content.visible.len() as u64)
            .sum();
        match self.capacity {
            Some(capacity) if used + more > capacity => Err(Fault::Full.error()),
            _ => Ok(()),
        }
    }
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::Crash => io::Error::other("the machine has stopped"),
            Self::Error => io::Error::other("injected I/O error"),
            Self::Full => io::ErrorKind::StorageFull.into(),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Set(path, id) => names.insert(path.clone(), *id),
            Self::Removed(path) => names.remove(path),
        };
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], at: u64) {
        put(&mut self.visible, bytes, at as usize);
        self.unsynced.push(Change::Write(at, bytes.to_vec()));
    }

    fn set_len(&mut self, len: u64) {
        self.visible.resize(len as usize, 0);
        self.unsynced.push(Change::Length(len));
    }

    /// Puts on the medium what was not synced, and only that: what an earlier sync lost stays lost.
    fn settle(&mut self) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::Write(at, bytes) => put(&mut self.medium, &bytes, at as usize),
                Change::Length(len) => self.medium.resize(len as usize, 0),
            }
        }
    }

    fn survivors(&self, rng: &mut Rng) -> Self {
        let mut medium = self.medium.clone();
        for change in &self.unsynced {
            match change {
                Change::Length(len) if rng.below(2) == 0 => medium.resize(*len as usize, 0),
                Change::Length(_) => {}
                Change::Write(at, bytes) => survive_write(&mut medium, *at as usize, bytes, rng),
            }
        }
        Self {
            visible: medium.clone(),
            medium,
            unsynced: Vec::new(),
        }
    }
}

/// All of a write, nothing of it, a part from its start, or each sector by itself.
fn survive_write(medium: &mut Vec<u8>, at: usize, bytes: &[u8], rng: &mut Rng) {
    match rng.below(4) {
        0 => {}
        1 => put(medium, bytes, at),
        2 => {
            let part = rng.below(bytes.len() as u64 + 1) as usize;
            put(medium, &bytes[..part], at);
        }
        _ => {
            let mut from = 0;
            while from < bytes.len() {
                let to = ((at + from) / SECTOR * SECTOR + SECTOR - at).min(bytes.len());
                if rng.below(2) == 0 {
                    put(medium, &bytes[from..to], at + from);
                }
                from = to;
            }
        }
    }
}

fn put(target: &mut Vec<u8>, bytes: &[u8], at: usize) {
    if target.len() < at + bytes.len() {
        target.resize(at + bytes.len(), 0);
    }
    target[at..at + bytes.len()].copy_from_slice(bytes);
}

impl Disk for MemDisk {
    fn make_dir(&self, _: &Path) -> io::Result<()> {
        self.world().alive()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut world = self.world();
        world.reading("list")?;
        let mut names: Vec<String> = world
            .names
            .keys()
            .filter_map(|path| path.strip_prefix(dir).ok()?.iter().next())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.dedup();
        Ok(names)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        world.alive()?;
        let known = world.names.get(path).copied();
        let id = match known {
            Some(id) => {
                world.reading("open")?;
                id
            }
            None if create => {
                world.whole_change("open")?;
                let id = world.id_of(path);
                world.rename(NameChange::Set(path.to_owned(), id));
                id
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let disk = self.clone();
        Ok(Arc::new(MemFile { disk, id }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.whole_change("rename")?;
        let moved: Vec<(PathBuf, u64)> = world
            .names
            .iter()
            .filter(|(path, _)| path.starts_with(from))
            .map(|(path, id)| (path.clone(), *id))
            .collect();
        if moved.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        for (path, id) in moved {
            let rest = path.strip_prefix(from).unwrap_or(&path);
            let target = if rest.as_os_str().is_empty() {
                to.to_owned()
            } else {
                to.join(rest)
            };
            world.rename(NameChange::Removed(path.clone()));
            world.rename(NameChange::Set(target, id));
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        if !world.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.whole_change("remove_file")?;
        world.rename(NameChange::Removed(path.to_owned()));
        Ok(())
    }

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        self.world().alive()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.whole_change("sync_dir")?;
        world.name_changes.clear();
        world.durable_names = world.names.clone();
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut world = self.world();
        world.alive()?;
        if world.locks.get(path).is_some_and(|l| l.strong_count() > 0) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let lock = Arc::new(());
        world.locks.insert(path.to_owned(), Arc::downgrade(&lock));
        Ok(Box::new(lock))
    }
}

struct MemFile {
    disk: MemDisk,
    id: u64,
}

impl MemFile {
    fn with<R>(&self, act: impl FnOnce(&mut World, u64) -> io::Result<R>) -> io::Result<R> {
        let mut world = self.disk.world();
        world.alive()?;
        act(&mut world, self.id)
    }
}

impl DiskFile for MemFile {
    fn size(&self) -> io::Result<u64> {
        self.with(|world, id| {
            world.reading("size")?;
            Ok(world.files.entry(id).or_default().visible.len() as u64)
        })
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.with(|world, id| {
            world.reading("read_at")?;
            let visible = &world.files.entry(id).or_default().visible;
            let rest = visible.get(at as usize..).unwrap_or_default();
            let n = rest.len().min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        })
    }

    fn write_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.with(|world, id| {
            let fault = world.change("write_at")?;
            let len = world.files.entry(id).or_default().visible.len() as u64;
            world.room((at + bytes.len() as u64).saturating_sub(len))?;
            let content = world.files.entry(id).or_default();
            match fault {
                None => content.write(&bytes, at),
                Some(fault) => {
                    content.write(&bytes[..bytes.len() / 2], at);
                    return Err(fault.error());
                }
            }
            Ok(())
        })
    }

    fn reserve(&self, _: u64, to: u64) -> io::Result<()> {
        self.with(|world, id| {
            world.whole_change("reserve")?;
            let len = world.files.entry(id).or_default().visible.len() as u64;
            if to > len {
                world.room(to - len)?;
                world.files.entry(id).or_default().set_len(to);
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|world, id| {
            world.whole_change("set_len")?;
            world.files.entry(id).or_default().set_len(len);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|world, id| {
            let fault = world.change("sync")?;
            let content = world.files.entry(id).or_default();
            match fault {
                // The machine stops in the middle: what was to be synced is as uncertain as before.
                Some(Fault::Crash) => Err(Fault::Crash.error()),
                Some(fault) => {
                    content.unsynced.clear();
                    Err(fault.error())
                }
                None => {
                    content.settle();
                    Ok(())
                }
            }
        })
    }
}
