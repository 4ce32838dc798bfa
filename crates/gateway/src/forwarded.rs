//! Who asked, for the next hop: the list of X-Forwarded-For and RFC 7239's Forwarded, which
//! queue-proxy makes of the X-Forwarded fields (serving `pkg/queue/forwarded_shim.go`).

use http1::is_token;

/// What is known of the way so far.
pub(crate) struct Earlier<'a> {
    /// X-Forwarded-For as it came, possibly empty.
    pub(crate) addresses: &'a [u8],
    /// Who is connected to us.
    pub(crate) client: &'a str,
    pub(crate) proto: &'a [u8],
    pub(crate) host: &'a [u8],
}

impl Earlier<'_> {
    /// X-Forwarded-For for the next hop.
    pub(crate) fn write_addresses(&self, out: &mut Vec<u8>) {
        if !self.addresses.is_empty() {
            out.extend_from_slice(self.addresses);
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(self.client.as_bytes());
    }
}

/// The value of Forwarded.
pub(crate) fn write(facts: &Earlier<'_>, out: &mut Vec<u8>) {
    let mut nodes = facts
        .addresses
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|node| !node.is_empty())
        .chain([facts.client.as_bytes()]);
    if let Some(first) = nodes.next() {
        pair(out, "for=", first);
    }
    pair(out, ";host=", facts.host);
    pair(out, ";proto=", facts.proto);
    for node in nodes {
        pair(out, ", for=", node);
    }
}

/// A pair; quoted unless the value is a token. Addresses of version 6 get brackets.
fn pair(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.iter().all(|&byte| is_token(byte)) {
        out.extend_from_slice(value);
        return;
    }
    let colons = value.iter().filter(|&&byte| byte == b':').count();
    let bare_v6 = name.ends_with("for=") && colons > 1 && !value.contains(&b']');
    out.extend_from_slice(if bare_v6 { b"\"[" } else { b"\"" });
    out.extend(value.iter().filter(|&&byte| byte != b'"' && byte != b'\\'));
    out.extend_from_slice(if bare_v6 { b"]\"" } else { b"\"" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_of_the_x_fields() {
        for (addresses, client, host, expected) in [
            ("", "10.0.0.1", "a.b", "for=10.0.0.1;host=a.b;proto=http"),
            (
                "1.2.3.4, 5.6.7.8",
                "10.0.0.1",
                "a.b:8080",
                "for=1.2.3.4;host=\"a.b:8080\";proto=http, for=5.6.7.8, for=10.0.0.1",
            ),
            ("", "::1", "a", "for=\"[::1]\";host=a;proto=http"),
        ] {
            let facts = Earlier {
                addresses: addresses.as_bytes(),
                client,
                proto: b"http",
                host: host.as_bytes(),
            };
            let mut out = Vec::new();
            write(&facts, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
