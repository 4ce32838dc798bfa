//! nf_tables without its programs: tables, chains, rules, maps and their elements as netlink
//! messages.
//!
//! `firewall` says which rules; nothing is decided here. Numbers are those of
//! `linux/netfilter/nf_tables.h`; those in attributes are big-endian.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::cidr::Cidr;
use super::netlink::{Message, Socket, flag};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const NEW_SET: u16 = 9;
const NEW_ELEMENT: u16 = 12;
const DELETE_ELEMENT: u16 = 14;
const FAMILY_IPV4: u8 = 2;
const LIST_ELEMENT: u16 = 1;
const DATA_VALUE: u16 = 1;
/// A 16-byte register; the 4-byte registers `WORD0` and `WORD1` are its first two words.
const REGISTER: u32 = 1;
const WORD0: u32 = 8;
const WORD1: u32 = 9;
const SET_IS_MAP: u32 = 0x8;
/// How programs that list the map shall show it: IPv4 address and port, joined (nft's own codes).
const TYPE_ADDRESS_PORT: u32 = 7 << 6 | 13;

/// Where a chain hooks in: number and priority.
#[derive(Clone, Copy)]
pub(super) enum Hook {
    Prerouting,
    Output,
    Postrouting,
}

impl Hook {
    fn numbers(self) -> (u32, i32) {
        match self {
            Self::Prerouting => (0, -100),
            Self::Output => (3, -100),
            Self::Postrouting => (4, 100),
        }
    }
}

/// What a packet must be, or what is done with it.
#[derive(Clone)]
pub(super) enum Expression<'a> {
    SourceIn(Cidr),
    DestinationIn(Cidr),
    DestinationNotIn(Cidr),
    OutputIsNot(&'a str),
    /// `IPPROTO_TCP` and the like.
    Transport(u8),
    /// The destination was translated.
    Translated,
    Masquerade,
    Dnat(SocketAddrV4),
    /// To what the map has for destination address and port; packets not in it go on.
    DnatByMap(&'a str),
}

/// A change of the rules; all of it happens or nothing.
pub(super) struct Batch {
    table: String,
    messages: Vec<Message>,
}

impl Batch {
    pub(super) fn new(table: &str) -> Self {
        let begin = Message::new(BATCH_BEGIN, 0, &header(0, SUBSYSTEM));
        Self {
            table: table.to_owned(),
            messages: vec![begin],
        }
    }

    /// Makes the table, empty, whether it was there or not.
    pub(super) fn replace_table(self) -> Self {
        self.add(NEW_TABLE, flag::CREATE, |m, t| m.attr_str(1, t))
            .add(DELETE_TABLE, 0, |m, t| m.attr_str(1, t))
            .add(NEW_TABLE, flag::CREATE, |m, t| m.attr_str(1, t))
    }

    pub(super) fn delete_table(self) -> Self {
        self.add(DELETE_TABLE, 0, |m, t| m.attr_str(1, t))
    }

    /// A chain for address translation.
    pub(super) fn nat_chain(self, name: &str, hook: Hook) -> Self {
        let (number, priority) = hook.numbers();
        self.add(NEW_CHAIN, flag::CREATE, |m, table| {
            m.attr_str(1, table)
                .attr_str(3, name)
                .nest(4, |m| be32(m, 1, number).attr(2, &priority.to_be_bytes()))
                .attr_str(7, "nat")
        })
    }

    pub(super) fn rule(self, chain: &str, expressions: &[Expression<'_>]) -> Self {
        self.add(NEW_RULE, flag::CREATE | flag::APPEND, |m, table| {
            m.attr_str(1, table).attr_str(2, chain).nest(4, |m| {
                expressions
                    .iter()
                    .fold(m, |m, expression| add_expression(m, expression))
            })
        })
    }

    /// A map from destination address and port to address and port.
    pub(super) fn address_map(self, name: &str) -> Self {
        self.add(NEW_SET, flag::CREATE, |m, table| {
            let m = be32(m.attr_str(1, table).attr_str(2, name), 3, SET_IS_MAP);
            let m = be32(be32(m, 4, TYPE_ADDRESS_PORT), 5, 8);
            // The id ties elements to a set of the same batch.
            be32(be32(be32(m, 6, TYPE_ADDRESS_PORT), 7, 8), 10, 1)
        })
    }

    pub(super) fn map_element(self, map: &str, from: SocketAddrV4, to: SocketAddrV4) -> Self {
        self.add(NEW_ELEMENT, flag::CREATE, |m, table| {
            m.attr_str(1, table).attr_str(2, map).nest(3, |m| {
                m.nest(LIST_ELEMENT, |m| {
                    data(data(m, 1, &words(from)), 2, &words(to))
                })
            })
        })
    }

    pub(super) fn delete_map_element(self, map: &str, from: SocketAddrV4) -> Self {
        self.add(DELETE_ELEMENT, 0, |m, table| {
            m.attr_str(1, table)
                .attr_str(2, map)
                .nest(3, |m| m.nest(LIST_ELEMENT, |m| data(m, 1, &words(from))))
        })
    }

    pub(super) fn send(mut self, socket: &mut Socket) -> io::Result<()> {
        self.messages
            .push(Message::new(BATCH_END, 0, &header(0, SUBSYSTEM)));
        socket.batch(self.messages)
    }

    fn add(mut self, kind: u16, flags: u16, fill: impl FnOnce(Message, &str) -> Message) -> Self {
        let kind = SUBSYSTEM << 8 | kind;
        let message = Message::new(kind, flags | flag::ACK, &header(FAMILY_IPV4, 0));
        self.messages.push(fill(message, &self.table));
        self
    }
}

/// `nfgenmsg`.
fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

fn be32(message: Message, kind: u16, value: u32) -> Message {
    message.attr(kind, &value.to_be_bytes())
}

fn data(message: Message, kind: u16, value: &[u8]) -> Message {
    message.nest(kind, |m| m.attr(DATA_VALUE, value))
}

/// Address and port in a register's words, the port in the first half of its word.
fn words(address: SocketAddrV4) -> [u8; 8] {
    let ([a, b, c, d], [high, low]) = (address.ip().octets(), address.port().to_be_bytes());
    [a, b, c, d, high, low, 0, 0]
}

fn add_expression(message: Message, expression: &Expression<'_>) -> Message {
    match expression {
        Expression::SourceIn(range) => address_in(message, 12, *range, true),
        Expression::DestinationIn(range) => address_in(message, 16, *range, true),
        Expression::DestinationNotIn(range) => address_in(message, 16, *range, false),
        Expression::OutputIsNot(name) => {
            const OIFNAME: u32 = 7;
            let mut padded = [0; 16];
            padded[..name.len().min(15)].copy_from_slice(&name.as_bytes()[..name.len().min(15)]);
            compare(meta(message, OIFNAME), &padded, false)
        }
        Expression::Transport(protocol) => {
            const L4PROTO: u32 = 16;
            compare(meta(message, L4PROTO), &[*protocol], true)
        }
        Expression::Translated => {
            const CT_STATUS: u32 = 2;
            const IPS_DST_NAT: u32 = 1 << 5;
            let message = named(message, "ct", |m| be32(be32(m, 1, REGISTER), 2, CT_STATUS));
            // The kernel holds the status in the machine's own order.
            compare(masked(message, &IPS_DST_NAT.to_ne_bytes()), &[0; 4], false)
        }
        Expression::Masquerade => named(message, "masq", |m| m),
        Expression::Dnat(to) => {
            let message = immediate(message, WORD0, &to.ip().octets());
            dnat(immediate(message, WORD1, &to.port().to_be_bytes()))
        }
        Expression::DnatByMap(map) => {
            let message = load(message, WORD0, Header::Network, 16, 4);
            let message = load(message, WORD1, Header::Transport, 2, 2);
            let message = named(message, "lookup", |m| {
                be32(be32(m.attr_str(1, map), 2, REGISTER), 3, REGISTER)
            });
            dnat(message)
        }
    }
}

enum Header {
    Network,
    Transport,
}

fn named(message: Message, name: &str, fill: impl FnOnce(Message) -> Message) -> Message {
    message.nest(LIST_ELEMENT, |m| m.attr_str(1, name).nest(2, fill))
}

/// Loads bytes of the packet into a register.
fn load(message: Message, register: u32, header: Header, offset: u32, length: u32) -> Message {
    let base = match header {
        Header::Network => 1,
        Header::Transport => 2,
    };
    named(message, "payload", |m| {
        be32(
            be32(be32(be32(m, 1, register), 2, base), 3, offset),
            4,
            length,
        )
    })
}

fn meta(message: Message, key: u32) -> Message {
    named(message, "meta", |m| be32(be32(m, 1, REGISTER), 2, key))
}

fn compare(message: Message, value: &[u8], equal: bool) -> Message {
    named(message, "cmp", |m| {
        data(be32(be32(m, 1, REGISTER), 2, u32::from(!equal)), 3, value)
    })
}

fn address_in(message: Message, offset: u32, range: Cidr, inside: bool) -> Message {
    let mask = Ipv4Addr::from_bits(range.mask()).octets();
    let message = load(message, REGISTER, Header::Network, offset, 4);
    compare(masked(message, &mask), &range.base().octets(), inside)
}

fn masked(message: Message, mask: &[u8; 4]) -> Message {
    named(message, "bitwise", |m| {
        let m = be32(be32(be32(m, 1, REGISTER), 2, REGISTER), 3, 4);
        data(data(m, 4, mask), 5, &[0; 4])
    })
}

fn immediate(message: Message, register: u32, value: &[u8]) -> Message {
    named(message, "immediate", |m| {
        data(be32(m, 1, register), 2, value)
    })
}

/// Translates the destination to what the first two words hold.
fn dnat(message: Message) -> Message {
    const TYPE_DNAT: u32 = 1;
    named(message, "nat", |m| {
        let m = be32(be32(m, 1, TYPE_DNAT), 2, u32::from(FAMILY_IPV4));
        be32(be32(m, 3, WORD0), 5, WORD1)
    })
}
