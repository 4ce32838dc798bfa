//! Services. Addresses and node ports are given out by [`crate::alloc`].

use serde_json::{Value, json};

use super::{Errors, Rules, items, items_mut, set, text};
use crate::field::Error;
use crate::status::Result;
use crate::write::Call;

pub(super) const RULES: Rules = Rules {
    default,
    prepare,
    validate,
};

fn default(service: &mut Value) {
    let spec = &mut service["spec"];
    if !spec.is_object() {
        return;
    }
    set(spec, "type", "ClusterIP");
    set(spec, "sessionAffinity", "None");
    if spec["sessionAffinity"] == "ClientIP" {
        set(
            spec,
            "sessionAffinityConfig",
            json!({"clientIP": {"timeoutSeconds": 10800}}),
        );
    }
    if spec.get("ports").is_some() {
        for port in items_mut(&mut spec["ports"]) {
            set(port, "protocol", "TCP");
            let number = port["port"].clone();
            if port["targetPort"].is_null() || port["targetPort"] == 0 || port["targetPort"] == "" {
                port["targetPort"] = number;
            }
        }
    }
    if spec["type"] == "ExternalName" {
        return;
    }
    set(spec, "internalTrafficPolicy", "Cluster");
    set(spec, "ipFamilies", json!(["IPv4"]));
    set(spec, "ipFamilyPolicy", "SingleStack");
    if matches!(text(&spec["type"]), "NodePort" | "LoadBalancer") {
        set(spec, "externalTrafficPolicy", "Cluster");
    }
    if spec["type"] == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
}

fn prepare(_call: &Call<'_>, service: &mut Value, old: Option<&Value>) -> Result<()> {
    set(service, "status", json!({"loadBalancer": {}}));
    let Some(old) = old else { return Ok(()) };
    if service["spec"]["type"] == "ExternalName" {
        return Ok(());
    }
    // An update that leaves out what was allocated keeps it.
    if text(&service["spec"]["clusterIP"]).is_empty() && old["spec"]["clusterIP"].is_string() {
        service["spec"]["clusterIP"] = old["spec"]["clusterIP"].clone();
        service["spec"]["clusterIPs"] = old["spec"]["clusterIPs"].clone();
    }
    let before = old["spec"]["ports"].clone();
    if service["spec"].get("ports").is_some() {
        for port in items_mut(&mut service["spec"]["ports"]) {
            let same = |other: &&Value| {
                other["port"] == port["port"] && other["protocol"] == port["protocol"]
            };
            let known = items(&before)
                .iter()
                .find(same)
                .map(|other| other["nodePort"].clone());
            if let Some(number) = known.filter(Value::is_number) {
                set(port, "nodePort", number);
            }
        }
    }
    Ok(())
}

fn validate(service: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &service["spec"];
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    let kind = text(&spec["type"]);
    if !kinds.contains(&kind) {
        errors.push(Error::not_supported("spec.type", &spec["type"], &kinds));
    }
    let headless = spec["clusterIP"] == "None";
    if kind == "ExternalName" {
        if text(&spec["externalName"]).is_empty() {
            errors.push(Error::required("spec.externalName", ""));
        }
    } else if items(&spec["ports"]).is_empty() && !headless {
        errors.push(Error::required("spec.ports", ""));
    }
    if headless && matches!(kind, "NodePort" | "LoadBalancer") {
        let detail = format!("may not be set to 'None' for {kind} services");
        errors.push(Error::invalid(
            "spec.clusterIPs[0]",
            &spec["clusterIP"],
            &detail,
        ));
    }
    let affinities = ["ClientIP", "None"];
    if !affinities.contains(&text(&spec["sessionAffinity"])) && spec["sessionAffinity"].is_string()
    {
        errors.push(Error::not_supported(
            "spec.sessionAffinity",
            &spec["sessionAffinity"],
            &affinities,
        ));
    }
    super::metadata::labels(&spec["selector"], "spec.selector", errors);
    ports(&spec["ports"], errors);
    let Some(old) = old else { return };
    let address = |service: &Value| text(&service["spec"]["clusterIP"]).to_owned();
    let (before, after) = (address(old), address(service));
    let addressed = kind != "ExternalName" && old["spec"]["type"] != "ExternalName";
    if addressed && !before.is_empty() && before != after {
        let value = service["spec"]["clusterIPs"].clone();
        let value = if value.is_array() {
            value
        } else {
            json!([after])
        };
        errors.push(Error::invalid(
            "spec.clusterIPs[0]",
            &value,
            "may not change once set",
        ));
    }
}

fn ports(ports: &Value, errors: &mut Errors) {
    let (mut names, mut numbers) = (Vec::new(), Vec::new());
    let several = items(ports).len() > 1;
    for (index, port) in items(ports).iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        let name = text(&port["name"]);
        if several && name.is_empty() {
            errors.push(Error::required(format!("{field}.name"), ""));
        }
        if !name.is_empty() {
            for wrong in crate::field::dns_label(name) {
                errors.push(Error::invalid(
                    format!("{field}.name"),
                    &port["name"],
                    &wrong,
                ));
            }
            if names.contains(&name) {
                errors.push(Error::duplicate(format!("{field}.name"), &port["name"]));
            }
            names.push(name);
        }
        if !port["port"]
            .as_i64()
            .is_some_and(|number| (1..=65535).contains(&number))
        {
            let detail = "must be between 1 and 65535, inclusive";
            let value = if port["port"].is_null() {
                json!(0)
            } else {
                port["port"].clone()
            };
            errors.push(Error::invalid(format!("{field}.port"), &value, detail));
        }
        let protocols = ["SCTP", "TCP", "UDP"];
        if !protocols.contains(&text(&port["protocol"])) {
            let field = format!("{field}.protocol");
            errors.push(Error::not_supported(field, &port["protocol"], &protocols));
        }
        let number = (port["port"].as_i64(), text(&port["protocol"]).to_owned());
        if numbers.contains(&number) {
            errors.push(Error::duplicate(field, port));
        }
        numbers.push(number);
    }
}
