//! This program as a container's: its own file, the libraries it has loaded and the machine's
//! certification authorities, mounted read-only into an empty root.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use build::images;
use node::{Mount, Program};

use super::VERB;

/// Where the program is in its container.
const TARGET: &str = "/rekindle";
/// Where machines keep the authorities they trust, the most usual first.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Directories in which a program's interpreter is looked for.
const INTERPRETERS: [&str; 2] = ["/lib64", "/lib"];

/// The program of one of a Build's own steps, if the image is one.
pub(crate) fn program(image: &str) -> Option<Program> {
    let step = image.strip_prefix(images::PREFIX)?;
    let step = step.split([':', '@']).next().unwrap_or_default();
    Some(Program {
        entrypoint: [TARGET, VERB, step].map(str::to_owned).into(),
        env: passed_on(),
        mounts: files().to_vec(),
    })
}

/// The daemon's own words on where things are fetched from.
fn passed_on() -> Vec<String> {
    let value = std::env::var(fetch::STORAGE_VARIABLE).ok();
    let pair = value.map(|value| format!("{}={value}", fetch::STORAGE_VARIABLE));
    pair.into_iter().collect()
}

/// What the program needs; found out once.
fn files() -> &'static [Mount] {
    static FILES: OnceLock<Vec<Mount>> = OnceLock::new();
    FILES.get_or_init(|| {
        let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let mut mounts = libraries(&maps, &program);
        mounts.insert(0, mount(&program, Path::new(TARGET)));
        let authorities = AUTHORITIES
            .iter()
            .map(Path::new)
            .find(|path| path.is_file());
        mounts.extend(authorities.map(|path| mount(path, path)));
        mounts
    })
}

fn mount(source: &Path, target: &Path) -> Mount {
    Mount {
        source: source.to_owned(),
        target: target.to_string_lossy().into_owned(),
        read_only: true,
        ..Mount::default()
    }
}

/// The shared libraries among the files that are mapped, each where it is; the interpreter, which
/// programs name by a path of its own, there as well. A static program has none.
fn libraries(maps: &str, program: &Path) -> Vec<Mount> {
    let mapped = maps.lines().filter_map(|line| {
        let executable = line.split(' ').nth(1)?.contains('x');
        let path = line.get(line.find('/')?..)?;
        executable.then(|| PathBuf::from(path))
    });
    let all: BTreeSet<PathBuf> = mapped.filter(|path| path != program).collect();
    let mut mounts = Vec::new();
    for path in &all {
        let name = path.file_name().unwrap_or_default();
        mounts.push(mount(path, path));
        if name.to_string_lossy().starts_with("ld-") {
            let others = INTERPRETERS.iter().map(|dir| Path::new(dir).join(name));
            mounts.extend(
                others
                    .filter(|other| other != path)
                    .map(|other| mount(path, &other)),
            );
        }
    }
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_found_by_its_image() {
        let entrypoint = |image| program(image).map(|program| program.entrypoint.join(" "));
        let want = Some("/rekindle internal-step git-init".to_owned());
        assert_eq!(entrypoint(images::GIT_INIT), want);
        assert_eq!(entrypoint("rekindle.local/build/git-init:v1"), want);
        assert_eq!(entrypoint("busybox"), None);
    }

    #[test]
    fn libraries_are_mounted_where_they_are() {
        let maps = "55d-55e r-xp 0 fe:00 1 /opt/rekindle\n\
            7f0-7f1 r--p 0 fe:00 2 /usr/lib/libc.so.6\n\
            7f1-7f2 r-xp 0 fe:00 2 /usr/lib/libc.so.6\n\
            7f2-7f3 r-xp 0 fe:00 3 /usr/lib/ld-linux-x86-64.so.2\n\
            7ff-800 r-xp 0 00:00 0 [vdso]\n";
        let mounts = libraries(maps, Path::new("/opt/rekindle"));
        let targets: Vec<_> = mounts.iter().map(|mount| mount.target.as_str()).collect();
        assert_eq!(
            targets,
            [
                "/usr/lib/ld-linux-x86-64.so.2",
                "/lib64/ld-linux-x86-64.so.2",
                "/lib/ld-linux-x86-64.so.2",
                "/usr/lib/libc.so.6",
            ]
        );
    }
}
