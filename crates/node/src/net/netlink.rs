//! A netlink socket and the messages that go through it: headers, attributes, acknowledgements,
//! dumps and batches.
//!
//! `link` speaks the route family over it, `nft` the netfilter family. Everything is synchronous:
//! the kernel answers a request before `send` returns, so waiting costs nothing, and a socket keeps
//! the network namespace it was opened in, whatever its thread does later.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::Timeout;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Flags of a message's header (`NLM_F_*`).
pub(super) mod flag {
    pub(crate) const REQUEST: u16 = 0x1;
    pub(crate) const ACK: u16 = 0x4;
    pub(crate) const REPLACE: u16 = 0x100;
    pub(crate) const EXCL: u16 = 0x200;
    pub(crate) const DUMP: u16 = 0x300;
    pub(crate) const CREATE: u16 = 0x400;
    pub(crate) const APPEND: u16 = 0x800;
}

const HEADER_BYTES: usize = 16;
const ATTR_HEADER_BYTES: usize = 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;
/// The largest answer the kernel makes for one `recv` of a dump is 32 KiB.
const RECEIVE_BYTES: usize = 64 * 1024;
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// One message under construction: header, the family's fixed part, attributes.
#[derive(Clone)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A message of this type; `fixed` is the family's own header (`ifinfomsg`, `nfgenmsg` …).
    pub(super) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | flag::REQUEST).to_ne_bytes());
        bytes.extend_from_slice(fixed);
        let mut message = Self(bytes);
        message.pad();
        message
    }

    pub(super) fn attr(mut self, kind: u16, value: &[u8]) -> Self {
        self.push(kind, value);
        self
    }

    pub(super) fn attr_u32(self, kind: u16, value: u32) -> Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// A string attribute with its closing zero byte.
    pub(super) fn attr_str(mut self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.push(kind, &bytes);
        self
    }

    /// An attribute that holds what `fill` adds to the message.
    pub(super) fn nest(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        let mut message = fill(self);
        let length = u16::try_from(message.0.len() - start).unwrap_or(u16::MAX);
        message.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        message
    }

    /// Bytes that belong to no attribute, inside a nest (`VETH_INFO_PEER` starts with a header).
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.pad();
        self
    }

    fn push(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(ATTR_HEADER_BYTES + value.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.pad();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn wants_ack(&self) -> bool {
        u16_at(&self.0, 6) & flag::ACK != 0
    }

    fn seal(&mut self, sequence: u32) {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
    }
}

/// A socket of one netlink family in the network namespace of the thread that opened it.
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Interfaces, addresses, routes. (`NETLINK_ROUTE` is protocol 0.)
    pub(super) fn route() -> io::Result<Self> {
        Self::open(None)
    }

    /// Rules of the packet filter.
    pub(super) fn netfilter() -> io::Result<Self> {
        Self::open(Some(rustix::net::netlink::NETFILTER))
    }

    fn open(family: Option<Protocol>) -> io::Result<Self> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            family,
        )?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        // The kernel answers within the request; this is for the case that it does not at all.
        rustix::net::sockopt::set_socket_timeout(&fd, Timeout::Recv, Some(ANSWER_MAX))?;
        Ok(Self { fd, sequence: 0 })
    }

    /// Sends one message and waits for its acknowledgement.
    pub(super) fn request(&mut self, message: Message) -> io::Result<()> {
        self.batch(vec![message])
    }

    /// Sends several messages in one datagram and waits for the acknowledgement of each that asks
    /// for one. The first error is returned; the rest is read all the same.
    pub(super) fn batch(&mut self, messages: Vec<Message>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let first = self.sequence.wrapping_add(1);
        let mut awaited = 0_usize;
        let mut silent = Vec::new();
        for mut message in messages {
            self.sequence = self.sequence.wrapping_add(1);
            message.seal(self.sequence);
            if message.wants_ack() {
                awaited += 1;
            } else {
                silent.push(self.sequence);
            }
            bytes.extend_from_slice(&message.0);
        }
        rustix::net::send(&self.fd, &bytes, SendFlags::empty())?;
        let mut outcome = Ok(());
        let mut buffer = vec![0; RECEIVE_BYTES];
        while awaited > 0 {
            let (length, _) = rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::empty())?;
            for (header, body) in messages_in(&buffer[..length]) {
                if header.kind != NLMSG_ERROR || header.sequence.wrapping_sub(first) > u32::MAX / 2
                {
                    continue;
                }
                let code = i32_at(body, 0);
                if silent.contains(&header.sequence) {
                    // The frame of the batch was refused, and with it everything inside.
                    return Err(io::Error::from_raw_os_error(-code));
                }
                awaited = awaited.saturating_sub(1);
                if code != 0 && outcome.is_ok() {
                    outcome = Err(io::Error::from_raw_os_error(-code));
                }
            }
        }
        outcome
    }

    /// Sends a dump (or single get) and returns the bodies of the answers.
    pub(super) fn dump(&mut self, mut message: Message) -> io::Result<Vec<Vec<u8>>> {
        self.sequence = self.sequence.wrapping_add(1);
        message.seal(self.sequence);
        rustix::net::send(&self.fd, &message.0, SendFlags::empty())?;
        let mut found = Vec::new();
        let mut buffer = vec![0; RECEIVE_BYTES];
        loop {
            let (length, _) = rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::empty())?;
            for (header, body) in messages_in(&buffer[..length]) {
                if header.sequence != self.sequence {
                    continue;
                }
                match header.kind {
                    NLMSG_DONE => return Ok(found),
                    NLMSG_ERROR => {
                        let code = i32_at(body, 0);
                        if code != 0 {
                            return Err(io::Error::from_raw_os_error(-code));
                        }
                        return Ok(found);
                    }
                    _ => found.push(body.to_vec()),
                }
            }
        }
    }
}

struct Header {
    kind: u16,
    sequence: u32,
}

fn messages_in(mut bytes: &[u8]) -> impl Iterator<Item = (Header, &[u8])> {
    std::iter::from_fn(move || {
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        let length = (u32_at(bytes, 0) as usize).clamp(HEADER_BYTES, bytes.len());
        let header = Header {
            kind: u16_at(bytes, 4),
            sequence: u32_at(bytes, 8),
        };
        let body = &bytes[HEADER_BYTES..length];
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
        Some((header, body))
    })
}

/// The attributes in a message body behind its fixed part, or inside a nested attribute.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        if bytes.len() < ATTR_HEADER_BYTES {
            return None;
        }
        let length = usize::from(u16_at(bytes, 0)).clamp(ATTR_HEADER_BYTES, bytes.len());
        let kind = u16_at(bytes, 2) & 0x3fff;
        let value = &bytes[ATTR_HEADER_BYTES..length];
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
        Some((kind, value))
    })
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u16::from_ne_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, i32::from_ne_bytes)
}
