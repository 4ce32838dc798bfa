//! Cluster addresses and node ports of Services.
//!
//! The set of those in use is rebuilt from the stored Services at the start; a write takes what it
//! needs before it is stored and gives it back when it fails.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use api::object::ObjectExt;
use serde_json::{Value, json};

use crate::field;
use crate::resource::Resource;
use crate::status::{Result, Status};

/// Ports of NodePort Services.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// What is handed out.
pub(crate) struct Allocator {
    base: u32,
    size: u32,
    cidr: String,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    addresses: BTreeSet<u32>,
    ports: BTreeSet<u16>,
    next: u32,
}

impl Allocator {
    /// An allocator for an IPv4 range such as `10.43.0.0/16`.
    pub(crate) fn new(cidr: &str) -> Option<Self> {
        let (base, bits) = cidr.split_once('/')?;
        let (base, bits) = (base.parse::<Ipv4Addr>().ok()?, bits.parse::<u32>().ok()?);
        if !(8..=30).contains(&bits) {
            return None;
        }
        let size = 1u32 << (32 - bits);
        let base = u32::from(base) & !(size - 1);
        let used = Used {
            next: 10,
            ..Used::default()
        };
        Some(Self {
            base,
            size,
            cidr: cidr.to_owned(),
            used: Mutex::new(used),
        })
    }

    /// The first address: the API server's own Service.
    pub(crate) fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.base + 1)
    }

    /// Marks what a stored Service uses.
    pub(crate) fn occupy(&self, service: &Value) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        for address in addresses(service) {
            used.addresses.insert(address.into());
        }
        used.ports.extend(ports(service));
    }

    /// Frees what a removed Service used.
    pub(crate) fn release(&self, resource: &Resource, service: &Value) {
        if !resource.is("", "services") {
            return;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        for address in addresses(service) {
            used.addresses.remove(&address.into());
        }
        for port in ports(service) {
            used.ports.remove(&port);
        }
    }

    /// Gives a Service the address and ports it lacks, or takes the ones it asks for.
    pub(crate) fn allocate(
        &self,
        resource: &Resource,
        name: &str,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Result<()> {
        if !resource.is("", "services") || service["metadata"]["deletionTimestamp"].is_string() {
            return Ok(());
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let invalid = |error: field::Error| Status::invalid(resource, name, &[error]);
        if let Some(old) = old {
            for address in addresses(old) {
                used.addresses.remove(&address.into());
            }
            for port in ports(old) {
                used.ports.remove(&port);
            }
        }
        let result = self
            .take_address(&mut used, service)
            .and_then(|()| take_ports(&mut used, service));
        if let (Err(_), Some(old)) = (&result, old) {
            used.addresses.extend(addresses(old).map(u32::from));
            used.ports.extend(ports(old));
        }
        result.map_err(invalid)
    }

    fn take_address(&self, used: &mut Used, service: &mut Value) -> Result<(), field::Error> {
        let spec = &mut service["spec"];
        if spec["type"] == "ExternalName" {
            return Ok(());
        }
        let asked = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
        match &*asked {
            "None" => spec["clusterIPs"] = json!(["None"]),
            "" => {
                let address = self.free(used).ok_or_else(|| {
                    let why = "failed to allocate IP: range is full";
                    field::Error::invalid("spec.clusterIPs", &Value::Array(Vec::new()), why)
                })?;
                used.addresses.insert(address);
                let text = Ipv4Addr::from(address).to_string();
                spec["clusterIP"] = text.as_str().into();
                spec["clusterIPs"] = json!([text]);
            }
            stated => {
                let invalid =
                    |why: &str| field::Error::invalid("spec.clusterIPs", &json!([stated]), why);
                let address: Ipv4Addr = stated.parse().map_err(|_| {
                    invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
                })?;
                let number = u32::from(address);
                if number.wrapping_sub(self.base) >= self.size {
                    return Err(invalid(&format!(
                        "failed to allocate IP {stated}: the provided IP ({stated}) is not in the \
                         valid range. The range of valid IPs is {}",
                        self.cidr
                    )));
                }
                if !used.addresses.insert(number) {
                    return Err(invalid(&format!(
                        "failed to allocate IP {stated}: provided IP is already allocated"
                    )));
                }
                spec["clusterIPs"] = json!([stated]);
            }
        }
        Ok(())
    }

    fn free(&self, used: &mut Used) -> Option<u32> {
        for _ in 0..self.size {
            let offset = used.next;
            used.next = if used.next + 2 >= self.size {
                2
            } else {
                used.next + 1
            };
            let address = self.base + offset;
            if offset > 1 && offset + 1 < self.size && !used.addresses.contains(&address) {
                return Some(address);
            }
        }
        None
    }
}

fn take_ports(used: &mut Used, service: &mut Value) -> Result<(), field::Error> {
    if is_gateway(service) {
        return Ok(());
    }
    let wanted = matches!(
        service["spec"]["type"].as_str(),
        Some("NodePort" | "LoadBalancer")
    );
    let ports = service["spec"]["ports"].as_array_mut();
    for (index, port) in ports.into_iter().flatten().enumerate() {
        if !wanted {
            port.as_object_mut().map(|port| port.remove("nodePort"));
            continue;
        }
        let field = format!("spec.ports[{index}].nodePort");
        match port["nodePort"].as_u64().unwrap_or_default() {
            0 => {
                let free = NODE_PORTS
                    .into_iter()
                    .find(|port| !used.ports.contains(port));
                let free = free.ok_or_else(|| {
                    field::Error::invalid(
                        &*field,
                        &0.into(),
                        "failed to allocate a nodePort: range is full",
                    )
                })?;
                used.ports.insert(free);
                port["nodePort"] = free.into();
            }
            stated => {
                let number = u16::try_from(stated).unwrap_or_default();
                if !NODE_PORTS.contains(&number) {
                    let why = "provided port is not in the valid range. The range of valid ports \
                               is 30000-32767";
                    return Err(field::Error::invalid(field, &stated.into(), why));
                }
                if !used.ports.insert(number) {
                    let why = "provided port is already allocated";
                    return Err(field::Error::invalid(field, &stated.into(), why));
                }
            }
        }
    }
    Ok(())
}

fn addresses(service: &Value) -> impl Iterator<Item = Ipv4Addr> {
    service["spec"]["clusterIP"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .into_iter()
}

/// A Service whose node ports are the gateway's own listeners, shared with others like it.
fn is_gateway(service: &Value) -> bool {
    service.annotation(api::bootstrap::GATEWAY_PORTS).is_some()
}

fn ports(service: &Value) -> impl Iterator<Item = u16> {
    let service = if is_gateway(service) {
        &Value::Null
    } else {
        service
    };
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    ports
        .filter_map(|port| u16::try_from(port["nodePort"].as_u64()?).ok())
        .filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_given_once() {
        let allocator = Allocator::new("10.43.0.0/29").unwrap();
        assert_eq!(allocator.first().to_string(), "10.43.0.1");
        let mut used = Used::default();
        let mut given = Vec::new();
        while let Some(address) = allocator.free(&mut used) {
            used.addresses.insert(address);
            given.push(address - allocator.base);
        }
        given.sort_unstable();
        assert_eq!(given, [2, 3, 4, 5, 6]);
    }
}
