//! What Kubernetes' validation says of one container of a Pod. Called for each by [`super::pod`].

use std::collections::BTreeSet;

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
    resources(
        &container["resources"],
        &format!("{field}.resources"),
        errors,
    );
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
        }
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

    #[test]
    fn nobody_asks_for_more_than_its_limit() {
        let check = |given: Value, expected: &str| {
            let mut errors = Errors::new();
            resources(&given, "r", &mut errors);
            let said = match errors.is_empty() {
                true => String::new(),
                false => join(&errors),
            };
            assert_eq!(said, expected);
        };
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
