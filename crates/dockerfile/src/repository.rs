//! Git repositories as `ADD` names them: `https://host/repository.git#REFERENCE:DIRECTORY`, or with
//! the same in a query.

use serde::Serialize;

/// A repository at a reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repository {
    /// Without fragment and query.
    pub url: String,
    /// Branch, tag or commit; empty is the repository's own default.
    pub reference: String,
    /// The directory of it that is wanted; empty is all.
    pub directory: String,
    /// Whether `.git` stays.
    pub keeps_git_dir: bool,
}

/// Whether an address is that of a repository, not of a file.
pub(crate) fn is_repository(address: &str) -> bool {
    let path = address.split(['#', '?']).next().unwrap_or_default();
    !address.starts_with("http") || path.ends_with(".git")
}

impl Repository {
    /// Reads an address.
    pub(crate) fn parse(address: &str) -> Result<Self, String> {
        let (before, fragment) = address.split_once('#').unwrap_or((address, ""));
        let (url, query) = before.split_once('?').unwrap_or((before, ""));
        let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut this = Self {
            url: url.to_owned(),
            reference: reference.to_owned(),
            directory: directory.to_owned(),
            keeps_git_dir: false,
        };
        for field in query.split('&').filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=').unwrap_or((field, "true"));
            match name {
                "ref" | "branch" | "tag" | "commit" => this.reference = value.to_owned(),
                "subdir" => this.directory = value.to_owned(),
                "keep-git-dir" => this.keeps_git_dir = value != "false" && value != "0",
                // They are always fetched.
                "submodules" => {}
                _ => return Err(format!("ADD {address}: unknown query {name:?}")),
            }
        }
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_repositories() {
        for (address, expected) in [
            ("https://a/b.git", ["https://a/b.git", "", ""]),
            ("https://a/b.git#v1", ["https://a/b.git", "v1", ""]),
            ("git@a:b.git#main:docs", ["git@a:b.git", "main", "docs"]),
            (
                "https://a/b.git?tag=v2&subdir=x",
                ["https://a/b.git", "v2", "x"],
            ),
        ] {
            assert!(is_repository(address), "{address}");
            let found = Repository::parse(address).expect(address);
            let words = [&found.url, &found.reference, &found.directory];
            assert_eq!(words.map(String::as_str), expected);
        }
        assert!(!is_repository("https://a/b.tar.gz"));
        assert!(Repository::parse("https://a/b.git?x=1").is_err());
    }
}
