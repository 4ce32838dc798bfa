//! User names and passwords for git over HTTP, from `~/.git-credentials` as git's own `store`
//! helper keeps them: a URL per line. No helper program is asked.

use std::path::Path;

/// What git may present to servers.
#[derive(Default)]
pub(crate) struct Store(Vec<Entry>);

struct Entry {
    scheme: String,
    host: String,
    path: String,
    user: String,
    password: String,
}

impl Store {
    /// Reads the file of this home directory; none, or lines that are no URL, open nothing.
    pub(crate) fn read(home: &Path) -> Self {
        let text = std::fs::read_to_string(home.join(".git-credentials"));
        Self(
            text.unwrap_or_default()
                .lines()
                .filter_map(Entry::parse)
                .collect(),
        )
    }

    /// User and password for a URL: the entry with the longest path above it.
    pub(crate) fn find(&self, url: &str) -> Option<(String, String)> {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (asked, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (user.split(':').next(), host),
            None => (None, authority),
        };
        let fits = |entry: &&Entry| {
            entry.scheme == scheme
                && entry.host.eq_ignore_ascii_case(host)
                && is_above(&entry.path, path)
                && asked.is_none_or(|user| user == entry.user)
        };
        let best = self.0.iter().filter(fits).max_by_key(|e| e.path.len())?;
        Some((best.user.clone(), best.password.clone()))
    }
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let (scheme, rest) = line.trim().split_once("://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = authority.rsplit_once('@')?;
        let (user, password) = user.split_once(':')?;
        Some(Self {
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            path: path.trim_end_matches('/').to_owned(),
            user: decode(user),
            password: decode(password),
        })
    }
}

/// Whether `path` is at or below `above`.
fn is_above(above: &str, path: &str) -> bool {
    match path.strip_prefix(above) {
        Some(rest) => above.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// Percent-encoding undone; bytes that are no UTF-8 are replaced.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = (*first == b'%').then(|| tail.get(..2)).flatten();
        let value = hex.and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_entry_opens_the_door() {
        let home = tempfile::tempdir().unwrap();
        let lines = "https://a:p%40ss@h.example\nhttps://b:q@h.example/team\nhttp://c:r@h.example\nnonsense\n";
        std::fs::write(home.path().join(".git-credentials"), lines).unwrap();
        let store = Store::read(home.path());
        let find = |url| {
            store
                .find(url)
                .map(|(user, password)| user + "/" + &password)
        };
        for (url, want) in [
            ("https://h.example/x.git", Some("a/p@ss")),
            ("https://H.example/team/x.git", Some("b/q")),
            ("https://h.example/teammate/x.git", Some("a/p@ss")),
            ("https://b@h.example/x.git", None),
            ("http://h.example/x.git", Some("c/r")),
            ("https://other.example/x.git", None),
        ] {
            assert_eq!(find(url).as_deref(), want, "{url}");
        }
    }
}
