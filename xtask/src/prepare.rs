//! What the build and the system tests need beside the Rust toolchain: installed from Debian's packages when
//! run as root on a machine that has apt, otherwise named.

use anyhow::{Result, bail};

use crate::sh;

/// Program → Debian package that brings it.
const NEEDS: &[(&str, &str)] = &[
    ("cc", "gcc"),
    ("make", "make"),
    ("kubectl", "kubernetes-client"),
    ("ip", "iproute2"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("git", "git"),
    ("bzip2", "bzip2"),
    ("xz", "xz-utils"),
    ("/usr/sbin/sshd", "openssh-server"),
    ("docker-registry", "docker-registry"),
    ("htpasswd", "apache2-utils"),
    ("debootstrap", "debootstrap"),
    ("script", "bsdutils"),
    ("python3", "python3"),
    ("pip3", "python3-pip"),
    ("node", "nodejs"),
    ("npm", "npm"),
    (
        "/usr/lib/python3/dist-packages/kubernetes/__init__.py",
        "python3-kubernetes",
    ),
];

/// Makes sure every program of [`NEEDS`] is there.
pub(crate) fn run() -> Result<()> {
    let missing: Vec<&str> = NEEDS
        .iter()
        .filter(|(program, _)| !sh::has(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !sh::has("apt-get") || !is_root() {
        bail!(
            "the system tests need these packages, please install them: {}",
            missing.join(" ")
        );
    }
    sh::run("apt-get", &["update", "-qq"])?;
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
    args.extend(missing);
    sh::run(
        "env",
        &[
            &["DEBIAN_FRONTEND=noninteractive", "apt-get"],
            args.as_slice(),
        ]
        .concat(),
    )
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self")
        .is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}
