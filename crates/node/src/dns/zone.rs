//! What the cluster's own zone answers, from the table of Services. No I/O.
//!
//! The rules are those of Kubernetes' DNS specification (schema version 1.1.0) as CoreDNS serves
//! it, `pods insecure` included.

use std::net::Ipv4Addr;

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::net::{HeadlessAddress, Service, ServiceTable};

/// Seconds an answer may be kept; as in CoreDNS.
const TTL_S: u32 = 5;
/// How many aliases (ExternalName) are followed within the zone.
const ALIAS_MAX: usize = 8;

/// The zone's name and where it is served.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    /// `cluster.local.`
    origin: Name,
    gateway: Ipv4Addr,
    owned: Vec<crate::net::Cidr>,
}

/// What is known about a question.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// Not ours: ask elsewhere.
    Elsewhere,
    /// Ours, with records or without.
    Here {
        code: ResponseCode,
        answers: Vec<Record>,
        additionals: Vec<Record>,
    },
    /// Ours as far as these aliases; the last one's target is to be asked elsewhere.
    Alias { answers: Vec<Record>, target: Name },
}

impl Answer {
    fn no_such_name() -> Self {
        Self::Here {
            code: ResponseCode::NXDomain,
            answers: vec![],
            additionals: vec![],
        }
    }

    fn records(answers: Vec<Record>) -> Self {
        Self::Here {
            code: ResponseCode::NoError,
            answers,
            additionals: vec![],
        }
    }
}

/// What a name in the zone is.
enum Entry<'a> {
    /// There are names below it, but nothing at it.
    Empty,
    Addresses(Vec<Ipv4Addr>),
    Alias(&'a str),
    Ports(Vec<(u16, String, Ipv4Addr)>),
    Text(&'static str),
}

impl Zone {
    /// `owned` are the ranges whose reverse names are the zone's.
    pub(super) fn new(
        domain: &str,
        gateway: Ipv4Addr,
        owned: Vec<crate::net::Cidr>,
    ) -> Result<Self, hickory_proto::ProtoError> {
        let mut origin = Name::from_ascii(domain)?.to_lowercase();
        origin.set_fqdn(true);
        Ok(Self {
            origin,
            gateway,
            owned,
        })
    }

    /// The record that says how long "there is nothing" may be believed.
    pub(super) fn authority(&self) -> Record {
        let sub = |label: &str| self.origin.prepend_label(label).unwrap_or_default();
        let soa = SOA::new(
            sub("ns.dns"),
            sub("hostmaster"),
            1,
            7200,
            1800,
            86_400,
            TTL_S,
        );
        Record::from_rdata(self.origin.clone(), TTL_S, RData::SOA(soa))
    }

    /// Answers one question.
    pub(super) fn answer(&self, query: &Query, table: &ServiceTable) -> Answer {
        let name = query.name.to_lowercase();
        if let Some(ip) = reverse_address(&name) {
            return self.reverse(query, ip, table);
        }
        if !self.origin.zone_of(&name) {
            return Answer::Elsewhere;
        }
        if name == self.origin && query.query_type == RecordType::SOA {
            return Answer::records(vec![self.authority()]);
        }
        let mut answers = Vec::new();
        let mut name = query.name.clone();
        for _ in 0..ALIAS_MAX {
            let labels = self.labels(&name);
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            let Some(entry) = self.look_up(&labels, table) else {
                return match answers.is_empty() {
                    true => Answer::no_such_name(),
                    false => Answer::records(answers),
                };
            };
            let Entry::Alias(target) = entry else {
                let (found, additionals) = records(&name, query.query_type, entry);
                answers.extend(found);
                return Answer::Here {
                    code: ResponseCode::NoError,
                    answers,
                    additionals,
                };
            };
            let Ok(mut target) = Name::from_ascii(target) else {
                break;
            };
            target.set_fqdn(true);
            answers.push(record(&name, RData::CNAME(CNAME(target.clone()))));
            if query.query_type == RecordType::CNAME {
                return Answer::records(answers);
            }
            if !self.origin.zone_of(&target.to_lowercase()) {
                return Answer::Alias { answers, target };
            }
            name = target;
        }
        Answer::Here {
            code: ResponseCode::ServFail,
            answers,
            additionals: vec![],
        }
    }

    /// The labels in front of the zone's name, lower case.
    fn labels(&self, name: &Name) -> Vec<String> {
        let own = usize::from(name.num_labels().saturating_sub(self.origin.num_labels()));
        let labels = name.iter().take(own);
        labels
            .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase())
            .collect()
    }

    fn look_up<'a>(&self, labels: &[&str], table: &'a ServiceTable) -> Option<Entry<'a>> {
        match *labels {
            [] | ["svc" | "pod" | "dns"] => Some(Entry::Empty),
            ["dns-version"] => Some(Entry::Text("1.1.0")),
            ["ns", "dns"] => Some(Entry::Addresses(vec![self.gateway])),
            [namespace, "svc" | "pod"] => table.has_namespace(namespace).then_some(Entry::Empty),
            [dashed, namespace, "pod"] => {
                let ip = dashed.replace('-', ".").parse().ok()?;
                (table.has_namespace(namespace) || self.is_pod(ip))
                    .then(|| Entry::Addresses(vec![ip]))
            }
            [name, namespace, "svc"] => table.get(namespace, name).map(|s| service_entry(s)),
            [transport, name, namespace, "svc"] if transport.starts_with('_') => {
                table.get(namespace, name).map(|_| Entry::Empty)
            }
            [host, name, namespace, "svc"] => {
                let headless = &table.get(namespace, name)?.headless;
                let found: Vec<Ipv4Addr> = headless
                    .iter()
                    .filter(|a| a.label() == host)
                    .map(|a| a.ip)
                    .collect();
                (!found.is_empty()).then_some(Entry::Addresses(found))
            }
            [port, transport, name, namespace, "svc"] => {
                self.ports(table.get(namespace, name)?, port, transport)
            }
            _ => None,
        }
    }

    fn is_pod(&self, ip: Ipv4Addr) -> bool {
        self.owned.iter().any(|range| range.contains(ip))
    }

    /// `_http._tcp.NAME.NS.svc`: the port, at the Service's address or at each of a headless one's.
    fn ports(&self, service: &Service, port: &str, transport: &str) -> Option<Entry<'static>> {
        let (port, transport) = (port.strip_prefix('_')?, transport.strip_prefix('_')?);
        let port = service
            .ports
            .iter()
            .find(|p| !p.name.is_empty() && p.name == port && p.protocol.as_str() == transport)?;
        let base = format!("{}.{}.svc.{}", service.name, service.namespace, self.origin);
        let targets = match service.cluster_ip {
            Some(ip) => vec![(port.port, base, ip)],
            None => service
                .headless
                .iter()
                .map(|a| headless_port(a, port, &base))
                .collect(),
        };
        Some(Entry::Ports(targets))
    }

    fn reverse(&self, query: &Query, ip: Ipv4Addr, table: &ServiceTable) -> Answer {
        let base = |service: &Service| {
            format!("{}.{}.svc.{}", service.name, service.namespace, self.origin)
        };
        let target = if let Some(service) = table.at_ip(ip) {
            base(service)
        } else if let Some((service, address)) = table.headless_at(ip) {
            format!("{}.{}", address.label(), base(service))
        } else if ip == self.gateway {
            format!("ns.dns.{}", self.origin)
        } else if self.is_pod(ip) {
            return Answer::no_such_name();
        } else {
            return Answer::Elsewhere;
        };
        match Name::from_ascii(target) {
            Ok(target) if query.query_type == RecordType::PTR => {
                Answer::records(vec![record(&query.name, RData::PTR(PTR(target)))])
            }
            _ => Answer::records(vec![]),
        }
    }
}

fn headless_port(
    address: &HeadlessAddress,
    port: &crate::net::ServicePort,
    base: &str,
) -> (u16, String, Ipv4Addr) {
    // Behind a headless Service one speaks to the Pod itself, so its own port counts.
    let own = port
        .endpoints
        .iter()
        .find(|endpoint| endpoint.ip() == address.ip);
    (
        own.map_or(port.port, |own| own.port()),
        format!("{}.{base}", address.label()),
        address.ip,
    )
}

fn service_entry(service: &Service) -> Entry<'_> {
    if let Some(target) = &service.external_name {
        return Entry::Alias(target);
    }
    match service.cluster_ip {
        Some(ip) => Entry::Addresses(vec![ip]),
        None => Entry::Addresses(service.headless.iter().map(|address| address.ip).collect()),
    }
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), TTL_S, data)
}

/// The records of this type an entry has, and what goes with them.
fn records(name: &Name, kind: RecordType, entry: Entry<'_>) -> (Vec<Record>, Vec<Record>) {
    match (entry, kind) {
        (Entry::Addresses(addresses), RecordType::A | RecordType::ANY) => {
            let records = addresses
                .into_iter()
                .map(|ip| record(name, RData::A(A(ip))));
            (records.collect(), vec![])
        }
        (Entry::Ports(targets), RecordType::SRV | RecordType::ANY) => {
            let weight = 100 / u16::try_from(targets.len().clamp(1, 100)).unwrap_or(100);
            let mut found = (vec![], vec![]);
            for (port, target, ip) in targets {
                let Ok(target) = Name::from_ascii(&target) else {
                    continue;
                };
                let srv = SRV::new(0, weight, port, target.clone());
                found.0.push(record(name, RData::SRV(srv)));
                found.1.push(record(&target, RData::A(A(ip))));
            }
            found
        }
        (Entry::Text(text), RecordType::TXT | RecordType::ANY) => (
            vec![record(name, RData::TXT(TXT::new(vec![text.to_owned()])))],
            vec![],
        ),
        _ => (vec![], vec![]),
    }
}

/// The address of `4.3.2.1.in-addr.arpa.`
fn reverse_address(name: &Name) -> Option<Ipv4Addr> {
    let text = name.to_ascii();
    let digits = text.strip_suffix(".in-addr.arpa.")?;
    let mut octets: [u8; 4] = [0; 4];
    let mut labels = digits.split('.');
    for octet in octets.iter_mut().rev() {
        *octet = labels.next()?.parse().ok()?;
    }
    labels.next().is_none().then(|| octets.into())
}
