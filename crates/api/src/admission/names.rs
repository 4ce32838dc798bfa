//! Kubernetes' rules of names, with the sentences it explains them with
//! (`k8s.io/apimachinery/pkg/util/validation`).

const DNS_1035_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters \
    or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. \
    'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const DNS_1123_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
    characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or \
    '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS_1123_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
    alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
    (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED_NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must \
    start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', \
    regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const C_IDENTIFIER: &str = "a valid C identifier must start with alphabetic character or '_', \
    followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or \
    'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";
const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;

/// What speaks against `name` as a DNS-1035 label.
pub(super) fn dns_1035_label(name: &str) -> Vec<String> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let mut problems = too_long(name, LABEL_MAX);
    if !(starts_well && is_dns_label(name)) {
        problems.push(DNS_1035_LABEL.to_owned());
    }
    problems
}

/// What speaks against `prefix` as the beginning of a DNS-1035 label.
pub(super) fn dns_1035_prefix(prefix: &str) -> Vec<String> {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => {
            let mut masked: String = rest.chars().take(rest.chars().count() - 1).collect();
            masked.push('a');
            dns_1035_label(&masked)
        }
        _ => dns_1035_label(prefix),
    }
}

/// What speaks against `name` as an RFC 1123 label.
pub(super) fn dns_1123_label(name: &str) -> Vec<String> {
    let mut problems = too_long(name, LABEL_MAX);
    if !is_dns_label(name) {
        problems.push(DNS_1123_LABEL.to_owned());
    }
    problems
}

/// What speaks against `name` as an RFC 1123 subdomain.
pub(super) fn dns_1123_subdomain(name: &str) -> Vec<String> {
    let mut problems = too_long(name, SUBDOMAIN_MAX);
    if !name.split('.').all(is_dns_label) {
        problems.push(DNS_1123_SUBDOMAIN.to_owned());
    }
    problems
}

/// What speaks against `name` as a qualified name (`[PREFIX/]NAME`).
pub(super) fn qualified_name(name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let parts: Vec<&str> = name.split('/').collect();
    let local = match parts.as_slice() {
        [local] => local,
        [prefix, local] => {
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty".to_owned());
            } else {
                let told = dns_1123_subdomain(prefix).into_iter();
                problems.extend(told.map(|problem| format!("prefix part {problem}")));
            }
            local
        }
        _ => {
            return vec![format!(
                "a qualified name {QUALIFIED_NAME} with an optional DNS subdomain prefix and '/' \
                 (e.g. 'example.com/MyName')"
            )];
        }
    };
    if local.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else {
        let long = too_long(local, LABEL_MAX).into_iter();
        problems.extend(long.map(|problem| format!("name part {problem}")));
    }
    if !is_qualified(local) {
        problems.push(format!("name part {QUALIFIED_NAME}"));
    }
    problems
}

/// What speaks against `name` as a C identifier.
pub(super) fn c_identifier(name: &str) -> Vec<String> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let rest_well = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if starts_well && rest_well {
        Vec::new()
    } else {
        vec![C_IDENTIFIER.to_owned()]
    }
}

/// What speaks against `name` as a fully qualified domain name, if anything.
pub(super) fn domain_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("name: Required value".to_owned());
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let invalid = |value: &str, why: &str| Some(format!("name: Invalid value: \"{value}\": {why}"));
    let problems = dns_1123_subdomain(name);
    if !problems.is_empty() {
        return invalid(name, &problems.join(","));
    }
    if !name.contains('.') {
        return invalid(
            name,
            "should be a domain with at least two segments separated by dots",
        );
    }
    name.split('.').find_map(|label| {
        let problems = dns_1123_label(label);
        if problems.is_empty() {
            None
        } else {
            invalid(label, &problems.join(","))
        }
    })
}

fn too_long(name: &str, most: usize) -> Vec<String> {
    if name.len() > most {
        vec![format!("must be no more than {most} bytes")]
    } else {
        Vec::new()
    }
}

fn is_dns_label(name: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.iter().all(|b| alphanumeric(*b) || *b == b'-')
        && bytes.first().is_some_and(|b| alphanumeric(*b))
        && bytes.last().is_some_and(|b| alphanumeric(*b))
}

fn is_qualified(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}
