//! The submodules of a work tree: each is a repository fetched at the commit the tree names.

use gix::Repository;

use crate::Say;
use crate::error::{Error, shown};
use crate::git::{self, Source};

/// Submodules within submodules; deeper ones are a cycle or a mistake.
const DEPTH_MAX: usize = 8;

/// Fetches all submodules of `repo`, which was checked out from `source`.
pub(crate) fn fetch_all(
    repo: &Repository,
    source: &Source,
    depth: usize,
    say: Say<'_>,
) -> Result<(), Error> {
    let failed = || Error::git("read the submodules of", &source.url);
    let Some(submodules) = repo.submodules().map_err(failed())? else {
        return Ok(());
    };
    for submodule in submodules {
        // What .gitmodules names and the tree does not have is not there.
        let Some(commit) = submodule.index_id().map_err(failed())? else {
            continue;
        };
        if depth >= DEPTH_MAX {
            let why = format!("submodules are nested more than {DEPTH_MAX} deep");
            let location = shown(&source.url);
            return Err(Error::Location { location, why });
        }
        let path = submodule.path().map_err(failed())?.to_string();
        let url = submodule.url().map_err(failed())?.to_bstring().to_string();
        let url = absolute(&source.url, &url);
        if is_here(&url) && !is_here(&source.url) {
            // As git has it: what a stranger's repository names is not looked for on this machine.
            let why = "a submodule of a repository elsewhere cannot be on this machine".to_owned();
            let location = shown(&url);
            return Err(Error::Location { location, why });
        }
        say(&format!("Submodule {path}: {} @ {commit}", shown(&url)));
        let inner = Source {
            url,
            revision: commit.to_string(),
            directory: source.directory.join(&path),
            home: source.home.clone(),
        };
        git::fetch_at(&inner, depth + 1, say)?;
    }
    Ok(())
}

/// Whether a URL means a directory of this machine.
fn is_here(url: &str) -> bool {
    git::parse(url).is_ok_and(|url| url.scheme == gix::url::Scheme::File)
}

/// A URL that begins with a dot is relative to the repository's own.
fn absolute(parent: &str, url: &str) -> String {
    let (url, is_path) = match url.strip_prefix("file://") {
        Some(path) if path.starts_with('.') => (path, true),
        _ => (url, false),
    };
    if !is_path && !url.starts_with("./") && !url.starts_with("../") {
        return url.to_owned();
    }
    let mut base = parent.trim_end_matches('/').to_owned();
    let mut rest = url;
    loop {
        if let Some(shorter) = rest.strip_prefix("./") {
            rest = shorter;
        } else if let Some(shorter) = rest.strip_prefix("../") {
            let cut = base.rfind(['/', ':']).unwrap_or(0);
            base.truncate(cut);
            rest = shorter;
        } else {
            return format!("{base}/{rest}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{absolute, is_here};

    #[test]
    fn directories_of_this_machine() {
        for url in ["/r/a", "file:///r/a", "a/b"] {
            assert!(is_here(url), "{url}");
        }
        for url in ["https://h/a", "git@h:a", "ssh://h/a"] {
            assert!(!is_here(url), "{url}");
        }
    }

    #[test]
    fn relative_submodules() {
        for (parent, url, want) in [
            ("https://h/a/b.git", "../c.git", "https://h/a/c.git"),
            ("https://h/a/b.git/", "./c.git", "https://h/a/b.git/c.git"),
            ("ssh://git@h/a/b", "../../c", "ssh://git@h/c"),
            ("https://h/a", "https://i/c", "https://i/c"),
            ("file:///r/a", "../c", "file:///r/c"),
        ] {
            assert_eq!(absolute(parent, url), want);
        }
    }
}
