//! A request's head for the next hop, built from the parsed parts and never copied as it came, so
//! that the next reader cannot understand something else.

use std::collections::BTreeMap;

use super::head::{Kind, RequestHead, field, kind_of};
use crate::forwarded::{self, Earlier};
use http1::framing::Framing;

/// What the next hop is to be told beyond what the client said.
pub(crate) struct Upward<'a> {
    /// The client's address, appended to X-Forwarded-For.
    pub(crate) client: &'a str,
    /// `http` or `https`, unless an earlier proxy has said.
    pub(crate) scheme: &'a str,
    /// Replaces the Host header.
    pub(crate) host: Option<&'a str>,
    /// Fields to be set, lower-case names; the later ones win.
    pub(crate) set: [Option<&'a BTreeMap<String, String>>; 2],
    /// Mark the request as an activator's.
    pub(crate) proxied: bool,
    /// Its place in a trace, instead of the client's word.
    pub(crate) traceparent: Option<&'a str>,
}

impl Upward<'_> {
    fn sets(&self, name: &str) -> bool {
        self.set
            .iter()
            .flatten()
            .any(|set| !set.is_empty() && set.keys().any(|other| other.eq_ignore_ascii_case(name)))
    }
}

/// Writes the head for the next hop.
pub(crate) fn write_request(head: &RequestHead<'_, '_>, up: &Upward<'_>, out: &mut Vec<u8>) {
    for part in [
        head.method,
        " ",
        head.target,
        " HTTP/1.1\r\nhost: ",
        up.host.unwrap_or(head.host),
    ] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    for (header, kind) in head.headers.iter().zip(&head.kinds) {
        match kind {
            Kind::Other | Kind::UserAgent if !up.sets(header.name) => {
                field(out, header.name, header.value);
            }
            Kind::Forwarded | Kind::NetworkHash | Kind::NetworkProbe => {
                field(out, header.name, header.value);
            }
            Kind::Traceparent if up.traceparent.is_none() && !up.sets(header.name) => {
                field(out, header.name, header.value);
            }
            Kind::Te if header.value.eq_ignore_ascii_case(b"trailers") => {
                field(out, "te", b"trailers");
            }
            Kind::Upgrade if head.upgrade => field(out, "upgrade", header.value),
            _ => {}
        }
    }
    match head.framing {
        Framing::Chunked(_) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        _ => {
            if let Some(length) = head.first(Kind::ContentLength) {
                field(out, "content-length", length);
            }
        }
    }
    if head.upgrade {
        out.extend_from_slice(b"connection: upgrade\r\n");
    }
    write_forwarding(head, up, out);
    for (at, set) in up.set.iter().enumerate() {
        for (name, value) in set.iter().copied().flatten() {
            let overridden =
                at == 0 && up.set[1].is_some_and(|later| later.contains_key(name.as_str()));
            if !overridden && !matches!(kind_of(name), Kind::Namespace | Kind::Revision) {
                field(out, name, value.as_bytes());
            }
        }
    }
    if let Some(traceparent) = up.traceparent {
        field(out, "traceparent", traceparent.as_bytes());
    }
    if up.proxied {
        out.extend_from_slice(b"k-proxy-request: activator\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// X-Forwarded-For, -Proto and -Host, and RFC 7239's Forwarded made of them unless it is there.
fn write_forwarding(head: &RequestHead<'_, '_>, up: &Upward<'_>, out: &mut Vec<u8>) {
    let earlier = |kind| head.first(kind).unwrap_or_default();
    let proto = match earlier(Kind::ForwardedProto) {
        [] => up.scheme.as_bytes(),
        proto => proto,
    };
    let host = match earlier(Kind::ForwardedHost) {
        [] => head.host.as_bytes(),
        host => host,
    };
    let mut lists = head
        .headers
        .iter()
        .zip(&head.kinds)
        .filter(|(header, kind)| **kind == Kind::ForwardedFor && !header.value.is_empty())
        .map(|(header, _)| header.value);
    let (list, more) = (lists.next().unwrap_or_default(), lists.next());
    // Several fields are one list (RFC 9110 section 5.3).
    let joined = more.map(|more| {
        let all: Vec<&[u8]> = [list, more].into_iter().chain(lists).collect();
        all.join(&b", "[..])
    });
    let addresses = joined.as_deref().unwrap_or(list);
    let facts = Earlier {
        addresses,
        client: up.client,
        proto,
        host,
    };
    out.extend_from_slice(b"x-forwarded-for: ");
    facts.write_addresses(out);
    out.extend_from_slice(b"\r\nx-forwarded-proto: ");
    out.extend_from_slice(proto);
    out.extend_from_slice(b"\r\nx-forwarded-host: ");
    out.extend_from_slice(host);
    if head.first(Kind::Forwarded).is_none() {
        out.extend_from_slice(b"\r\nforwarded: ");
        forwarded::write(&facts, out);
    }
    out.extend_from_slice(b"\r\n");
}
