//! ResourceQuotas, as Kubernetes' admission of the same name holds Pods to them: their number and
//! what they ask for of processor and memory. Called when a Pod is created; other objects are not
//! counted, and `status.used` is not kept.

use api::quantity::Quantity;
use serde_json::Value;

use super::{items, text};
use crate::hooks::Lookup as _;
use crate::status::{Result, Status};
use crate::write::Call;

/// A quota's word, the list of a container it sums (none: Pods are counted), the resource there.
const COUNTED: [(&str, &str, &str); 8] = [
    ("pods", "", ""),
    ("count/pods", "", ""),
    ("cpu", "requests", "cpu"),
    ("requests.cpu", "requests", "cpu"),
    ("memory", "requests", "memory"),
    ("requests.memory", "requests", "memory"),
    ("limits.cpu", "limits", "cpu"),
    ("limits.memory", "limits", "memory"),
];

/// Refuses a Pod its namespace has no room for.
pub(super) fn check(call: &Call<'_>, pod: &Value) -> Result<()> {
    let quotas = call.core.objects("", "resourcequotas", call.namespace);
    if quotas.is_empty() {
        return Ok(());
    }
    let mut others = call.core.objects("", "pods", call.namespace);
    others.retain(|pod| !matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed"));
    for quota in &quotas {
        if let Err(why) = fits(quota, pod, &others) {
            let name = text(&pod["metadata"]["name"]);
            return Err(Status::forbidden(call.resource, name, &why));
        }
    }
    Ok(())
}

fn fits(quota: &Value, pod: &Value, others: &[Value]) -> std::result::Result<(), String> {
    let name = text(&quota["metadata"]["name"]);
    let hard = quota["spec"]["hard"].as_object().into_iter().flatten();
    let mut over: [Vec<String>; 3] = Default::default();
    let mut unsaid = Vec::new();
    for (word, limit) in hard {
        let row = COUNTED.iter().find(|(counted, _, _)| counted == word);
        let (Some((_, list, resource)), Ok(limit)) = (row, Quantity::parse(text(limit))) else {
            continue;
        };
        if !list.is_empty() && !says(pod, list, resource) {
            unsaid.push(word.as_str());
            continue;
        }
        let asked = amount(pod, list, resource);
        let used = others.iter().map(|pod| amount(pod, list, resource)).sum();
        if asked + used > limit.nanos() {
            let amounts = [Quantity::decimal(asked), Quantity::decimal(used), limit];
            for (list, amount) in over.iter_mut().zip(amounts) {
                list.push(format!("{word}={amount}"));
            }
        }
    }
    if !unsaid.is_empty() {
        let unsaid = unsaid.join(",");
        return Err(format!("failed quota: {name}: must specify {unsaid}"));
    }
    let [asked, used, limit] = over.map(|list| list.join(","));
    if asked.is_empty() {
        return Ok(());
    }
    Err(format!(
        "exceeded quota: {name}, requested: {asked}, used: {used}, limited: {limit}"
    ))
}

/// Whether every container says how much it wants.
fn says(pod: &Value, list: &str, resource: &str) -> bool {
    let mut containers = items(&pod["spec"]["containers"]).iter();
    containers.all(|container| !amount_of(container, list, resource).is_null())
}

/// What a container wants: a limit is a request where there is none.
fn amount_of<'a>(container: &'a Value, list: &str, resource: &str) -> &'a Value {
    let said = &container["resources"][list][resource];
    if said.is_null() && list == "requests" {
        return &container["resources"]["limits"][resource];
    }
    said
}

/// What a Pod counts for, in billionths.
fn amount(pod: &Value, list: &str, resource: &str) -> i128 {
    if list.is_empty() {
        return 1_000_000_000;
    }
    let nanos = |container: &Value| {
        let said = amount_of(container, list, resource);
        Quantity::parse(text(said)).map_or(0, |quantity| quantity.nanos())
    };
    let sum: i128 = items(&pod["spec"]["containers"]).iter().map(nanos).sum();
    // Init containers run one after the other, before the rest.
    let first = items(&pod["spec"]["initContainers"])
        .iter()
        .map(nanos)
        .max();
    sum.max(first.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(cpu: &str) -> Value {
        json!({"spec": {"containers": [{"resources": {"requests": {"cpu": cpu}}}, {
            "resources": {"limits": {"cpu": "25m"}},
        }]}})
    }

    #[track_caller]
    fn check(hard: Value, pod: &Value, others: &[Value], expected: &str) {
        let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
        let said = fits(&quota, pod, others).err().unwrap_or_default();
        assert_eq!(said, expected);
    }

    #[test]
    fn what_all_ask_for_together_is_held_to_the_quota() {
        let wanted = "exceeded quota: q, requested: cpu=75m, used: cpu=0, limited: cpu=50m";
        check(json!({"cpu": "50m"}), &pod("50m"), &[], wanted);
        check(json!({"cpu": "100m"}), &pod("50m"), &[], "");
        let wanted = "exceeded quota: q, requested: cpu=75m, used: cpu=75m, limited: cpu=100m";
        check(json!({"cpu": "100m"}), &pod("50m"), &[pod("50m")], wanted);
        let wanted = "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1";
        check(json!({"pods": "1"}), &pod("1m"), &[pod("1m")], wanted);
    }

    #[test]
    fn what_is_held_to_a_quota_must_be_said() {
        let wanted = "failed quota: q: must specify memory";
        check(json!({"memory": "1Gi"}), &pod("1m"), &[], wanted);
    }
}
