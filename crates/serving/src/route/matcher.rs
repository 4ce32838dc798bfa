//! Which rule of a host a request matches, and which split it draws. Called by `gateway` for every
//! request; pure functions over the table's values.

use super::{PathMatch, Rule, Split};

/// The header that chooses a tagged target on the main host.
pub const TAG_HEADER: &str = "knative-serving-tag";

/// The table's key for a Host header: without the port, in lower case. An IPv6 literal keeps its
/// brackets. Empty for an empty header.
pub fn host_key(host: &str) -> String {
    without_port(host).to_ascii_lowercase()
}

/// The host without its port.
pub fn without_port(host: &str) -> &str {
    let after_literal = host.rfind(']').map_or(0, |at| at + 1);
    let end = host[after_literal..]
        .find(':')
        .map_or(host.len(), |at| after_literal + at);
    host[..end].trim_end_matches('.')
}

/// The index of the first rule whose conditions hold. `header` gives the value of a header by its
/// lower-case name.
pub fn match_rule<'v>(
    rules: &[Rule],
    path: &str,
    header: impl Fn(&str) -> Option<&'v str>,
) -> Option<usize> {
    rules.iter().position(|rule| {
        has_path(rule, path)
            && rule
                .headers
                .iter()
                .all(|(name, value)| header(name) == Some(value.as_str()))
    })
}

fn has_path(rule: &Rule, path: &str) -> bool {
    let wanted = rule.path_prefix.as_str();
    match rule.path_match {
        PathMatch::Start => path.starts_with(wanted),
        PathMatch::Exact => path == wanted,
        PathMatch::Elements => path
            .strip_prefix(wanted.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

/// The keys by which a table of Ingresses may know a host, the best first: itself, all below its
/// domain, all.
pub fn ingress_keys(host: &str) -> [String; 3] {
    let below = host
        .split_once('.')
        .map(|(_, domain)| format!("*.{domain}"));
    [host.to_owned(), below.unwrap_or_default(), String::new()]
}

/// The index of the split that owns point `draw` of 0 to 99. Splits are laid end to end; should they sum to
/// less than 100, the last one that has any share gets the rest.
pub fn draw_split(splits: &[Split], draw: u8) -> Option<usize> {
    let mut end = 0u32;
    for (at, split) in splits.iter().enumerate() {
        end += u32::from(split.percent);
        if u32::from(draw) < end {
            return Some(at);
        }
    }
    let last = splits.len().checked_sub(1);
    splits.iter().rposition(|split| split.percent > 0).or(last)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{RevisionKey, Target};
    use super::*;

    #[test]
    fn hosts() {
        for (host, key) in [
            (
                "Hello.Default.Example.COM:8080",
                "hello.default.example.com",
            ),
            ("hello.default.localhost", "hello.default.localhost"),
            ("hello.default.localhost.", "hello.default.localhost"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(host_key(host), key);
        }
    }

    fn split(percent: u8, name: &str) -> Split {
        Split {
            percent,
            target: Target::Revision(RevisionKey::new("default", name)),
            append_headers: BTreeMap::new(),
        }
    }

    #[test]
    fn splits_get_their_percentage() {
        let splits = [split(0, "tag-only"), split(90, "old"), split(10, "new")];
        let count = |name: &str| {
            let target = Target::Revision(RevisionKey::new("default", name));
            let drawn = (0..100).filter_map(|draw| draw_split(&splits, draw));
            drawn.filter(|&at| splits[at].target == target).count()
        };
        assert_eq!((count("tag-only"), count("old"), count("new")), (0, 90, 10));
        assert_eq!(draw_split(&[], 3), None);
        assert_eq!(draw_split(&splits[..2], 95), Some(1));
    }

    #[test]
    fn paths_of_ingresses_are_compared_as_kubernetes_says() {
        let check = |path_match, wanted: &str, path: &str, expected: bool| {
            let rule = Rule {
                path_prefix: wanted.into(),
                path_match,
                ..Rule::default()
            };
            assert_eq!(
                has_path(&rule, path),
                expected,
                "{path_match:?} {wanted} {path}"
            );
        };
        for (wanted, path, expected) in [
            ("/", "/any/path", true),
            ("/foo", "/foo/", true),
            ("/foo/", "/foo", true),
            ("/aaa/bbb", "/aaa/bbb/ccc", true),
            ("/aaa/bb", "/aaa/bbb", false),
            ("/aaa/bbb", "/aaa/bbbxyz", false),
            ("", "/", true),
        ] {
            check(PathMatch::Elements, wanted, path, expected);
        }
        check(PathMatch::Exact, "/foo", "/foo", true);
        check(PathMatch::Exact, "/foo", "/foo/", false);
        check(PathMatch::Start, "/a", "/ab", true);
        assert_eq!(ingress_keys("a.b.c"), ["a.b.c", "*.b.c", ""]);
        assert_eq!(ingress_keys("a"), ["a", "", ""]);
    }

    #[test]
    fn first_rule_that_holds() {
        let tagged = Rule {
            headers: BTreeMap::from([(TAG_HEADER.into(), "blue".into())]),
            ..Rule::default()
        };
        let below = Rule {
            path_prefix: "/api/".into(),
            ..Rule::default()
        };
        let rules = [tagged, below, Rule::default()];
        let index = |path: &str, tag: Option<&'static str>| {
            let header = |name: &str| tag.filter(|_| name == TAG_HEADER);
            match_rule(&rules, path, header).unwrap()
        };
        assert_eq!(index("/", Some("blue")), 0);
        assert_eq!(index("/", Some("green")), 2);
        assert_eq!(index("/api/x", None), 1);
        assert_eq!(index("/", None), 2);
    }
}
