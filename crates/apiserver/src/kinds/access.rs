//! Roles and their bindings.

use serde_json::Value;

use super::{Errors, NONE, Rules, items, set, text};
use crate::field::{self, Error};

pub(super) const RULES: Rules = Rules {
    default,
    validate,
    ..NONE
};

const GROUP: &str = "rbac.authorization.k8s.io";

fn default(object: &mut Value) {
    if !object["roleRef"].is_object() {
        return;
    }
    set(&mut object["roleRef"], "apiGroup", GROUP);
    for subject in super::items_mut(&mut object["subjects"]) {
        match text(&subject["kind"]) {
            "User" | "Group" => set(subject, "apiGroup", GROUP),
            _ => {}
        }
    }
}

fn validate(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let kind = text(&object["kind"]);
    let is_namespaced = !kind.starts_with("Cluster");
    if kind.ends_with("Binding") {
        binding(object, is_namespaced, old, errors);
        return;
    }
    for (index, one) in items(&object["rules"]).iter().enumerate() {
        rule(one, is_namespaced, &format!("rules[{index}]"), errors);
    }
    let aggregation = &object["aggregationRule"];
    if aggregation.is_object() && items(&aggregation["clusterRoleSelectors"]).is_empty() {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        let field = "aggregationRule.clusterRoleSelectors";
        errors.push(Error::required(field, detail));
    }
}

fn rule(rule: &Value, is_namespaced: bool, field: &str, errors: &mut Errors) {
    let of = |key: &str| items(&rule[key]);
    let required = |key: &str, detail: &str| Error::required(format!("{field}.{key}"), detail);
    if of("verbs").is_empty() {
        errors.push(required("verbs", "verbs must contain at least one value"));
    }
    let urls = &rule["nonResourceURLs"];
    if !items(urls).is_empty() {
        let mut wrong = |detail: &str| {
            errors.push(Error::invalid(
                format!("{field}.nonResourceURLs"),
                urls,
                detail,
            ));
        };
        if is_namespaced {
            wrong("namespaced rules cannot apply to non-resource URLs");
        }
        let keys = ["apiGroups", "resources", "resourceNames"];
        if keys.iter().any(|key| !of(key).is_empty()) {
            wrong("rules cannot apply to both regular resources and non-resource URLs");
        }
        return;
    }
    if of("apiGroups").is_empty() {
        let detail = "resource rules must supply at least one api group";
        errors.push(required("apiGroups", detail));
    }
    if of("resources").is_empty() {
        let detail = "resource rules must supply at least one resource";
        errors.push(required("resources", detail));
    }
    if !of("resourceNames").is_empty() && of("resources").len() > 1 {
        let detail = "resource names cannot apply to multiple resources";
        errors.push(required("resourceNames", detail));
    }
}

fn binding(object: &Value, is_namespaced: bool, old: Option<&Value>, errors: &mut Errors) {
    let reference = &object["roleRef"];
    if reference["apiGroup"] != GROUP {
        let group = string(&reference["apiGroup"]);
        errors.push(Error::not_supported("roleRef.apiGroup", &group, &[GROUP]));
    }
    let allowed: &[&str] = match is_namespaced {
        true => &["Role", "ClusterRole"],
        false => &["ClusterRole"],
    };
    if !allowed.contains(&text(&reference["kind"])) {
        let kind = string(&reference["kind"]);
        errors.push(Error::not_supported("roleRef.kind", &kind, allowed));
    }
    let name = text(&reference["name"]);
    if name.is_empty() {
        errors.push(Error::required("roleRef.name", ""));
    }
    for wrong in field::path_segment(name) {
        errors.push(Error::invalid("roleRef.name", &reference["name"], &wrong));
    }
    for (index, one) in items(&object["subjects"]).iter().enumerate() {
        subject(one, is_namespaced, &format!("subjects[{index}]"), errors);
    }
    if old.is_some_and(|old| old["roleRef"] != *reference) {
        let shown = format!(
            "rbac.RoleRef{{APIGroup:{}, Kind:{}, Name:{}}}",
            string(&reference["apiGroup"]),
            string(&reference["kind"]),
            string(&reference["name"]),
        );
        let detail = "cannot change roleRef";
        errors.push(Error::invalid_shown("roleRef", &shown, detail));
    }
}

fn subject(subject: &Value, is_namespaced: bool, field: &str, errors: &mut Errors) {
    let at = |key: &str| format!("{field}.{key}");
    let (kind, name) = (text(&subject["kind"]), text(&subject["name"]));
    let group = string(&subject["apiGroup"]);
    if name.is_empty() {
        errors.push(Error::required(at("name"), ""));
    }
    match kind {
        "ServiceAccount" => {
            if !name.is_empty() {
                for wrong in field::dns_subdomain(name) {
                    errors.push(Error::invalid(at("name"), &subject["name"], &wrong));
                }
            }
            if group != "" {
                errors.push(Error::not_supported(at("apiGroup"), &group, &[""]));
            }
            if !is_namespaced && text(&subject["namespace"]).is_empty() {
                errors.push(Error::required(at("namespace"), ""));
            }
        }
        "User" | "Group" => {
            if name.is_empty() {
                let detail = format!("{} name cannot be empty", kind.to_lowercase());
                errors.push(Error::invalid(at("name"), &"".into(), &detail));
            }
            if group != GROUP {
                errors.push(Error::not_supported(at("apiGroup"), &group, &[GROUP]));
            }
        }
        _ => {
            let allowed = ["ServiceAccount", "User", "Group"];
            let kind = string(&subject["kind"]);
            errors.push(Error::not_supported(at("kind"), &kind, &allowed));
        }
    }
}

/// A string that may be left out.
fn string(value: &Value) -> Value {
    text(value).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::check;
    use super::*;

    #[test]
    fn rules_are_of_resources_or_of_addresses() {
        let role = |kind: &str, rule: Value| json!({"kind": kind, "rules": [rule]});
        let whole = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
        check(validate, &role("Role", whole), None, "");
        let empty = role("Role", json!({"apiGroups": [], "resources": []}));
        check(
            validate,
            &empty,
            None,
            "[rules[0].verbs: Required value: verbs must contain at least one value, \
             rules[0].apiGroups: Required value: resource rules must supply at least one api group, \
             rules[0].resources: Required value: resource rules must supply at least one resource]",
        );
        let urls = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz"]});
        check(validate, &role("ClusterRole", urls.clone()), None, "");
        check(
            validate,
            &role("Role", urls),
            None,
            "rules[0].nonResourceURLs: Invalid value: []string{\"/healthz\"}: namespaced rules \
             cannot apply to non-resource URLs",
        );
        let names = json!({"verbs": ["get"], "apiGroups": [""],
            "resources": ["pods", "secrets"], "resourceNames": ["a"]});
        check(
            validate,
            &role("Role", names),
            None,
            "rules[0].resourceNames: Required value: resource names cannot apply to multiple \
             resources",
        );
    }

    #[test]
    fn a_binding_stays_with_its_role() {
        let binding = |kind: &str, role: &str, subjects: Value| {
            let reference = json!({"kind": "ClusterRole", "name": role});
            let mut object = json!({"kind": kind, "roleRef": reference, "subjects": subjects});
            default(&mut object);
            object
        };
        let user = json!([{"kind": "User", "name": "u"}]);
        let one = binding("RoleBinding", "one", user.clone());
        check(validate, &one, Some(&one), "");
        check(
            validate,
            &binding("RoleBinding", "two", user),
            Some(&one),
            "roleRef: Invalid value: rbac.RoleRef{APIGroup:\"rbac.authorization.k8s.io\", \
             Kind:\"ClusterRole\", Name:\"two\"}: cannot change roleRef",
        );
        let account =
            json!([{"kind": "ServiceAccount", "name": "a"}, {"kind": "Robot", "name": "r"}]);
        check(
            validate,
            &binding("ClusterRoleBinding", "one", account),
            None,
            "[subjects[0].namespace: Required value, subjects[1].kind: Unsupported value: \
             \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\"]",
        );
        let mut role = binding("ClusterRoleBinding", "a/b", json!([]));
        role["roleRef"]["kind"] = json!("Role");
        check(
            validate,
            &role,
            None,
            "[roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\", \
             roleRef.name: Invalid value: \"a/b\": may not contain '/']",
        );
    }
}
