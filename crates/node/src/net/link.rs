//! Interfaces, addresses, routes and neighbours: the few requests of the route family the node
//! needs, each one function that builds a message.
//!
//! `network` and `pool` send them; nothing is decided here. Numbers are those of
//! `linux/if_link.h`, `linux/rtnetlink.h` and `linux/neighbour.h`.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::cidr::Cidr;
use super::netlink::{Message, Socket, attributes, flag, u32_at};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BR_NF_CALL_IPTABLES: u16 = 36;
const IFA_LOCAL: u16 = 2;
const IFF_UP: u32 = 1;
const IF_OPER_UP: u8 = 6;
const AF_INET: u8 = 2;
const AF_INET6: u16 = 10;
const NUD_PERMANENT: u16 = 0x80;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const RT_SCOPE_HOST: u8 = 254;
const RTN_LOCAL: u8 = 2;
const RT_TABLE_LOCAL: u8 = 255;
const CREATE: u16 = flag::ACK | flag::CREATE | flag::EXCL;
const CREATE_OR_REPLACE: u16 = flag::ACK | flag::CREATE | flag::REPLACE;

/// A hardware address.
pub(super) type Mac = [u8; 6];

/// The hardware address an IPv4 address gets (locally administered), so that neighbour entries can
/// be written before either side exists.
pub(super) fn mac_of(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

/// An interface as the kernel lists it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) kind: Option<String>,
    pub(super) master: Option<u32>,
    pub(super) mtu: u32,
    /// Whether frames pass: up, connected, and the kernel has taken note of it.
    pub(super) operational: bool,
}

fn ifinfo(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut fixed = [0; 16];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..16].copy_from_slice(&change.to_ne_bytes());
    fixed
}

/// Every interface of the socket's namespace.
pub(super) fn list(socket: &mut Socket) -> io::Result<Vec<Link>> {
    let request = Message::new(RTM_GETLINK, flag::DUMP, &ifinfo(0, 0, 0));
    Ok(socket
        .dump(request)?
        .iter()
        .map(|body| parse(body))
        .collect())
}

/// The interface of this name; none when there is none.
pub(super) fn find(socket: &mut Socket, name: &str) -> io::Result<Option<Link>> {
    let request = Message::new(RTM_GETLINK, flag::ACK, &ifinfo(0, 0, 0));
    match socket.dump(request.attr_str(IFLA_IFNAME, name)) {
        Ok(bodies) => Ok(bodies.first().map(|body| parse(body))),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse(body: &[u8]) -> Link {
    let mut link = Link {
        index: u32_at(body, 4),
        name: String::new(),
        kind: None,
        master: None,
        mtu: 0,
        operational: false,
    };
    for (kind, value) in attributes(body.get(16..).unwrap_or_default()) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_MASTER => link.master = Some(u32_at(value, 0)),
            IFLA_OPERSTATE => link.operational = value == [IF_OPER_UP],
            IFLA_MTU => link.mtu = u32_at(value, 0),
            IFLA_LINKINFO => {
                link.kind = attributes(value)
                    .find(|(k, _)| *k == IFLA_INFO_KIND)
                    .map(|(_, v)| text(v));
            }
            _ => {}
        }
    }
    link
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
}

/// Makes a bridge, down. It neither snoops multicast nor sends frames through the IP filter.
pub(super) fn new_bridge(name: &str, mac: Mac) -> Message {
    Message::new(RTM_NEWLINK, CREATE, &ifinfo(0, 0, 0))
        .attr_str(IFLA_IFNAME, name)
        .attr(IFLA_ADDRESS, &mac)
        .nest(IFLA_LINKINFO, |m| {
            m.attr_str(IFLA_INFO_KIND, "bridge")
                .nest(IFLA_INFO_DATA, |m| {
                    m.attr(IFLA_BR_MCAST_SNOOPING, &[0])
                        .attr(IFLA_BR_NF_CALL_IPTABLES, &[0])
                })
        })
}

/// Both ends of a veth pair to be made.
pub(super) struct Veth<'a> {
    pub(super) host_name: &'a str,
    pub(super) pod_name: &'a str,
    pub(super) pod_mac: Mac,
    pub(super) pod_netns: BorrowedFd<'a>,
    pub(super) mtu: u32,
}

/// Makes a veth pair, both ends down, the Pod's end inside its namespace.
pub(super) fn new_veth(veth: &Veth<'_>) -> Message {
    let netns = u32::try_from(veth.pod_netns.as_raw_fd()).unwrap_or(u32::MAX);
    Message::new(RTM_NEWLINK, CREATE, &ifinfo(0, 0, 0))
        .attr_str(IFLA_IFNAME, veth.host_name)
        .attr_u32(IFLA_MTU, veth.mtu)
        .nest(IFLA_LINKINFO, |m| {
            m.attr_str(IFLA_INFO_KIND, "veth")
                .nest(IFLA_INFO_DATA, |m| {
                    m.nest(VETH_INFO_PEER, |m| {
                        m.raw(&ifinfo(0, 0, 0))
                            .attr_str(IFLA_IFNAME, veth.pod_name)
                            .attr(IFLA_ADDRESS, &veth.pod_mac)
                            .attr_u32(IFLA_MTU, veth.mtu)
                            .attr_u32(IFLA_NET_NS_FD, netns)
                    })
                })
        })
}

/// Brings an interface up without any IPv6 address of its own: no duplicate address detection, no
/// router solicitations.
pub(super) fn set_up(index: u32) -> Message {
    without_ipv6_address(Message::new(
        RTM_SETLINK,
        flag::ACK,
        &ifinfo(index, IFF_UP, IFF_UP),
    ))
}

/// Fixes the hardware address of a bridge; left alone it follows its ports.
pub(super) fn set_mac(index: u32, mac: Mac) -> Message {
    Message::new(RTM_SETLINK, flag::ACK, &ifinfo(index, 0, 0)).attr(IFLA_ADDRESS, &mac)
}

/// Brings the loopback interface (always index 1) up.
pub(super) fn set_loopback_up() -> Message {
    Message::new(RTM_SETLINK, flag::ACK, &ifinfo(1, IFF_UP, IFF_UP))
}

/// Attaches the interface of this name to a bridge and brings it up.
pub(super) fn attach(name: &str, bridge: u32) -> Message {
    let message = Message::new(RTM_SETLINK, flag::ACK, &ifinfo(0, IFF_UP, IFF_UP))
        .attr_str(IFLA_IFNAME, name)
        .attr_u32(IFLA_MASTER, bridge);
    without_ipv6_address(message)
}

fn without_ipv6_address(message: Message) -> Message {
    message.nest(IFLA_AF_SPEC, |m| {
        m.nest(AF_INET6, |m| {
            m.attr(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE])
        })
    })
}

/// Puts an interface in a group, for `delete_group`.
pub(super) fn set_group(name: &str, group: u32) -> Message {
    Message::new(RTM_SETLINK, flag::ACK, &ifinfo(0, 0, 0))
        .attr_str(IFLA_IFNAME, name)
        .attr_u32(IFLA_GROUP, group)
}

pub(super) fn delete(index: u32) -> Message {
    Message::new(RTM_DELLINK, flag::ACK, &ifinfo(index, 0, 0))
}

/// Deletes every interface of a group at the price of one: the kernel waits for its readers once.
pub(super) fn delete_group(group: u32) -> Message {
    Message::new(RTM_DELLINK, flag::ACK, &ifinfo(0, 0, 0)).attr_u32(IFLA_GROUP, group)
}

/// Gives an interface an address; the route to the range comes with it.
pub(super) fn add_address(index: u32, address: Ipv4Addr, range: Cidr) -> Message {
    let mut fixed = [0; 8];
    fixed[0] = AF_INET;
    fixed[1] = range.prefix();
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    Message::new(RTM_NEWADDR, CREATE_OR_REPLACE, &fixed)
        .attr(1, &address.octets())
        .attr(2, &address.octets())
        .attr(4, &range.broadcast().octets())
}

/// Every IPv4 address with the index of its interface.
pub(super) fn addresses(socket: &mut Socket) -> io::Result<Vec<(u32, Ipv4Addr)>> {
    let mut fixed = [0; 8];
    fixed[0] = AF_INET;
    let bodies = socket.dump(Message::new(RTM_GETADDR, flag::DUMP, &fixed))?;
    let address = |body: &Vec<u8>| {
        let mut found = attributes(body.get(8..)?);
        let (_, value) = found.find(|(kind, _)| *kind == IFA_LOCAL)?;
        let octets: [u8; 4] = value.try_into().ok()?;
        Some((u32_at(body, 4), Ipv4Addr::from(octets)))
    };
    Ok(bodies.iter().filter_map(address).collect())
}

struct Route {
    prefix: u8,
    table: u8,
    scope: u8,
    kind: u8,
}

impl Route {
    fn message(&self) -> Message {
        let fixed = [
            AF_INET,
            self.prefix,
            0,
            0,
            self.table,
            RTPROT_STATIC,
            self.scope,
            self.kind,
            0,
            0,
            0,
            0,
        ];
        Message::new(RTM_NEWROUTE, CREATE_OR_REPLACE, &fixed)
    }
}

/// The default route through `gateway`.
pub(super) fn add_default_route(index: u32, gateway: Ipv4Addr) -> Message {
    Route {
        prefix: 0,
        table: RT_TABLE_MAIN,
        scope: RT_SCOPE_UNIVERSE,
        kind: RTN_UNICAST,
    }
    .message()
    .attr_u32(4, index)
    .attr(5, &gateway.octets())
}

/// Routes a range to an interface, with the source address local programs shall use.
pub(super) fn add_range_route(index: u32, range: Cidr, source: Ipv4Addr) -> Message {
    Route {
        prefix: range.prefix(),
        table: RT_TABLE_MAIN,
        scope: RT_SCOPE_LINK,
        kind: RTN_UNICAST,
    }
    .message()
    .attr(1, &range.base().octets())
    .attr_u32(4, index)
    .attr(7, &source.octets())
}

/// Makes every address of a range an address of this machine.
pub(super) fn add_local_route(index: u32, range: Cidr) -> Message {
    Route {
        prefix: range.prefix(),
        table: RT_TABLE_LOCAL,
        scope: RT_SCOPE_HOST,
        kind: RTN_LOCAL,
    }
    .message()
    .attr(1, &range.base().octets())
    .attr_u32(4, index)
}

/// Takes [`add_local_route`] back.
pub(super) fn delete_local_route(index: u32, range: Cidr) -> Message {
    let fixed = [
        AF_INET,
        range.prefix(),
        0,
        0,
        RT_TABLE_LOCAL,
        0,
        RT_SCOPE_HOST,
        RTN_LOCAL,
        0,
        0,
        0,
        0,
    ];
    Message::new(RTM_DELROUTE, flag::ACK, &fixed)
        .attr(1, &range.base().octets())
        .attr_u32(4, index)
}

/// A neighbour that needs no asking for and never expires.
pub(super) fn add_neighbour(index: u32, address: Ipv4Addr, mac: Mac) -> Message {
    neighbour(RTM_NEWNEIGH, CREATE_OR_REPLACE, index, address).attr(2, &mac)
}

pub(super) fn delete_neighbour(index: u32, address: Ipv4Addr) -> Message {
    neighbour(RTM_DELNEIGH, flag::ACK, index, address)
}

fn neighbour(kind: u16, flags: u16, index: u32, address: Ipv4Addr) -> Message {
    let mut fixed = [0; 12];
    fixed[0] = AF_INET;
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..10].copy_from_slice(&NUD_PERMANENT.to_ne_bytes());
    Message::new(kind, flags, &fixed).attr(1, &address.octets())
}
