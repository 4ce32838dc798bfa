//! Pod without a node → a Binding, or the condition that says why there is none.
//!
//! Most Pods are bound by whoever makes them; here come those people make themselves, and those
//! that had to wait for room.

use api::object::ObjectExt;
use api::world::{Action, BINDING, Context, Key, POD, Plan, World};
use serde_json::{Value, json};

use crate::condition;
use crate::fit::Nodes;

const DEFAULT: &str = "default-scheduler";

/// Plans one Pod.
pub(crate) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let mut plan = Plan::default();
    let Some(pod) = world.get(POD, &key.namespace, &key.name) else {
        return plan;
    };
    if !cx.binds_pods || !waits(&pod) {
        return plan;
    }
    match Nodes::of(world).place(&pod) {
        Ok(node) => {
            let message = format!(
                "Successfully assigned {}/{} to {node}",
                key.namespace, key.name
            );
            plan.actions.push(Action::Create(binding(key, &node)));
            plan.actions
                .push(Action::event(&pod, "Normal", "Scheduled", message));
        }
        Err(why) => {
            let mut object = Value::clone(&pod);
            let condition = json!({
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": why,
            });
            if put(&mut object, condition, world) {
                plan.actions.push(Action::Status(object));
                plan.actions
                    .push(Action::event(&pod, "Warning", "FailedScheduling", why));
            }
        }
    }
    plan
}

/// Whether a Pod is the scheduler's to place.
pub(crate) fn waits(pod: &Value) -> bool {
    let spec = &pod["spec"];
    let scheduler = spec["schedulerName"].as_str().unwrap_or(DEFAULT);
    let gates = spec["schedulingGates"].as_array();
    let is_bound = spec["nodeName"].as_str().is_some_and(|n| !n.is_empty());
    !is_bound && !pod.is_terminating() && scheduler == DEFAULT && gates.is_none_or(Vec::is_empty)
}

fn binding(key: &Key, node: &str) -> Value {
    json!({
        "apiVersion": BINDING.api_version(),
        "kind": BINDING.kind,
        "metadata": {"namespace": key.namespace, "name": key.name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    })
}

/// Puts the condition in unless it is there; answers whether anything changed.
fn put(pod: &mut Value, mut condition: Value, world: &World) -> bool {
    let old = condition::get(pod, "PodScheduled").cloned();
    let same = |key: &str| old.as_ref().is_some_and(|old| old[key] == condition[key]);
    if same("status") && same("reason") && same("message") {
        return false;
    }
    condition["lastTransitionTime"] = match &old {
        Some(old) if same("status") => old["lastTransitionTime"].clone(),
        _ => json!(condition::seconds(world.now())),
    };
    let conditions = pod["status"]["conditions"].as_array();
    let mut conditions: Vec<Value> = conditions.cloned().unwrap_or_default();
    conditions.retain(|c| c["type"] != "PodScheduled");
    conditions.push(condition);
    pod["status"]["conditions"] = json!(conditions);
    true
}

#[cfg(test)]
mod tests {
    use api::world::NODE;

    use super::*;

    /// Plans Pod `p` in a world of one node and one running Pod that takes a core of its two.
    fn check(node: Value, pod_spec: Value, expected: &str) {
        let mut world = World::default();
        let mut object = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"},
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "2"}},
        });
        for (key, value) in node.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        world.insert(NODE, object);
        let pod = |name: &str, spec: Value| {
            json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"namespace": "ns", "name": name}, "spec": spec})
        };
        let mut busy = wants(json!({"cpu": "1"}));
        busy["nodeName"] = json!("one");
        world.insert(POD, pod("busy", busy));
        world.insert(POD, pod("p", pod_spec));
        let cx = Context {
            binds_pods: true,
            ..Context::default()
        };
        let key = Key::new("ns", "p");
        let first = plan(&cx, &key, &world);
        let said = match &first.actions[0] {
            Action::Create(binding) => binding["target"]["name"].to_string(),
            Action::Status(pod) => pod["status"]["conditions"][0]["message"].to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(said.trim_matches('"'), expected);
        world.rehearse(&first).expect("performed");
        assert_eq!(
            plan(&cx, &key, &world),
            Plan::default(),
            "a second plan is empty"
        );
    }

    fn wants(requests: Value) -> Value {
        json!({"containers": [{"name": "c", "resources": {"requests": requests}}]})
    }

    #[test]
    fn a_pod_finds_its_node_or_hears_why_not() {
        check(json!({}), wants(json!({"cpu": "1000m"})), "one");
        check(
            json!({}),
            wants(json!({"cpu": "1001m", "memory": "2Gi"})),
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. preemption: \
             0/1 nodes are available: 1 No preemption victims found for incoming pod.",
        );
        let mut picky = wants(json!({}));
        picky["nodeSelector"] = json!({"disk": "ssd"});
        check(
            json!({}),
            picky.clone(),
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. \
             preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
        );
        let labelled = json!({"metadata": {"name": "one", "labels": {"disk": "ssd"}}});
        check(labelled, picky, "one");
    }

    #[test]
    fn taints_need_a_toleration() {
        let tainted =
            || json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}});
        check(
            tainted(),
            wants(json!({})),
            "0/1 nodes are available: 1 node(s) had untolerated taint(s). \
             preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
        );
        let mut tolerant = wants(json!({}));
        tolerant["tolerations"] = json!([{"key": "k", "operator": "Exists"}]);
        check(tainted(), tolerant, "one");
    }

    #[test]
    fn init_containers_count_once_and_sidecars_stay() {
        let mut spec = wants(json!({"cpu": "600m"}));
        let init = |cpu: &str| json!({"name": "i", "resources": {"requests": {"cpu": cpu}}});
        spec["initContainers"] = json!([init("900m"), init("800m")]);
        check(json!({}), spec.clone(), "one");
        spec["initContainers"][0]["restartPolicy"] = json!("Always");
        check(
            json!({}),
            spec,
            "0/1 nodes are available: 1 Insufficient cpu. preemption: \
             0/1 nodes are available: 1 No preemption victims found for incoming pod.",
        );
    }
}
