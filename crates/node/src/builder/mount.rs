//! What `RUN --mount` shows to a program: caches that outlive builds, copies of files, memory, secrets
//! and agents the build was given. None of it becomes part of the image.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dockerfile::{Ignore, MountKind, Run, RunMount};

use super::context::Source;
use super::copy::{Look, Sink};
use super::tree::with_views;
use super::walk::{Walk, blocking, text};
use crate::launcher::Mount;

/// Permissions of a directory that is kept for later builds.
const CACHE_MODE: u32 = 0o755;
/// Permissions of a secret.
const SECRET_MODE: u32 = 0o400;
/// Where programs look for an agent.
const AGENT_VARIABLE: &str = "SSH_AUTH_SOCK";

/// What a program is shown.
#[derive(Default)]
pub(super) struct Shown {
    /// In the order of their depth.
    pub(super) mounts: Vec<Mount>,
    /// `NAME=value`, of secrets and agents.
    pub(super) env: Vec<String>,
    /// Where it can write besides its own files.
    pub(super) writable: Vec<PathBuf>,
}

impl Walk {
    /// What the mounts of a `RUN` stand for on this machine.
    pub(super) async fn shown(&mut self, run: &Run) -> Result<Shown, String> {
        let mut shown = Shown::default();
        for mount in &run.mounts {
            let source = match mount.kind {
                MountKind::Cache => {
                    let name = crate::image::Digest::of(mount.id.as_bytes());
                    let path = self.store().cache_mount(&name);
                    if !path.exists() {
                        self.new_cache(mount, &path).await?;
                    }
                    Some(path)
                }
                MountKind::Tmpfs => Some(self.scratch.dir().map_err(text)?),
                // What is written goes with the copy.
                MountKind::Bind => Some(self.bound(mount).await?),
                MountKind::Secret => self.secret(mount, &mut shown.env)?,
                MountKind::Ssh => self.agent(mount, &mut shown.env)?,
            };
            let Some(source) = source else { continue };
            let given = matches!(mount.kind, MountKind::Secret | MountKind::Ssh);
            if !given && !mount.read_only {
                shown.writable.push(source.clone());
            }
            shown.mounts.push(Mount {
                source,
                sub_path: String::new(),
                target: mount.target.clone(),
                read_only: mount.read_only || mount.kind == MountKind::Secret,
            });
        }
        let depth = |mount: &Mount| mount.target.matches('/').count();
        shown.mounts.sort_by_key(depth);
        Ok(shown)
    }

    /// A secret as a file of its own, in its variable, or both.
    fn secret(&self, mount: &RunMount, env: &mut Vec<String>) -> Result<Option<PathBuf>, String> {
        let Some(bytes) = self.request.secrets.get(&mount.id) else {
            return absent(mount, "secret", "--secret id=ID,src=PATH");
        };
        if !mount.env.is_empty() {
            let value = std::str::from_utf8(bytes)
                .map_err(|_| format!("secret {}: a variable cannot hold it", mount.id))?;
            env.push(format!("{}={value}", mount.env));
        }
        if mount.target.is_empty() {
            return Ok(None);
        }
        let path = self.scratch.dir().map_err(text)?.join("secret");
        std::fs::write(&path, bytes).map_err(text)?;
        let (uid, gid) = mount.owner;
        std::os::unix::fs::chown(&path, Some(uid), Some(gid)).map_err(text)?;
        let mode = std::fs::Permissions::from_mode(mount.mode.unwrap_or(SECRET_MODE));
        std::fs::set_permissions(&path, mode).map_err(text)?;
        Ok(Some(path))
    }

    /// The socket of an agent; the first one is the program's.
    fn agent(&self, mount: &RunMount, env: &mut Vec<String>) -> Result<Option<PathBuf>, String> {
        let Some(path) = self.request.agents.get(&mount.id) else {
            return absent(mount, "ssh agent", "--ssh ID=SOCKET");
        };
        let named = format!("{AGENT_VARIABLE}=");
        if !env.iter().any(|pair| pair.starts_with(&named)) {
            env.push(format!("{named}{}", mount.target));
        }
        Ok(Some(path.clone()))
    }

    /// Makes the directory of a cache, with what it begins with.
    async fn new_cache(&mut self, mount: &RunMount, path: &Path) -> Result<(), String> {
        let begin = match mount.from.is_empty() {
            true => self.scratch.dir().map_err(text)?,
            false => self.bound(mount).await?,
        };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(text)?;
        }
        let mode = std::fs::Permissions::from_mode(mount.mode.unwrap_or(CACHE_MODE));
        std::fs::set_permissions(&begin, mode).map_err(text)?;
        let (uid, gid) = mount.owner;
        std::os::unix::fs::chown(&begin, Some(uid), Some(gid)).map_err(text)?;
        match std::fs::rename(&begin, path) {
            // Another build was first.
            Err(_) if path.exists() => Ok(()),
            made => made.map_err(text),
        }
    }

    /// A copy of what a bind mount shows: the program sees what the cache was asked for.
    async fn bound(&mut self, mount: &RunMount) -> Result<PathBuf, String> {
        let dirs = match mount.from.is_empty() {
            true => None,
            false => {
                let layers = self.layers_of(&from(&mount.from)).await?;
                Some(self.store().directories(&layers))
            }
        };
        let (context, scratch) = (self.context()?, Arc::clone(&self.scratch));
        let room = self.room();
        let path = match mount.source.is_empty() {
            true => ".".to_owned(),
            false => mount.source.clone(),
        };
        let copied = blocking(move || {
            let target = scratch.dir().map_err(text)?;
            with_views(&scratch, |views| {
                let source = match &dirs {
                    None => context,
                    Some(dirs) => Source::new(views.read(dirs).map_err(text)?, Ignore::default()),
                };
                let root = views.write(&[], &target).map_err(text)?;
                let look = Look {
                    keeps_owner: dirs.is_some(),
                    room: Some(room),
                    ..Look::default()
                };
                let mut sink = Sink::new(root, look);
                let found = source.select(&path).map_err(text)?;
                let [found] = found.as_slice() else {
                    return Err(format!("{path:?}: not found"));
                };
                let dest = if found.is_dir { "/" } else { "/file" };
                let copied = sink.copy(&source, found, &Ignore::default(), dest);
                copied.map_err(text)?;
                let bytes = sink.finish().map_err(text)?;
                let path = match found.is_dir {
                    true => target.clone(),
                    false => target.join("file"),
                };
                Ok((path, bytes))
            })
        });
        let (path, bytes) = copied.await?;
        self.take(bytes)?;
        Ok(path)
    }
}

/// `from` of a mount: a stage by its number, or an image.
pub(super) fn from(name: &str) -> dockerfile::Source {
    match name.parse() {
        Ok(number) => dockerfile::Source::Stage(number),
        Err(_) => dockerfile::Source::Image(name.to_owned()),
    }
}

/// What a mount comes to that the build was given nothing for.
fn absent(mount: &RunMount, what: &str, flag: &str) -> Result<Option<PathBuf>, String> {
    match mount.required {
        true => Err(format!(
            "{what} {}: not found; the build is given it by {flag}",
            mount.id
        )),
        false => Ok(None),
    }
}

/// Takes away what was only made to be mounted on, up to the first directory that means something.
pub(super) fn forget_mount_point(upper: &Path, lower: &[PathBuf], target: &str) {
    let mut path = super::context::relative(Path::new(target));
    while !path.as_os_str().is_empty() {
        let known = lower
            .iter()
            .any(|layer| layer.join(&path).symlink_metadata().is_ok());
        let made = upper.join(&path);
        let is_empty_file = made
            .symlink_metadata()
            .is_ok_and(|one| one.is_file() && one.len() == 0);
        let gone = !known
            && match is_empty_file {
                true => std::fs::remove_file(&made).is_ok(),
                false => std::fs::remove_dir(&made).is_ok(),
            };
        if !gone || !path.pop() {
            return;
        }
    }
}
