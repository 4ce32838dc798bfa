//! Names of images: `nginx` means `docker.io/library/nginx:latest`.
//!
//! The grammar and the defaults are those of `distribution/reference`, which Docker, containerd and
//! the kubelet share.

use std::fmt;
use std::str::FromStr;

use super::digest::Digest;
use super::error::Error;

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const NAME_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;

/// A full image name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Host and port of the registry, `docker.io` where the name has none.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry, with `library/` for Docker's official ones.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` where neither tag nor digest is given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where the name is pinned to one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same repository pinned to a digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match (&self.digest, &self.tag) {
            // A digest says all; the tag beside it is a remark.
            (Some(digest), _) => write!(f, "@{digest}"),
            (None, Some(tag)) => write!(f, ":{tag}"),
            (None, None) => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        parse(given).map_err(|reason| Error::Reference {
            given: given.to_owned(),
            reason,
        })
    }
}

fn parse(given: &str) -> Result<Reference, &'static str> {
    let (rest, digest) = match given.split_once('@') {
        Some((rest, digest)) => (
            rest,
            Some(digest.parse::<Digest>().map_err(|_| BAD_DIGEST)?),
        ),
        None => (given, None),
    };
    let (registry, rest) = match rest.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, rest),
    };
    let registry = if registry == "index.docker.io" {
        DEFAULT_REGISTRY
    } else {
        registry
    };
    let (repository, tag) = match rest.split_once(':') {
        Some((repository, tag)) if is_tag(tag) => (repository, Some(tag.to_owned())),
        Some(_) => return Err("the tag is not letters, digits, '_', '.' and '-', at most 128"),
        None => (rest, None),
    };
    if repository.is_empty() {
        return Err("the name is empty");
    }
    if repository.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("repository name must be lowercase");
    }
    if !repository.split('/').all(is_component) || given.len() > NAME_BYTES_MAX + TAG_BYTES_MAX {
        return Err("invalid reference format");
    }
    let official = registry == DEFAULT_REGISTRY && !repository.contains('/');
    let tag = tag.or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
    Ok(Reference {
        registry: registry.to_owned(),
        repository: if official {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        },
        tag,
        digest,
    })
}

const BAD_DIGEST: &str = "what follows '@' is no sha256 digest";

/// Whether the part before the first slash is a host and not a part of the repository.
fn is_registry(first: &str) -> bool {
    let host = first == "localhost"
        || first.contains(['.', ':'])
        || first.bytes().any(|b| b.is_ascii_uppercase());
    let start = first
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'[');
    host && start
        && first
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_BYTES_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// Lower-case letters and digits with single separators (`.`, `_`, `__`, any number of `-`) inside.
fn is_component(component: &str) -> bool {
    let alphanumeric = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    alphanumeric(component.bytes().next())
        && alphanumeric(component.bytes().last())
        && component
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !component.contains("..")
        && !component.contains("___")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_become_full_ones() {
        let sha = format!("sha256:{}", "a".repeat(64));
        let check = |given: &str, expected: &str| match given.parse::<Reference>() {
            Ok(reference) => assert_eq!(reference.to_string(), expected, "{given}"),
            Err(error) => assert_eq!(error.to_string(), expected, "{given}"),
        };
        check("nginx", "docker.io/library/nginx:latest");
        check("index.docker.io/nginx:1.27", "docker.io/library/nginx:1.27");
        check("grafana/k6", "docker.io/grafana/k6:latest");
        check("localhost:5000/a", "localhost:5000/a:latest");
        check("localhost/a/b:v1", "localhost/a/b:v1");
        check("dev.local/hello", "dev.local/hello:latest");
        check(
            &format!("ghcr.io/a/b:v1@{sha}"),
            &format!("ghcr.io/a/b@{sha}"),
        );
        check(
            &format!("nginx@{sha}"),
            &format!("docker.io/library/nginx@{sha}"),
        );
        check(
            "Nginx",
            r#"couldn't parse image name "Nginx": repository name must be lowercase"#,
        );
        check("", r#"couldn't parse image name "": the name is empty"#);
        check(
            "a//b",
            r#"couldn't parse image name "a//b": invalid reference format"#,
        );
        check(
            "../b",
            r#"couldn't parse image name "../b": invalid reference format"#,
        );
        check(
            "a@sha256:12",
            r#"couldn't parse image name "a@sha256:12": what follows '@' is no sha256 digest"#,
        );
    }
}
