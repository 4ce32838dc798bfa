//! What a `COPY` or `ADD` names, put into a tree: files of the context, of a stage or an image, what was
//! fetched, repositories, here-documents.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use dockerfile::{Copy, Ignore, Origin, Repository};

use super::context::{Found, Source, relative};
use super::copy::{Look, Sink};
use super::fetch::Fetched;
use super::owner;
use super::room::Room;
use super::walk::text;

/// Permissions of what `ADD` fetches and of here-documents.
const FETCHED_MODE: u32 = 0o600;
const INLINE_MODE: u32 = 0o644;
/// What git keeps in a work tree.
const GIT_DIR: &str = ".git";

/// What had to be brought before the step, in the order of its origins.
pub(super) enum Brought {
    /// A file of an address.
    File(Fetched),
    /// The work tree of a repository.
    Tree(PathBuf),
}

/// Puts everything into `root`, where there is room.
pub(super) fn place(
    copy: &Copy,
    brought: Vec<Brought>,
    source: &Source,
    root: OwnedFd,
    room: Room,
) -> Result<(), String> {
    let owner = copy.chown.as_ref();
    let look = Look {
        owner: owner
            .map(|chown| owner::numbers(&root, chown))
            .transpose()?,
        keeps_owner: copy.from != dockerfile::Source::Context,
        mode: copy.chmod.clone(),
        mtime: None,
        room: Some(room),
    };
    let more = Ignore::of(copy.excludes.iter().map(String::as_str));
    let mut sink = Sink::new(root, look);
    let mut brought = brought.into_iter();
    for origin in &copy.origins {
        match origin {
            Origin::Path(path) => files(copy, path, source, &more, &mut sink)?,
            Origin::Url(address) => {
                let Some(Brought::File(mut one)) = brought.next() else {
                    return Err(format!("{address} was not fetched"));
                };
                if copy.unpacks_fetched && sink.unpack(&mut one.file, &copy.dest).map_err(text)? {
                    continue;
                }
                if one.name.is_empty() && copy.dest.ends_with('/') {
                    return Err(format!("{address} has no file name: name the file to make"));
                }
                let meta = (FETCHED_MODE, one.mtime);
                let put = sink.put(&one.name, &mut one.file, meta, &copy.dest);
                put.map_err(text)?;
            }
            Origin::Git(repository) => {
                let Some(Brought::Tree(tree)) = brought.next() else {
                    return Err(format!("{} was not fetched", repository.url));
                };
                work_tree(repository, &tree, &more, &copy.dest, &mut sink)?;
            }
            Origin::Inline { name, text: body } => {
                let put = sink.put(name, body.as_bytes(), (INLINE_MODE, 0), &copy.dest);
                put.map_err(text)?;
            }
        }
    }
    sink.finish().map(drop).map_err(text)
}

/// What a path or pattern means in the source.
fn files(
    copy: &Copy,
    path: &str,
    source: &Source,
    more: &Ignore,
    sink: &mut Sink,
) -> Result<(), String> {
    let found = source.select(path).map_err(text)?;
    if found.is_empty() {
        return Err(format!("{path:?}: not found"));
    }
    if copy.parents {
        for one in &found {
            let dest = below(&copy.dest, path, one);
            sink.copy(source, one, more, &dest).map_err(text)?;
        }
        return Ok(());
    }
    let is_one = found.len() == 1 || copy.dest.ends_with('/');
    if !is_one && !sink.is_dir(copy.dest.as_ref()) {
        return Err(format!(
            "{path:?} means several files, so the destination must be a directory and end with a /"
        ));
    }
    for one in &found {
        if copy.unpacks && !one.is_dir && unpack(sink, source, one, &copy.dest)? {
            continue;
        }
        sink.copy(source, one, more, &copy.dest).map_err(text)?;
    }
    Ok(())
}

/// Where something goes with `--parents`: below the target with the directories above it that are
/// behind `/./` in the words of the Dockerfile, or with all of them.
fn below(dest: &str, written: &str, found: &Found) -> String {
    let pivot = written.find("/./").map_or("", |at| &written[..at]);
    let skipped = relative(Path::new(pivot)).components().count();
    let kept: PathBuf = found.path.components().skip(skipped).collect();
    let directory = match found.is_dir {
        true => kept.as_path(),
        false => kept.parent().unwrap_or_else(|| Path::new("")),
    };
    format!("{}/{}/", dest.trim_end_matches('/'), directory.display())
}

/// What is in a repository, into a directory. Its files have no times of their own.
fn work_tree(
    repository: &Repository,
    tree: &Path,
    more: &Ignore,
    dest: &str,
    sink: &mut Sink,
) -> Result<(), String> {
    if !repository.keeps_git_dir {
        std::fs::remove_dir_all(tree.join(GIT_DIR)).map_err(text)?;
    }
    let root = File::open(tree).map_err(text)?;
    let source = Source::new(root.into(), Ignore::default());
    let wanted = match repository.directory.as_str() {
        "" => ".",
        directory => directory,
    };
    let found = source.select(wanted).map_err(text)?;
    let Some(found) = found.first().filter(|found| found.is_dir) else {
        let url = &repository.url;
        return Err(format!("{wanted:?} is no directory of {url}"));
    };
    sink.timeless(true);
    let copied = sink.copy(&source, found, more, dest);
    sink.timeless(false);
    copied.map_err(text)
}

fn unpack(sink: &mut Sink, source: &Source, found: &Found, dest: &str) -> Result<bool, String> {
    let mut file = None;
    let looked = source.visit(found, &Ignore::default(), &mut |item| {
        if item.kind().is_file() {
            file = Some(item.open()?);
        }
        Ok(())
    });
    looked.map_err(text)?;
    match &mut file {
        Some(file) => sink.unpack(file, dest).map_err(text),
        None => Ok(false),
    }
}

/// Whether what was fetched is what the Dockerfile wants.
pub(super) fn check_sum(copy: &Copy, found: &str) -> Result<(), String> {
    match &copy.checksum {
        Some(wanted) if wanted != found => {
            Err(format!("digest mismatch: {found}, expected {wanted}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_along() {
        for (written, path, is_dir, expected) in [
            ("./x/a.txt", "x/a.txt", false, "/d/x/"),
            ("x/./y/*.txt", "x/y/a.txt", false, "/d/y/"),
            ("x/y/./*.txt", "x/y/a.txt", false, "/d//"),
            ("x/./y", "x/y", true, "/d/y/"),
        ] {
            let found = Found {
                path: PathBuf::from(path),
                is_dir,
            };
            assert_eq!(below("/d/", written, &found), expected, "{written}");
        }
    }
}
