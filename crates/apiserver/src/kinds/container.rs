//! What Kubernetes' validation says of one container of a Pod. Called for each by [`super::pod`].

use std::collections::BTreeSet;

use api::probe::TIMES;
use api::quantity::Quantity;
use serde_json::Value;

use super::pod::one_of;
use super::{Errors, items, text};
use crate::field::{self, Error};

/// Adds what is wrong with a container, whose path is `field`, in a Pod of these volumes.
pub(super) fn validate(
    container: &Value,
    field: &str,
    volumes: &BTreeSet<&str>,
    errors: &mut Errors,
) {
    let name = text(&container["name"]);
    if name.is_empty() {
        errors.push(Error::required(format!("{field}.name"), ""));
    } else {
        for wrong in field::dns_label(name) {
            errors.push(Error::invalid(
                format!("{field}.name"),
                &container["name"],
                &wrong,
            ));
        }
    }
    let image = text(&container["image"]);
    if image.is_empty() {
        errors.push(Error::required(format!("{field}.image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(Error::invalid(
            format!("{field}.image"),
            &container["image"],
            detail,
        ));
    }
    let policies = ["Always", "IfNotPresent", "Never"];
    one_of(container, "imagePullPolicy", field, &policies, errors);
    ports(&container["ports"], &format!("{field}.ports"), errors);
    env(&container["env"], &format!("{field}.env"), errors);
    let asked = format!("{field}.resources");
    resources(&container["resources"], &asked, errors);
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        probe(&container[kind], &format!("{field}.{kind}"), errors);
    }
    let security = format!("{field}.securityContext");
    ids(&container["securityContext"], &security, errors);
    let mut mounts = BTreeSet::new();
    for (index, mount) in items(&container["volumeMounts"]).iter().enumerate() {
        let field = format!("{field}.volumeMounts[{index}]");
        if text(&mount["name"]).is_empty() {
            errors.push(Error::required(format!("{field}.name"), ""));
        } else if !volumes.contains(text(&mount["name"])) {
            errors.push(Error::not_found(format!("{field}.name"), &mount["name"]));
        }
        let path = text(&mount["mountPath"]);
        if path.is_empty() {
            errors.push(Error::required(format!("{field}.mountPath"), ""));
        } else if !mounts.insert(path) {
            let field = format!("{field}.mountPath");
            errors.push(Error::invalid(field, &mount["mountPath"], "must be unique"));
        }
    }
}

fn ports(ports: &Value, field: &str, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for (index, port) in items(ports).iter().enumerate() {
        let field = format!("{field}[{index}]");
        let number = &port["containerPort"];
        match number.as_i64() {
            Some(1..=65535) => {}
            None | Some(0) => errors.push(Error::required(format!("{field}.containerPort"), "")),
            Some(_) => {
                let detail = "must be between 1 and 65535, inclusive";
                errors.push(Error::invalid(
                    format!("{field}.containerPort"),
                    number,
                    detail,
                ));
            }
        }
        one_of(port, "protocol", &field, &["SCTP", "TCP", "UDP"], errors);
        let name = text(&port["name"]);
        if !name.is_empty() && !names.insert(name) {
            errors.push(Error::duplicate(format!("{field}.name"), &port["name"]));
        }
    }
}

fn env(env: &Value, field: &str, errors: &mut Errors) {
    for (index, variable) in items(env).iter().enumerate() {
        let field = format!("{field}[{index}].name");
        let name = text(&variable["name"]);
        if name.is_empty() {
            errors.push(Error::required(field, ""));
        } else if name.contains('=') || !name.chars().all(|c| c.is_ascii_graphic()) {
            let detail = "a valid environment variable name must consist only of printable ASCII \
                          characters other than '='";
            errors.push(Error::invalid(field, &variable["name"], detail));
        } else if variable["valueFrom"].is_object() && !text(&variable["value"]).is_empty() {
            let field = field.replace(".name", ".valueFrom");
            let detail = "may not be specified when `value` is not empty";
            errors.push(Error::invalid(field, &Value::from(""), detail));
        }
    }
}

/// A probe asks in one way, and at times that come.
fn probe(probe: &Value, field: &str, errors: &mut Errors) {
    if !probe.is_object() {
        return;
    }
    let ways = ["exec", "httpGet", "tcpSocket", "grpc"];
    let mut said = ways.iter().filter(|way| probe[**way].is_object());
    if said.next().is_none() {
        errors.push(Error::required(field, "must specify a handler type"));
    }
    for second in said {
        let detail = "may not specify more than 1 handler type";
        errors.push(Error::forbidden(format!("{field}.{second}"), detail));
    }
    for time in TIMES {
        at_least_zero(probe, time, field, errors);
    }
    let is_readiness = field.ends_with("readinessProbe");
    let successes = &probe["successThreshold"];
    if !is_readiness && successes.as_i64().is_some_and(|count| count > 1) {
        let field = format!("{field}.successThreshold");
        errors.push(Error::invalid(field, successes, "must be 1"));
    }
}

/// Users and groups have numbers of 31 bits.
pub(super) fn ids(context: &Value, field: &str, errors: &mut Errors) {
    for key in ["runAsUser", "runAsGroup", "fsGroup"] {
        let id = &context[key];
        if id
            .as_i64()
            .is_some_and(|id| !(0..=i64::from(i32::MAX)).contains(&id))
        {
            let detail = "must be between 0 and 2147483647, inclusive";
            errors.push(Error::invalid(format!("{field}.{key}"), id, detail));
        }
    }
}

/// A number that is not negative.
pub(super) fn at_least_zero(object: &Value, key: &str, field: &str, errors: &mut Errors) {
    if object[key].as_i64().is_some_and(|number| number < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(Error::invalid(
            format!("{field}.{key}"),
            &object[key],
            detail,
        ));
    }
}

/// No amount is negative, and nobody asks for more than its limit.
fn resources(resources: &Value, field: &str, errors: &mut Errors) {
    let amount = |list: &str, name: &str| Quantity::parse(text(&resources[list][name])).ok();
    for list in ["limits", "requests"] {
        let names = resources[list].as_object().into_iter().flatten();
        for (name, _) in names {
            let Some(asked) = amount(list, name) else {
                continue;
            };
            let shown = Value::from(asked.to_string());
            if asked.nanos() < 0 {
                let detail = "must be greater than or equal to 0";
                errors.push(Error::invalid(
                    format!("{field}.{list}[{name}]"),
                    &shown,
                    detail,
                ));
            }
            let limit = amount("limits", name).filter(|limit| list == "requests" && asked > *limit);
            if let Some(limit) = limit {
                let detail = format!("must be less than or equal to {name} limit of {limit}");
                errors.push(Error::invalid(format!("{field}.requests"), &shown, &detail));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::join;

    #[track_caller]
    fn says(check: impl FnOnce(&mut Errors), expected: &str) {
        let mut errors = Errors::new();
        check(&mut errors);
        let said = match errors.is_empty() {
            true => String::new(),
            false => join(&errors),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn probes_ask_in_one_way() {
        let check = |kind: &str, given: Value, expected: &str| {
            says(|errors| probe(&given, kind, errors), expected);
        };
        let http = json!({"port": 80});
        check("p", Value::Null, "");
        check("p", json!({"httpGet": http}), "");
        check(
            "p",
            json!({}),
            "p: Required value: must specify a handler type",
        );
        check(
            "p",
            json!({"httpGet": http, "tcpSocket": http, "periodSeconds": 1}),
            "p.tcpSocket: Forbidden: may not specify more than 1 handler type",
        );
        check(
            "p",
            json!({"httpGet": http, "periodSeconds": -1}),
            "p.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        );
        let five = json!({"httpGet": http, "successThreshold": 5});
        check("readinessProbe", five.clone(), "");
        check(
            "livenessProbe",
            five,
            "livenessProbe.successThreshold: Invalid value: 5: must be 1",
        );
    }

    #[test]
    fn users_have_numbers_of_31_bits_and_values_one_source() {
        let check =
            |given: Value, expected: &str| says(|errors| ids(&given, "s", errors), expected);
        check(json!({"runAsUser": 0, "runAsGroup": 2_147_483_647}), "");
        check(
            json!({"runAsUser": -1}),
            "s.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        );
        let both = json!([{"name": "A", "value": "a", "valueFrom": {}}]);
        says(
            |errors| env(&both, "env", errors),
            "env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        );
    }

    #[test]
    fn nobody_asks_for_more_than_its_limit() {
        let check =
            |given: Value, expected: &str| says(|errors| resources(&given, "r", errors), expected);
        check(
            json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1000m"}}),
            "",
        );
        check(
            json!({"requests": {"cpu": "3"}, "limits": {"memory": "1Ki"}}),
            "",
        );
        check(
            json!({"requests": {"cpu": "2000m"}, "limits": {"cpu": "1"}}),
            "r.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        );
        check(
            json!({"limits": {"memory": "-1Mi"}}),
            "r.limits[memory]: Invalid value: \"-1Mi\": must be greater than or equal to 0",
        );
    }
}
