//! Ingresses, their classes, and NetworkPolicies.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Errors, NONE, Rules, items, kind_and_name, set, text};
use crate::convert;
use crate::core::decode_stored;
use crate::field::{self, Error};
use crate::status::Result;
use crate::write::Call;

pub(super) const INGRESS: Rules = Rules {
    prepare: ingress_prepare,
    validate: ingress_validate,
    ..NONE
};
pub(super) const INGRESS_CLASS: Rules = Rules {
    validate: class_validate,
    ..NONE
};
pub(super) const NETWORK_POLICY: Rules = Rules {
    default: policy_default,
    validate: policy_validate,
    ..NONE
};

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// On the class of Ingresses that name none.
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
/// Longest name of the controller of a class.
const CONTROLLER_BYTES_MAX: usize = 250;
const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
const POLICY_TYPES: [&str; 2] = ["Ingress", "Egress"];

/// A new Ingress that names no class gets the default one (Kubernetes' `DefaultIngressClass`).
fn ingress_prepare(call: &Call<'_>, ingress: &mut Value, old: Option<&Value>) -> Result<()> {
    let annotated = &ingress["metadata"]["annotations"][CLASS_ANNOTATION];
    let stated = annotated.is_string() || ingress["spec"]["ingressClassName"].is_string();
    if old.is_some() || stated || !ingress["spec"].is_object() {
        return Ok(());
    }
    let classes = call.core.builtin("networking.k8s.io", "ingressclasses");
    let classes = call.core.store.list(classes.id, "");
    let mut classes = classes.iter().filter_map(|class| decode_stored(class).ok());
    let is_default = |class: &Value| class["metadata"]["annotations"][DEFAULT_CLASS] == "true";
    if let Some(class) = classes.find(is_default) {
        ingress["spec"]["ingressClassName"] = class["metadata"]["name"].clone();
    }
    Ok(())
}

fn ingress_validate(ingress: &Value, old: Option<&Value>, errors: &mut Errors) {
    let mut current = ingress.clone();
    if text(&ingress["apiVersion"]).ends_with("/v1beta1") {
        convert::ingress_to_v1(&mut current);
    }
    let spec = &current["spec"];
    let rules = items(&spec["rules"]);
    if rules.is_empty() && !spec["defaultBackend"].is_object() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(Error::invalid_shown(
            "spec",
            "[]networking.IngressRule(nil)",
            detail,
        ));
    }
    if spec["defaultBackend"].is_object() {
        backend(&spec["defaultBackend"], "spec.defaultBackend", errors);
    }
    for (index, one) in rules.iter().enumerate() {
        rule(one, &format!("spec.rules[{index}]"), errors);
    }
    for (index, tls) in items(&spec["tls"]).iter().enumerate() {
        let at = format!("spec.tls[{index}]");
        for (index, one) in items(&tls["hosts"]).iter().enumerate() {
            host(one, &format!("{at}.hosts[{index}]"), errors);
        }
        if !text(&tls["secretName"]).is_empty() {
            subdomain(&tls["secretName"], &format!("{at}.secretName"), errors);
        }
    }
    let class = &spec["ingressClassName"];
    if class.is_string() {
        subdomain(class, "spec.ingressClassName", errors);
    }
    let annotated = &ingress["metadata"]["annotations"][CLASS_ANNOTATION];
    if old.is_none() && annotated.is_string() && class.is_string() && annotated != class {
        let field = format!("annotations.{CLASS_ANNOTATION}");
        let detail = "must match `ingressClassName` when both are specified";
        errors.push(Error::invalid(field, annotated, detail));
    }
}

fn rule(rule: &Value, field: &str, errors: &mut Errors) {
    let name = &rule["host"];
    if !text(name).is_empty() {
        let field = format!("{field}.host");
        if text(name).parse::<IpAddr>().is_ok() {
            let detail = "must be a DNS name, not an IP address";
            errors.push(Error::invalid(&*field, name, detail));
        }
        host(name, &field, errors);
    }
    if !rule["http"].is_object() {
        return;
    }
    let paths = items(&rule["http"]["paths"]);
    if paths.is_empty() {
        errors.push(Error::required(format!("{field}.http.paths"), ""));
    }
    for (index, one) in paths.iter().enumerate() {
        path(one, &format!("{field}.http.paths[{index}]"), errors);
    }
}

/// A host, or all below one.
fn host(host: &Value, field: &str, errors: &mut Errors) {
    let wrong = match text(host).contains('*') {
        true => field::wildcard_subdomain(text(host)),
        false => field::dns_subdomain(text(host)),
    };
    for wrong in wrong {
        errors.push(Error::invalid(field, host, &wrong));
    }
}

fn path(path: &Value, field: &str, errors: &mut Errors) {
    let at = |key: &str| format!("{field}.{key}");
    let (given, kind) = (text(&path["path"]), text(&path["pathType"]));
    let shown = given.into();
    let mut wrong = |detail: &str| errors.push(Error::invalid(at("path"), &shown, detail));
    match kind {
        "" => {
            let detail = "pathType must be specified";
            errors.push(Error::required(at("pathType"), detail));
            return;
        }
        "Exact" | "Prefix" => {
            if !given.starts_with('/') {
                wrong("must be an absolute path");
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"] {
                if given.contains(part) {
                    wrong(&format!("must not contain '{part}'"));
                }
            }
            for end in ["/..", "/."] {
                if given.ends_with(end) {
                    wrong(&format!("cannot end with '{end}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !given.is_empty() && !given.starts_with('/') {
                wrong("must be an absolute path");
            }
        }
        other => {
            let other = other.into();
            errors.push(Error::not_supported(at("pathType"), &other, &PATH_TYPES));
        }
    }
    backend(&path["backend"], &at("backend"), errors);
}

fn backend(backend: &Value, field: &str, errors: &mut Errors) {
    let (resource, service) = (&backend["resource"], &backend["service"]);
    let mut wrong = |detail: &str| errors.push(Error::invalid(field, &"".into(), detail));
    match (resource.is_object(), service.is_object()) {
        (true, true) => wrong("cannot set both resource and service backends"),
        (false, false) => wrong("resource or service backend is required"),
        (true, false) => reference(resource, &format!("{field}.resource"), errors),
        (false, true) => service_backend(service, field, errors),
    }
}

fn service_backend(service: &Value, field: &str, errors: &mut Errors) {
    let name = &service["name"];
    let at = format!("{field}.service.name");
    if text(name).is_empty() {
        errors.push(Error::required(at, ""));
    } else {
        for wrong in field::dns1035_label(text(name)) {
            errors.push(Error::invalid(&*at, name, &wrong));
        }
    }
    let port = &service["port"];
    let number = port["number"].as_i64().unwrap_or(0);
    match (text(&port["name"]), number) {
        ("", 0) => errors.push(Error::required(field, "port name or number is required")),
        ("", _) => port_number(
            &port["number"],
            &format!("{field}.service.port.number"),
            errors,
        ),
        (_, 0) => port_name(&port["name"], &format!("{field}.service.port.name"), errors),
        _ => {
            let detail = "cannot set both port name & port number";
            errors.push(Error::invalid(field, &"".into(), detail));
        }
    }
}

/// A reference to an object of any kind.
fn reference(reference: &Value, field: &str, errors: &mut Errors) {
    if reference["apiGroup"].is_string() {
        subdomain(&reference["apiGroup"], &format!("{field}.apiGroup"), errors);
    }
    kind_and_name(reference, field, errors);
}

fn class_validate(class: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &class["spec"];
    let controller = &spec["controller"];
    let field = "spec.controller";
    if text(controller).is_empty() {
        errors.push(Error::required(field, ""));
    } else if text(controller).len() > CONTROLLER_BYTES_MAX {
        errors.push(Error::too_long(field, CONTROLLER_BYTES_MAX));
    } else if !text(controller).contains('/') {
        let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.push(Error::invalid(field, controller, detail));
    }
    if old.is_some_and(|old| old["spec"]["controller"] != *controller) {
        errors.push(Error::invalid(field, controller, "field is immutable"));
    }
    let parameters = &spec["parameters"];
    if !parameters.is_object() {
        return;
    }
    reference(parameters, "spec.parameters", errors);
    let namespace = "spec.parameters.namespace";
    match text(&parameters["scope"]) {
        "Namespace" if parameters["namespace"].is_null() => {
            let detail = "`parameters.scope` is set to 'Namespace'";
            errors.push(Error::required(namespace, detail));
        }
        "Cluster" if !parameters["namespace"].is_null() => {
            let detail = "`parameters.scope` is set to 'Cluster'";
            errors.push(Error::forbidden(namespace, detail));
        }
        // The cluster unless it is said.
        "Namespace" | "Cluster" | "" => {}
        other => {
            let allowed = ["Cluster", "Namespace"];
            let field = "spec.parameters.scope";
            errors.push(Error::not_supported(field, &other.into(), &allowed));
        }
    }
}

fn policy_default(policy: &mut Value) {
    let Some(spec) = policy.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    let types = match items(&spec["egress"]).is_empty() {
        true => json!(["Ingress"]),
        false => json!(["Ingress", "Egress"]),
    };
    set(spec, "policyTypes", types);
    for direction in ["ingress", "egress"] {
        for rule in super::items_mut(&mut spec[direction]) {
            for port in super::items_mut(&mut rule["ports"]) {
                set(port, "protocol", "TCP");
            }
            prune(rule, "ports");
        }
        prune(spec, direction);
    }
}

/// Looking at what is not there leaves a null behind.
fn prune(object: &mut Value, key: &str) {
    if let Some(fields) = object.as_object_mut()
        && fields.get(key).is_some_and(Value::is_null)
    {
        fields.remove(key);
    }
}

fn policy_validate(policy: &Value, _old: Option<&Value>, errors: &mut Errors) {
    let spec = &policy["spec"];
    super::selector::validate(&spec["podSelector"], "spec.podSelector", errors);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in items(&spec[direction]).iter().enumerate() {
            let field = format!("spec.{direction}[{index}]");
            for (index, port) in items(&rule["ports"]).iter().enumerate() {
                policy_port(port, &format!("{field}.ports[{index}]"), errors);
            }
            for (index, one) in items(&rule[peers]).iter().enumerate() {
                peer(one, &format!("{field}.{peers}[{index}]"), errors);
            }
        }
    }
    let types = &spec["policyTypes"];
    if items(types).len() > POLICY_TYPES.len() {
        let detail = "may not specify more than two policyTypes";
        errors.push(Error::invalid("spec.policyTypes", types, detail));
        return;
    }
    for (index, one) in items(types).iter().enumerate() {
        if !POLICY_TYPES.contains(&text(one)) {
            let field = format!("spec.policyTypes[{index}]");
            errors.push(Error::not_supported(field, one, &POLICY_TYPES));
        }
    }
}

fn policy_port(port: &Value, field: &str, errors: &mut Errors) {
    let protocol = &port["protocol"];
    if protocol.is_string() && !PROTOCOLS.contains(&text(protocol)) {
        let field = format!("{field}.protocol");
        errors.push(Error::not_supported(field, protocol, &PROTOCOLS));
    }
    let (at, end) = (format!("{field}.port"), &port["endPort"]);
    let mut wrong_end = |detail: &str| {
        if !end.is_null() {
            errors.push(Error::invalid(format!("{field}.endPort"), end, detail));
        }
    };
    match &port["port"] {
        Value::Null => wrong_end("may not be specified when `port` is not specified"),
        Value::String(_) => {
            wrong_end("may not be specified when `port` is non-numeric");
            port_name(&port["port"], &at, errors);
        }
        number => {
            if end.as_i64() < number.as_i64() {
                wrong_end("must be greater than or equal to `port`");
            }
            port_number(number, &at, errors);
            if !end.is_null() {
                port_number(end, &format!("{field}.endPort"), errors);
            }
        }
    }
}

fn peer(peer: &Value, field: &str, errors: &mut Errors) {
    let selectors = ["podSelector", "namespaceSelector"];
    let given = selectors.iter().filter(|key| peer[**key].is_object());
    for key in given.clone() {
        super::selector::validate(&peer[*key], &format!("{field}.{key}"), errors);
    }
    let block = &peer["ipBlock"];
    match (block.is_object(), given.count()) {
        (false, 0) => errors.push(Error::required(field, "must specify a peer")),
        (false, _) => {}
        (true, others) => {
            ip_block(block, &format!("{field}.ipBlock"), errors);
            if others > 0 {
                let detail = "may not specify both ipBlock and another peer";
                errors.push(Error::forbidden(field, detail));
            }
        }
    }
}

fn ip_block(block: &Value, field: &str, errors: &mut Errors) {
    let at = format!("{field}.cidr");
    if text(&block["cidr"]).is_empty() {
        errors.push(Error::required(at, ""));
        return;
    }
    let Some(whole) = network(&block["cidr"], &at, errors) else {
        return;
    };
    for (index, except) in items(&block["except"]).iter().enumerate() {
        let at = format!("{field}.except[{index}]");
        let Some(part) = network(except, &at, errors) else {
            continue;
        };
        if !is_strict_subset(part, whole) {
            let detail = "must be a strict subset of `cidr`";
            errors.push(Error::invalid(at, except, detail));
        }
    }
}

/// An address and how many of its bits are the network's.
type Network = (IpAddr, u32);

fn network(value: &Value, field: &str, errors: &mut Errors) -> Option<Network> {
    let parsed = text(value).split_once('/').and_then(|(address, bits)| {
        let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse::<u32>().ok()?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some((address, bits))
    });
    if parsed.is_none() {
        let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        errors.push(Error::invalid(field, value, detail));
    }
    parsed
}

fn is_strict_subset((part, part_bits): Network, (whole, bits): Network) -> bool {
    let same = match (part, whole) {
        (IpAddr::V4(part), IpAddr::V4(whole)) => {
            let rest = 32 - bits;
            part.to_bits().checked_shr(rest) == whole.to_bits().checked_shr(rest)
        }
        (IpAddr::V6(part), IpAddr::V6(whole)) => {
            let rest = 128 - bits;
            part.to_bits().checked_shr(rest) == whole.to_bits().checked_shr(rest)
        }
        _ => false,
    };
    same && part_bits > bits
}

fn subdomain(value: &Value, field: &str, errors: &mut Errors) {
    for wrong in field::dns_subdomain(text(value)) {
        errors.push(Error::invalid(field, value, &wrong));
    }
}

fn port_number(port: &Value, field: &str, errors: &mut Errors) {
    if !port
        .as_i64()
        .is_some_and(|port| (1..=65_535).contains(&port))
    {
        let detail = "must be between 1 and 65535, inclusive";
        errors.push(Error::invalid(field, port, detail));
    }
}

fn port_name(name: &Value, field: &str, errors: &mut Errors) {
    for wrong in field::port_name(text(name)) {
        errors.push(Error::invalid(field, name, &wrong));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    fn ingress(path: &str, kind: &str, service: Value) -> Value {
        let path = json!({"path": path, "pathType": kind, "backend": {"service": service}});
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "spec": {"rules": [{"host": "a.example.com", "http": {"paths": [path]}}]},
        })
    }

    #[test]
    fn ingresses_lead_somewhere() {
        let web = || json!({"name": "web", "port": {"number": 80}});
        let says = |object: &Value, expected: &str| {
            check(ingress_validate, object, None, expected);
        };
        says(&ingress("/", "Prefix", web()), "");
        says(&ingress("", "ImplementationSpecific", web()), "");
        says(
            &ingress("a//b", "Exact", web()),
            "[spec.rules[0].http.paths[0].path: Invalid value: \"a//b\": must be an absolute \
             path, spec.rules[0].http.paths[0].path: Invalid value: \"a//b\": must not contain \
             '//']",
        );
        says(
            &ingress("/", "Regex", web()),
            "spec.rules[0].http.paths[0].pathType: Unsupported value: \"Regex\": supported \
             values: \"Exact\", \"ImplementationSpecific\", \"Prefix\"",
        );
        says(
            &ingress("/", "Prefix", json!({"name": "web"})),
            "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
        );
        let both = json!({"name": "web", "port": {"number": 80, "name": "http"}});
        says(
            &ingress("/", "Prefix", both),
            "spec.rules[0].http.paths[0].backend: Invalid value: \"\": cannot set both port name \
             & port number",
        );
        says(
            &json!({"apiVersion": "networking.k8s.io/v1", "spec": {}}),
            "spec: Invalid value: []networking.IngressRule(nil): either `defaultBackend` or \
             `rules` must be specified",
        );
        let mut wild = ingress("/", "Prefix", web());
        wild["spec"]["rules"][0]["host"] = json!("*.example.com");
        says(&wild, "");
        wild["spec"]["rules"][0]["host"] = json!("10.0.0.1");
        says(
            &wild,
            "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address",
        );
        let old = json!({"apiVersion": "extensions/v1beta1", "spec": {"backend":
            {"serviceName": "web", "servicePort": 80}}});
        says(&old, "");
    }

    #[test]
    fn policies_name_peers_and_ports() {
        let says = |rule: Value, expected: &str| {
            let mut policy = json!({"spec": {"podSelector": {}, "ingress": [rule]}});
            policy_default(&mut policy);
            check(policy_validate, &policy, None, expected);
        };
        says(json!({}), "");
        says(
            json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}),
            "",
        );
        says(
            json!({"from": [{}]}),
            "spec.ingress[0].from[0]: Required value: must specify a peer",
        );
        says(
            json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.1.0.0/24"]}}]}),
            "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"10.1.0.0/24\": must be a \
             strict subset of `cidr`",
        );
        says(
            json!({"from": [{"ipBlock": {"cidr": "all"}}]}),
            "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"all\": must be a valid CIDR \
             value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        );
        says(
            json!({"ports": [{"port": 80, "endPort": 79}]}),
            "spec.ingress[0].ports[0].endPort: Invalid value: 79: must be greater than or equal \
             to `port`",
        );
        says(
            json!({"ports": [{"port": "web", "protocol": "ICMP"}]}),
            "spec.ingress[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \
             \"TCP\", \"UDP\", \"SCTP\"",
        );
    }

    #[test]
    fn classes_have_a_controller_that_stays() {
        let class = |controller: &str| json!({"spec": {"controller": controller}});
        check(class_validate, &class("a.io/b"), None, "");
        check(
            class_validate,
            &class("a.io/c"),
            Some(&class("a.io/b")),
            "spec.controller: Invalid value: \"a.io/c\": field is immutable",
        );
    }
}
