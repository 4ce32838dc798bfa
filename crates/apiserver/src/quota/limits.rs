//! LimitRange: what containers get that say nothing, and what is too little or too much, in the
//! words of Kubernetes' LimitRanger. Pure.

use api::quantity::Quantity;
use serde_json::{Value, json};

use super::usage::{self, Amounts};
use crate::kinds::{items, text};

/// Where a Pod says what it was given.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Gives the containers of a Pod what `ranges` have as defaults for them.
pub(super) fn give(ranges: &[Value], pod: &mut Value) {
    let mut said = Vec::new();
    for range in ranges {
        let limits = items(&range["spec"]["limits"]);
        for item in limits.iter().filter(|item| item["type"] == "Container") {
            for key in ["initContainers", "containers"] {
                let containers = pod["spec"][key].as_array_mut();
                let word = key
                    .trim_end_matches("Containers")
                    .trim_end_matches("containers");
                let word = if word.is_empty() {
                    "container"
                } else {
                    "init container"
                };
                for container in containers.into_iter().flatten() {
                    give_one(item, container, word, &mut said);
                }
            }
        }
    }
    if !said.is_empty() {
        let text = format!("LimitRanger plugin set: {}", said.join("; "));
        pod["metadata"]["annotations"][ANNOTATION] = json!(text);
    }
}

fn give_one(item: &Value, container: &mut Value, word: &str, said: &mut Vec<String>) {
    let name = text(&container["name"]).to_owned();
    for (from, to) in [("defaultRequest", "requests"), ("default", "limits")] {
        let mut given = Vec::new();
        for (resource, amount) in item[from].as_object().into_iter().flatten() {
            let place = &mut container["resources"][to];
            if place[resource].is_null() {
                place[resource] = amount.clone();
                given.push(resource.as_str());
            }
        }
        if !given.is_empty() {
            let which = to.trim_end_matches('s');
            said.push(format!("{} {which} for {word} {name}", given.join(", ")));
        }
    }
}

/// What of `object` goes against `ranges`.
pub(super) fn errors(ranges: &[Value], plural: &str, object: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    for item in ranges
        .iter()
        .flat_map(|range| items(&range["spec"]["limits"]))
    {
        let kind = text(&item["type"]);
        match (kind, plural) {
            ("Container", "pods") => {
                for key in ["initContainers", "containers"] {
                    for container in items(&object["spec"][key]) {
                        let requests = usage::asked(container, "requests");
                        let limits = usage::asked(container, "limits");
                        judge(item, kind, &requests, &limits, &mut errors);
                    }
                }
            }
            ("Pod", "pods") => {
                let requests = usage::total(object, "requests");
                let limits = usage::total(object, "limits");
                judge(item, kind, &requests, &limits, &mut errors);
            }
            ("PersistentVolumeClaim", "persistentvolumeclaims") => {
                let requests = usage::amounts(&object["spec"]["resources"]["requests"]);
                claim(item, &requests, &mut errors);
            }
            _ => {}
        }
    }
    errors
}

fn judge(item: &Value, kind: &str, requests: &Amounts, limits: &Amounts, errors: &mut Vec<String>) {
    for (name, least) in usage::amounts(&item["min"]) {
        let head = format!("minimum {name} usage per {kind} is {least}");
        match (requests.get(&name), limits.get(&name)) {
            (None, _) => errors.push(format!("{head}.  No request is specified")),
            (Some(request), _) if *request < least => {
                errors.push(format!("{head}, but request is {request}"));
            }
            (_, Some(limit)) if *limit < least => {
                errors.push(format!("{head}, but limit is {limit}"));
            }
            _ => {}
        }
    }
    for (name, most) in usage::amounts(&item["max"]) {
        let head = format!("maximum {name} usage per {kind} is {most}");
        match (requests.get(&name), limits.get(&name)) {
            (_, None) => errors.push(format!("{head}.  No limit is specified")),
            (_, Some(limit)) if *limit > most => {
                errors.push(format!("{head}, but limit is {limit}"));
            }
            (Some(request), _) if *request > most => {
                errors.push(format!("{head}, but request is {request}"));
            }
            _ => {}
        }
    }
    for (name, most) in usage::amounts(&item["maxLimitRequestRatio"]) {
        let pair = (requests.get(&name), limits.get(&name));
        errors.extend(ratio(&name, kind, most, pair));
    }
}

fn ratio(
    name: &str,
    kind: &str,
    most: Quantity,
    (request, limit): (Option<&Quantity>, Option<&Quantity>),
) -> Option<String> {
    let head = format!("{name} max limit to request ratio per {kind} is {most}");
    let some = |amount: Option<&Quantity>| amount.copied().filter(|amount| amount.nanos() != 0);
    let Some(request) = some(request) else {
        return Some(format!(
            "{head}, but no request is specified or request is 0"
        ));
    };
    let Some(limit) = some(limit) else {
        return Some(format!("{head}, but no limit is specified or limit is 0"));
    };
    let ratio = limit.as_f64() / request.as_f64();
    (ratio > most.as_f64()).then(|| format!("{head}, but provided ratio is {ratio:.6}"))
}

fn claim(item: &Value, requests: &Amounts, errors: &mut Vec<String>) {
    let kind = "PersistentVolumeClaim";
    let request = requests
        .get("storage")
        .copied()
        .unwrap_or(Quantity::decimal(0));
    let bound = |which: &str| usage::amounts(&item[which]).remove("storage");
    if let Some(least) = bound("min").filter(|least| request < *least) {
        let text = format!("minimum storage usage per {kind} is {least}, but request is {request}");
        errors.push(text);
    }
    if let Some(most) = bound("max").filter(|most| request > *most) {
        let text = format!("maximum storage usage per {kind} is {most}, but request is {request}");
        errors.push(text);
    }
}

/// What a LimitRange says without saying it: defaults come from the bounds.
pub(crate) fn default(range: &mut Value) {
    let limits = range["spec"]["limits"].as_array_mut();
    for item in limits.into_iter().flatten() {
        if item["type"] != "Container" {
            continue;
        }
        for (from, to) in [
            ("max", "default"),
            ("default", "defaultRequest"),
            ("min", "defaultRequest"),
        ] {
            let amounts = item[from].clone();
            for (name, amount) in amounts.as_object().into_iter().flatten() {
                if item[to][name].is_null() {
                    item[to][name] = amount.clone();
                }
            }
        }
        if let Some(fields) = item.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(resources: Value) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[track_caller]
    fn check(item: Value, object: &Value, expected: &[&str]) {
        let range = json!({"spec": {"limits": [item]}});
        assert_eq!(errors(&[range], "pods", object), expected);
    }

    #[test]
    fn bounds_are_kept_in_kubernetes_words() {
        let bounds = json!({"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "1"},
            "maxLimitRequestRatio": {"cpu": "2"}});
        check(
            bounds.clone(),
            &pod(json!({"requests": {"cpu": "50m"}, "limits": {"cpu": "2"}})),
            &[
                "minimum cpu usage per Container is 100m, but request is 50m",
                "maximum cpu usage per Container is 1, but limit is 2",
                "cpu max limit to request ratio per Container is 2, but provided ratio is 40.000000",
            ],
        );
        check(
            bounds.clone(),
            &pod(json!({})),
            &[
                "minimum cpu usage per Container is 100m.  No request is specified",
                "maximum cpu usage per Container is 1.  No limit is specified",
                "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
            ],
        );
        let fits = pod(json!({"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}));
        check(bounds, &fits, &[]);
        let sum = json!({"type": "Pod", "max": {"memory": "1Gi"}});
        let two = json!({"resources": {"limits": {"memory": "600Mi"}}});
        let two = json!({"spec": {"containers": [two, two]}});
        check(
            sum,
            &two,
            &["maximum memory usage per Pod is 1Gi, but limit is 1200Mi"],
        );
    }

    #[test]
    fn who_says_nothing_gets_the_defaults() {
        let mut range = json!({"spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"},
            "default": {"cpu": "500m"}, "min": {"memory": "1Mi"}, "defaultRequest": {"cpu": "100m"}}]}});
        default(&mut range);
        let mut given = pod(json!({"requests": {"cpu": "200m"}}));
        give(&[range], &mut given);
        let resources = &given["spec"]["containers"][0]["resources"];
        assert_eq!(
            resources["requests"],
            json!({"cpu": "200m", "memory": "1Gi"})
        );
        assert_eq!(resources["limits"], json!({"cpu": "500m", "memory": "1Gi"}));
        assert_eq!(
            given["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: memory request for container c; \
             cpu, memory limit for container c"
        );
    }
}
