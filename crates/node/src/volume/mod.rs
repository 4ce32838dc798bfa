//! A Pod's volumes: made before its containers start, refreshed while they run, removed after.
//! `payload` says what is in the volumes that have content, `atomic` puts it there in one step.

mod atomic;
mod payload;
pub(crate) mod usage;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, HostPathVolumeSource, Pod, Volume};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::agent::fields::Facts;
use crate::agent::quantity;
use crate::cluster::{Cluster, Source};

/// A volume in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Where it is on the machine.
    pub(crate) path: PathBuf,
    /// Whether containers may only read it.
    pub(crate) read_only: bool,
}

/// The volumes of one Pod by name.
pub(crate) type Volumes = BTreeMap<String, Placed>;

/// Making a volume failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// What the volume refers to is not there or not usable.
    #[error("MountVolume.SetUp failed for volume {name:?} : {message}")]
    Content { name: String, message: String },
    /// The machine refused.
    #[error("MountVolume.SetUp failed for volume {name:?} : cannot {step}: {source}")]
    Machine {
        name: String,
        step: &'static str,
        source: io::Error,
    },
}

/// Where and for whom volumes are made.
pub(crate) struct Maker<'a> {
    pub(crate) data_dir: &'a Path,
    pub(crate) pod: &'a Pod,
    pub(crate) facts: &'a Facts,
    pub(crate) cluster: &'a dyn Cluster,
}

/// The directory of a Pod's volumes.
pub(crate) fn pod_volumes(data_dir: &Path, uid: &str) -> PathBuf {
    data_dir.join("pods").join(uid).join("volumes")
}

impl Maker<'_> {
    fn fs_group(&self) -> Option<u32> {
        let context = self.pod.spec.as_ref()?.security_context.as_ref()?;
        u32::try_from(context.fs_group?).ok()
    }

    fn dir(&self, name: &str) -> PathBuf {
        let uid = self.pod.metadata.uid.as_deref().unwrap_or_default();
        pod_volumes(self.data_dir, uid).join(name)
    }

    fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.pod
            .spec
            .iter()
            .flat_map(|spec| spec.volumes.iter().flatten())
    }

    /// Makes all volumes; those that are there already are brought up to date.
    pub(crate) async fn make(&self) -> Result<Volumes, Error> {
        let mut placed = Volumes::new();
        for volume in self.volumes() {
            placed.insert(volume.name.clone(), self.place(volume).await?);
        }
        Ok(placed)
    }

    /// Writes the volumes anew whose content comes from `source`; all with content when none is
    /// named. Gives the time until tokens want to be renewed, if there are any.
    pub(crate) async fn refresh(&self, source: Option<&Source>) -> Result<(), Error> {
        for volume in self.volumes() {
            if source.is_none_or(|source| self.shows(volume, source)) {
                self.fill(volume).await?;
            }
        }
        Ok(())
    }

    /// Whether any of the volumes shows something of `source`.
    pub(crate) fn draws_on(&self, source: &Source) -> bool {
        self.volumes().any(|volume| self.shows(volume, source))
    }

    fn shows(&self, volume: &Volume, source: &Source) -> bool {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        payload::draws_on(volume, namespace, source)
    }

    /// How long until the first of the Pod's tokens wants to be renewed: four fifths of its life.
    pub(crate) fn renew_in(&self) -> Option<Duration> {
        let shortest = self.volumes().filter_map(payload::token_lifetime_s).min()?;
        Some(Duration::from_secs(shortest) * 4 / 5)
    }

    async fn place(&self, volume: &Volume) -> Result<Placed, Error> {
        let name = &volume.name;
        if self.fill(volume).await? {
            return Ok(Placed {
                path: self.dir(name),
                read_only: true,
            });
        }
        let machine = |step| {
            move |source| Error::Machine {
                name: name.clone(),
                step,
                source,
            }
        };
        if let Some(wanted) = &volume.empty_dir {
            let path = self.dir(name);
            self.empty_dir(&path, wanted)
                .map_err(machine("make the directory"))?;
            return Ok(Placed {
                path,
                read_only: false,
            });
        }
        if let Some(wanted) = &volume.host_path {
            let path = PathBuf::from(&wanted.path);
            host_path(&path, wanted).map_err(|message| Error::Content {
                name: name.clone(),
                message,
            })?;
            return Ok(Placed {
                path,
                read_only: false,
            });
        }
        if let Some(claim) = &volume.persistent_volume_claim {
            let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
            let path = self
                .data_dir
                .join("volumes")
                .join(namespace)
                .join(&claim.claim_name);
            self.directory(&path)
                .map_err(machine("make the claim's directory"))?;
            return Ok(Placed {
                path,
                read_only: claim.read_only == Some(true),
            });
        }
        let message = "this kind of volume is not supported; there are emptyDir, configMap, \
                       secret, projected, downwardAPI, hostPath and persistentVolumeClaim"
            .to_owned();
        Err(Error::Content {
            name: name.clone(),
            message,
        })
    }

    /// Fills a volume that has content; false for other kinds.
    async fn fill(&self, volume: &Volume) -> Result<bool, Error> {
        let name = &volume.name;
        let files = payload::of(self, volume)
            .await
            .map_err(|message| Error::Content {
                name: name.clone(),
                message,
            })?;
        let Some(files) = files else { return Ok(false) };
        atomic::write(&self.dir(name), &files, self.fs_group()).map_err(|source| {
            Error::Machine {
                name: name.clone(),
                step: "write the files",
                source,
            }
        })?;
        Ok(true)
    }

    fn directory(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(path)?;
        let mut mode = 0o777;
        if let Some(group) = self.fs_group() {
            std::os::unix::fs::chown(path, None, Some(group))?;
            mode |= 0o2000;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }

    fn empty_dir(&self, path: &Path, wanted: &EmptyDirVolumeSource) -> io::Result<()> {
        let fresh = !path.is_dir();
        self.directory(path)?;
        if fresh && wanted.medium.as_deref() == Some("Memory") {
            let limit = wanted
                .size_limit
                .as_ref()
                .and_then(|limit| quantity::whole(&limit.0));
            let mut options = "mode=0777".to_owned();
            if let Some(bytes) = limit.filter(|bytes| *bytes > 0) {
                options.push_str(&format!(",size={bytes}"));
            }
            let options = std::ffi::CString::new(options)?;
            let flags = MountFlags::NOSUID | MountFlags::NODEV;
            rustix::mount::mount("tmpfs", path, "tmpfs", flags, options.as_c_str())?;
            if let Some(group) = self.fs_group() {
                std::os::unix::fs::chown(path, None, Some(group))?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o2777))?;
            }
        }
        Ok(())
    }
}

/// Checks a path of the machine against the type the Pod says, making it where the type asks.
fn host_path(path: &Path, wanted: &HostPathVolumeSource) -> Result<(), String> {
    use std::os::unix::fs::FileTypeExt;
    let shown = path.display();
    let kind = wanted.type_.as_deref().unwrap_or_default();
    let failed = |error: io::Error| format!("cannot make {shown}: {error}");
    match kind {
        "DirectoryOrCreate" if !path.exists() => fs::create_dir_all(path).map_err(failed)?,
        "FileOrCreate" if !path.exists() => {
            fs::File::create(path).map_err(failed)?;
        }
        _ => {}
    }
    let found = fs::metadata(path).map(|meta| meta.file_type());
    let right = match (&found, kind) {
        (Ok(_), "") => true,
        (Ok(found), "Directory" | "DirectoryOrCreate") => found.is_dir(),
        (Ok(found), "File" | "FileOrCreate") => found.is_file(),
        (Ok(found), "Socket") => found.is_socket(),
        (Ok(found), "CharDevice") => found.is_char_device(),
        (Ok(found), "BlockDevice") => found.is_block_device(),
        _ => false,
    };
    match (right, found) {
        (true, _) => Ok(()),
        (false, Err(error)) => Err(format!("hostPath type check failed: {shown}: {error}")),
        (false, Ok(_)) => Err(format!(
            "hostPath type check failed: {shown} is not a {kind}"
        )),
    }
}

/// Removes everything a Pod had on the machine's disk but its logs.
pub(crate) fn remove(data_dir: &Path, uid: &str) {
    remove_content(data_dir, uid);
    let _ = fs::remove_dir_all(data_dir.join("pods").join(uid));
}

/// Removes the volumes of a Pod that has ended; claims and the machine's own directories are
/// elsewhere.
pub(crate) fn remove_content(data_dir: &Path, uid: &str) {
    let volumes = pod_volumes(data_dir, uid);
    for entry in fs::read_dir(&volumes).into_iter().flatten().flatten() {
        // Fails for everything that is no tmpfs of ours, as it should.
        let _ = rustix::mount::unmount(entry.path(), UnmountFlags::DETACH);
    }
    let _ = fs::remove_dir_all(volumes);
}
