//! Names of generated objects. Called by the plans that create children and by whoever looks the
//! children up again; nobody else spells these names.

use md5::{Digest, Md5};

/// The longest name Kubernetes lets a label value or a Service have.
const NAME_LEN_MAX: usize = 63;
/// Hexadecimal digits of an MD5 sum.
const HASH_LEN: usize = 32;

/// The name of a child: `parent` followed by `suffix`, shortened with a hash when that would not
/// fit in 63 characters (the rule of Knative's `kmeta.ChildName`, so that names match).
pub fn child_name(parent: &str, suffix: &str) -> String {
    if parent.len() + suffix.len() <= NAME_LEN_MAX {
        return format!("{parent}{suffix}");
    }
    let head = NAME_LEN_MAX - HASH_LEN;
    if suffix.len() >= head {
        let hash = hex::encode(Md5::digest(format!("{parent}{suffix}")));
        let mut name = format!("{}{hash}", prefix(parent, head));
        let room = NAME_LEN_MAX.saturating_sub(name.len());
        name.push_str(prefix(suffix, room));
        return valid_end(name);
    }
    let hash = hex::encode(Md5::digest(parent));
    format!("{}{hash}{suffix}", prefix(parent, head - suffix.len()))
}

/// The EventType of what a source makes.
pub fn event_type_of_source(kind: &str, source: &str, schema: &str, uid: &str) -> String {
    hex::encode(Md5::digest([kind, source, schema, uid].concat()))
}

/// The EventType of what came to `name`, a Broker or channel.
pub fn event_type_seen(namespace: &str, name: &str, kind: &str, source: &str) -> String {
    let hash = hex::encode(Md5::digest([kind, source, namespace, name].concat()));
    format!("et-{name}-{hash}")
}

/// The first `len` bytes of an ASCII name, fewer when it is shorter.
fn prefix(text: &str, len: usize) -> &str {
    text.get(..len).unwrap_or(text)
}

/// A name may not end in `-` or `.`; such an end is cut off.
fn valid_end(mut name: String) -> String {
    let keep = name
        .trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
        .len();
    name.truncate(keep);
    name
}

/// The name of the Revision a Configuration makes of its `generation`.
pub fn revision(configuration: &str, generation: i64) -> String {
    child_name(configuration, &format!("-{generation:05}"))
}

/// The Deployment of a Revision.
pub fn deployment(revision: &str) -> String {
    child_name(revision, "-deployment")
}

/// The Service that selects a Revision's Pods.
pub fn private_service(revision: &str) -> String {
    child_name(revision, "-private")
}

/// The Image (pre-pull hint) of one container of a Revision.
pub fn image_cache(revision: &str, container: &str) -> String {
    child_name(&child_name(revision, "-cache"), &format!("-{container}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn child_names_fit() {
        let check = |parent: &str, suffix: &str, expected: &str| {
            assert_eq!(child_name(parent, suffix), expected);
        };
        check("hello", "-00001", "hello-00001");
        check(
            "a-name-that-is-so-long-that-the-suffix-does-not-fit-behind-it",
            "-deployment",
            "a-name-that-is-so-lo3fca3d40866fe0452e687b717f6d56f5-deployment",
        );
        let long = child_name(&"p".repeat(10), &"s".repeat(60));
        assert_eq!(long.len(), 63);
        assert!(long.starts_with("pppppppppp") && long.ends_with("sss"));
    }
}
