//! Why source code could not be brought. Secrets never get into an error: URLs are shown without
//! their user part.

use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL or location cannot be used.
    #[error("{location}: {why}")]
    Location {
        /// As the user wrote it, without its user part.
        location: String,
        /// What is wrong, and what would do.
        why: String,
    },
    /// Git said no.
    #[error("{step} {url}: {why}")]
    Git {
        /// The step.
        step: &'static str,
        /// The repository.
        url: String,
        /// The whole chain of causes.
        why: String,
    },
    /// No branch, tag or commit has this name.
    #[error("{url} has no branch, tag or commit {revision:?}")]
    Revision {
        /// The repository.
        url: String,
        /// The revision.
        revision: String,
    },
    /// The server could not be asked, or did not give what was asked for.
    #[error("GET {url}: {why}")]
    Http {
        /// The URL.
        url: String,
        /// The whole chain of causes, or the status.
        why: String,
    },
    /// The archive or manifest makes no sense.
    #[error("{what}: {why}")]
    Content {
        /// Which file.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file could not be read or written.
    #[error("{step} {}: {source}", path.display())]
    File {
        /// The step.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn git(step: &'static str, url: &str) -> impl Fn(gix::Error) -> Self {
        let url = shown(url);
        move |error| Self::Git {
            step,
            url: url.clone(),
            why: chain(&error),
        }
    }

    pub(crate) fn file(step: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            step,
            path: path.clone(),
            source,
        }
    }
}

/// The error and its causes, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

/// The URL without user and password.
pub fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        for (url, want) in [
            ("https://u:p@h/x@y", "https://h/x@y"),
            ("https://h/x", "https://h/x"),
            ("ssh://git@h:22/x", "ssh://h:22/x"),
            ("git@h:x.git", "git@h:x.git"),
            ("file:///x", "file:///x"),
        ] {
            assert_eq!(shown(url), want);
        }
    }
}
