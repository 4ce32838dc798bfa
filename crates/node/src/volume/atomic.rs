//! Writing a volume's files so that a reader sees all of the old or all of the new: a directory
//! per version, a link `..data` to the present one, and a link per name through it (the layout
//! of Kubernetes' atomic writer, which programs that watch ConfigMaps know).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use super::payload::{File, Files};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes `dir` hold exactly `files`. Does nothing when it does already.
pub(super) fn write(dir: &Path, files: &Files, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    let present = fs::read_link(dir.join(DATA)).ok();
    if present.is_some() && is_same(&dir.join(DATA), files) {
        return Ok(());
    }
    let time = jiff::Timestamp::now().as_nanosecond();
    let version = format!("..{time}");
    for (path, file) in files {
        write_file(&dir.join(&version).join(path), file, group)?;
    }
    if files.is_empty() {
        fs::create_dir(dir.join(&version))?;
    }
    let _ = fs::remove_file(dir.join(DATA_NEW));
    symlink(&version, dir.join(DATA_NEW))?;
    fs::rename(dir.join(DATA_NEW), dir.join(DATA))?;
    link_names(dir, files)?;
    if let Some(old) = present {
        let _ = fs::remove_dir_all(dir.join(old));
    }
    Ok(())
}

fn is_same(data: &Path, files: &Files) -> bool {
    let same = |(path, file): (&String, &File)| {
        fs::read(data.join(path)).is_ok_and(|bytes| bytes == file.bytes)
    };
    files.iter().all(same) && count(data) == files.len()
}

fn count(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            if entry.path().is_dir() {
                count(&entry.path())
            } else {
                1
            }
        })
        .sum()
}

fn write_file(path: &Path, file: &File, group: Option<u32>) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(path, &file.bytes)?;
    let mut mode = file.mode;
    if let Some(group) = group {
        chown(path, None, Some(group))?;
        mode |= (mode & 0o400) >> 3;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// A link for the first part of every path; links to what is gone are removed.
fn link_names(dir: &Path, files: &Files) -> io::Result<()> {
    let names: BTreeSet<&str> = files
        .keys()
        .map(|path| path.split('/').next().unwrap_or(path))
        .collect();
    for name in &names {
        if fs::symlink_metadata(dir.join(name)).is_err() {
            symlink(Path::new(DATA).join(name), dir.join(name))?;
        }
    }
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if !name.starts_with("..") && !names.contains(name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        let file = |text: &str| File {
            bytes: text.as_bytes().to_vec(),
            mode: 0o600,
        };
        list.iter()
            .map(|(path, text)| ((*path).to_owned(), file(text)))
            .collect()
    }

    fn check(dir: &Path, want: &[(&str, &str)]) {
        for (path, text) in want {
            assert_eq!(fs::read_to_string(dir.join(path)).expect(path), *text);
        }
        let visible = fs::read_dir(dir).expect("list").flatten();
        let visible =
            visible.filter(|entry| !entry.file_name().to_string_lossy().starts_with(".."));
        assert_eq!(visible.count(), want.len());
        assert_eq!(fs::read_dir(dir).expect("list").count(), want.len() + 2);
    }

    #[test]
    fn versions_replace_each_other() {
        let temp = tempfile::tempdir().expect("temp dir");
        let dir = temp.path().join("volume");
        for version in [
            &[("a", "1"), ("b", "2")][..],
            &[("b", "3"), ("d/e", "4")],
            &[("b", "3")],
        ] {
            write(&dir, &files(version), None).expect("write");
            check(&dir, version);
        }
        let data = fs::read_link(dir.join(DATA)).expect("link");
        write(&dir, &files(&[("b", "3")]), None).expect("write");
        assert_eq!(
            fs::read_link(dir.join(DATA)).expect("link"),
            data,
            "nothing has changed"
        );
    }
}
