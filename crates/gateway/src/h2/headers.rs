//! The header fields of requests and answers on the way through, as `h1::head` does it for
//! HTTP/1.1.

use std::collections::BTreeMap;

use http::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};

use crate::forwarded::{self, Earlier};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// For the activator and the queue-proxy, not for the application.
const INTERNAL: [HeaderName; 3] = [
    HeaderName::from_static("knative-serving-namespace"),
    HeaderName::from_static("knative-serving-revision"),
    HeaderName::from_static("k-proxy-request"),
];
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Removes what is meant for one hop alone.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|token| token.trim().parse().ok())
        .filter(|name| *name != TE && *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    let fixed = [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in named.iter().chain(&fixed) {
        headers.remove(name);
    }
}

/// Rewrites a request's fields for the application. `host` is what the client asked for.
pub(super) fn rewrite_request(
    headers: &mut HeaderMap,
    client: &str,
    scheme: &str,
    host: &str,
    set: [Option<&BTreeMap<String, String>>; 2],
) {
    let te = headers.get(TE).is_some_and(|value| value == "trailers");
    strip_hop_by_hop(headers);
    headers.remove(TE);
    if te {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    for name in &INTERNAL {
        headers.remove(name);
    }
    forward(headers, client, scheme, host);
    for (name, value) in set.into_iter().flatten().flatten() {
        let parsed = (name.parse::<HeaderName>(), HeaderValue::from_str(value));
        if let (Ok(name), Ok(value)) = parsed
            && !INTERNAL.contains(&name)
        {
            headers.insert(name, value);
        }
    }
}

fn forward(headers: &mut HeaderMap, client: &str, scheme: &str, host: &str) {
    let earlier_for = headers
        .get_all(FOR)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect::<Vec<_>>()
        .join(&b", "[..]);
    let first = |name: &HeaderName| {
        headers
            .get(name)
            .map(|value| value.as_bytes().to_vec())
            .unwrap_or_default()
    };
    let (proto, forwarded_host) = (first(&PROTO), first(&FORWARDED_HOST));
    let facts = Earlier {
        addresses: &earlier_for,
        client,
        proto: if proto.is_empty() {
            scheme.as_bytes()
        } else {
            &proto
        },
        host: if forwarded_host.is_empty() {
            host.as_bytes()
        } else {
            &forwarded_host
        },
    };
    let mut addresses = Vec::new();
    facts.write_addresses(&mut addresses);
    let mut all = Vec::new();
    forwarded::write(&facts, &mut all);
    let mut set = |name: HeaderName, value: &[u8]| {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    };
    set(FOR, &addresses);
    set(PROTO, facts.proto);
    set(FORWARDED_HOST, facts.host);
    if !headers.contains_key(FORWARDED)
        && let Ok(value) = HeaderValue::from_bytes(&all)
    {
        headers.insert(FORWARDED, value);
    }
}
