//! Addresses as text: which are absolute, and what a relative one means beside another (RFC 3986,
//! section 5.2). Used where a Destination has both `ref` and `uri`.

/// The parts of a URI reference that matter here.
struct Parts<'a> {
    scheme: &'a str,
    host: &'a str,
    path: &'a str,
    /// With its `?`, or empty.
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(uri: &'a str) -> Self {
        let uri = uri.split('#').next().unwrap_or_default();
        let (scheme, rest) = match uri.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
            _ => ("", uri),
        };
        let (rest, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let (host, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        Self {
            scheme,
            host,
            path,
            query,
        }
    }
}

fn is_scheme(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// Whether `uri` has a scheme and a host.
pub(super) fn is_absolute(uri: &str) -> bool {
    let parts = Parts::of(uri);
    !parts.scheme.is_empty() && !parts.host.is_empty()
}

/// Whether `uri` has a scheme, so that it means the same beside any other.
pub(super) fn has_scheme(uri: &str) -> bool {
    !Parts::of(uri).scheme.is_empty()
}

/// The host of `uri`, with its port.
pub(super) fn host(uri: &str) -> &str {
    Parts::of(uri).host
}

/// What `reference`, which has no scheme, means beside `base`.
pub(super) fn join(base: &str, reference: &str) -> String {
    let (base, reference) = (Parts::of(base), Parts::of(reference));
    let (host, path, query) = if !reference.host.is_empty() {
        let path = without_dots(reference.path);
        (reference.host, path, reference.query)
    } else if reference.path.is_empty() {
        let query = match reference.query {
            "" => base.query,
            query => query,
        };
        (base.host, base.path.to_owned(), query)
    } else if reference.path.starts_with('/') {
        (base.host, without_dots(reference.path), reference.query)
    } else {
        let folder = base.path.rfind('/').map_or("/", |at| &base.path[..=at]);
        let path = without_dots(&format!("{folder}{}", reference.path));
        (base.host, path, reference.query)
    };
    format!("{}://{host}{path}{query}", base.scheme)
}

fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let last = path.rsplit('/').next().unwrap_or_default();
    for segment in path.split('/').skip(usize::from(path.starts_with('/'))) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let end = if matches!(last, "." | "..") { "/" } else { "" };
    match kept.is_empty() {
        true => "/".to_owned(),
        false => format!("/{}{end}", kept.join("/")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_addresses_are_joined_as_in_rfc_3986() {
        for (base, reference, expected) in [
            ("http://a.b", "/x", "http://a.b/x"),
            ("http://a.b", "x", "http://a.b/x"),
            ("http://a.b/c/d", "x", "http://a.b/c/x"),
            ("http://a.b/c/d/", "x?q=1", "http://a.b/c/d/x?q=1"),
            ("http://a.b/c/d", "../x/./y", "http://a.b/x/y"),
            ("http://a.b/c/d", "..", "http://a.b/"),
            ("http://a.b/c?q=1", "?r=2", "http://a.b/c?r=2"),
            ("http://a.b/c?q=1", "", "http://a.b/c?q=1"),
            ("https://a.b/c", "//d.e:81/f", "https://d.e:81/f"),
        ] {
            assert_eq!(join(base, reference), expected, "{base} {reference}");
        }
    }

    #[test]
    fn absolute_addresses_have_scheme_and_host() {
        assert!(is_absolute("http://host/path"));
        for uri in ["", "/path", "host", "//host", "http:///path", "mailto:me"] {
            assert!(!is_absolute(uri), "{uri}");
        }
        assert!(has_scheme("mailto:me") && !has_scheme("//host"));
    }
}
