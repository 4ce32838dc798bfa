//! Whether a text names a container image, by the weak rules of go-containerregistry's `name`
//! package that Knative applies.

const TAG_LENGTHS: std::ops::RangeInclusive<usize> = 1..=128;
const REPOSITORY_LENGTHS: std::ops::RangeInclusive<usize> = 2..=255;
const DIGEST_HEX: usize = 64;

/// Whether `image` is a reference, by tag or by digest.
pub(super) fn is_reference(image: &str) -> bool {
    is_tagged(image) || is_digest(image)
}

fn is_tagged(image: &str) -> bool {
    match split_tag(image) {
        (repository, Some(tag)) => (tag.is_empty() || is_tag(tag)) && is_repository(repository),
        (repository, None) => is_repository(repository),
    }
}

/// A colon with a slash behind it belongs to the port of a host.
fn split_tag(image: &str) -> (&str, Option<&str>) {
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (image, None),
    }
}

fn is_tag(tag: &str) -> bool {
    TAG_LENGTHS.contains(&tag.chars().count())
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

fn is_digest(image: &str) -> bool {
    let Some((base, digest)) = image.split_once('@') else {
        return false;
    };
    let Some(hex) = digest.strip_prefix("sha256:") else {
        return false;
    };
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let repository = if is_tagged(base) {
        split_tag(base).0
    } else {
        base
    };
    hex.len() == DIGEST_HEX && hex.bytes().all(is_hex) && is_repository(repository)
}

fn is_repository(name: &str) -> bool {
    let (registry, repository) = match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        _ => ("", name),
    };
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-./".contains(&b);
    REPOSITORY_LENGTHS.contains(&repository.chars().count())
        && repository.bytes().all(fits)
        && is_authority(registry)
}

/// `host[:port]` as a URL may carry it.
fn is_authority(registry: &str) -> bool {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (registry, ""),
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host_fits = match bracketed {
        Some(address) => address
            .bytes()
            .all(|b| b.is_ascii_hexdigit() || b":.".contains(&b)),
        None => host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&b) || !b.is_ascii()),
    };
    host_fits && port.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::is_reference;

    #[test]
    fn references() {
        let digest = format!("sha256:{}", "a1".repeat(32));
        for good in [
            "busybox",
            "localhost:5000/a/b",
            "127.0.0.1:5000/knative/helloworld:latest",
            "gcr.io/foo/bar:v1.0_x",
            &format!("gcr.io/foo/bar@{digest}"),
            &format!("gcr.io/foo/bar:tag@{digest}"),
        ] {
            assert!(is_reference(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "foo:bar:baz",
            "Upper",
            "foo@sha256:short",
            "foo bar",
            "foo@bar",
            "gcr.io/foo:bar baz",
        ] {
            assert!(!is_reference(bad), "{bad}");
        }
    }
}
