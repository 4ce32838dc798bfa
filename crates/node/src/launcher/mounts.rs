//! Overlays for whoever needs one: the launcher's containers and the builder's trees.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::MountFlags;

use super::{staging, sys, tree};

/// The longest option text `mount` takes: one page with its end.
const OPTIONS_MAX_BYTES: usize = 4000;
/// Where the kernel says what overlays do by default.
const PARAMETERS: &str = "/sys/module/overlay/parameters";
/// What an upper directory must not hold when it is to become a layer: notes that only mean
/// something above these very layers.
const INEXACT: [&str; 2] = ["redirect_dir", "metacopy"];

/// Layers as one tree.
pub(crate) struct Overlay<'a> {
    /// Topmost first.
    pub(crate) lower: &'a [&'a Path],
    /// What takes the changes, and the overlay's own directory beside it; read-only without.
    pub(crate) upper: Option<(&'a Path, &'a Path)>,
    /// Whether the upper directory is to hold whole files and directories only.
    pub(crate) exact: bool,
}

impl Overlay<'_> {
    /// Mounts it.
    pub(crate) fn mount(&self, target: &Path, flags: MountFlags) -> io::Result<()> {
        let lower: Vec<String> = self.lower.iter().map(|layer| escape(layer)).collect();
        let mut options = format!("lowerdir={}", lower.join(":"));
        if let Some((upper, work)) = self.upper {
            // Volatile: what is written dies with its owner or becomes a layer, which is synced
            // by itself.
            let (upper, work) = (escape(upper), escape(work));
            options.push_str(&format!(",upperdir={upper},workdir={work},volatile"));
        }
        for name in self.switched_off() {
            options.push_str(&format!(",{name}=off"));
        }
        if options.len() <= OPTIONS_MAX_BYTES {
            return Ok(staging::mount(
                "overlay", target, "overlay", flags, &options,
            )?);
        }
        let made = self.long()?;
        if flags.contains(MountFlags::NODEV) {
            tree::no_devices(&made, false)?;
        }
        tree::attach_at(&made, CWD, target)
    }

    /// The same through the newer interface, which has no limit on the number of layers.
    fn long(&self) -> rustix::io::Result<OwnedFd> {
        use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
        let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for layer in self.lower {
            rustix::mount::fsconfig_set_string(&context, "lowerdir+", *layer)?;
        }
        if let Some((upper, work)) = self.upper {
            rustix::mount::fsconfig_set_string(&context, "upperdir", upper)?;
            rustix::mount::fsconfig_set_string(&context, "workdir", work)?;
            rustix::mount::fsconfig_set_flag(&context, "volatile")?;
        }
        for name in self.switched_off() {
            rustix::mount::fsconfig_set_string(&context, name, "off")?;
        }
        rustix::mount::fsconfig_create(&context)?;
        rustix::mount::fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )
    }

    /// What this kernel would do and must not.
    fn switched_off(&self) -> impl Iterator<Item = &'static str> {
        let exact = self.exact;
        let is_on = |name: &&str| {
            let text = fs::read_to_string(format!("{PARAMETERS}/{name}"));
            text.is_ok_and(|text| text.starts_with('Y'))
        };
        INEXACT.into_iter().filter(move |name| exact && is_on(name))
    }
}

/// Option text has separators of its own; overlayfs takes them with a backslash.
fn escape(path: &Path) -> String {
    let mut text = String::new();
    for letter in path.to_string_lossy().chars() {
        if matches!(letter, ':' | ',' | '\\') {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

/// Gives the calling thread mounts of its own, the same as before to begin with.
pub(crate) fn own_namespace() -> io::Result<()> {
    sys::unshare(libc::CLONE_FS | libc::CLONE_NEWNS)
}
