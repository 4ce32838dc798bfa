//! Which node has room for a Pod and may take it; where none, why, in kube-scheduler's words.
//!
//! Asked by whoever makes Pods, so that they are bound as they are created, and by the scheduler
//! for the rest. Filters come in kube-scheduler's order; the first that fails speaks for a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::object::ObjectExt;
use api::quantity::Quantity;
use api::world::{NODE, POD, World};
use serde_json::Value;

/// Amounts of resources by name, in billionths.
type Amounts = BTreeMap<String, i128>;

/// The resource every Pod takes one of.
const PODS: &str = "pods";
const ONE: i128 = 1_000_000_000;

/// The nodes and what is taken of each.
pub(crate) struct Nodes(Vec<Node>);

struct Node {
    object: Arc<Value>,
    free: Amounts,
    /// Pods.
    count: i128,
}

/// Why one node cannot take a Pod.
struct Misfit {
    reasons: Vec<String>,
    /// Fewer Pods on the node could help.
    is_resolvable: bool,
}

impl Nodes {
    /// The nodes as the World shows them.
    pub(crate) fn of(world: &World) -> Self {
        let mut nodes: Vec<Node> = world.list(NODE, "").into_iter().map(Node::new).collect();
        if nodes.is_empty() {
            return Self(nodes);
        }
        let taken = world.tally(POD, taken);
        for node in &mut nodes {
            let from = node.share("");
            let own = taken.range(from.clone()..);
            for (key, amount) in own {
                let Some(resource) = key.strip_prefix(&from) else {
                    break;
                };
                node.take(resource, *amount);
            }
        }
        Self(nodes)
    }

    /// Gives the Pod a place and takes the room; or the sentence that says why there is none.
    pub(crate) fn place(&mut self, pod: &Value) -> Result<String, String> {
        let wanted = requests(pod);
        let (mut reasons, mut unresolvable) = (BTreeMap::<String, usize>::new(), 0);
        let mut best: Option<&mut Node> = None;
        let total = self.0.len();
        for node in &mut self.0 {
            match node.check(pod, &wanted) {
                Ok(()) if best.as_ref().is_none_or(|best| node.count < best.count) => {
                    best = Some(node);
                }
                Ok(()) => {}
                Err(misfit) => {
                    unresolvable += usize::from(!misfit.is_resolvable);
                    for reason in misfit.reasons {
                        *reasons.entry(reason).or_default() += 1;
                    }
                }
            }
        }
        if let Some(node) = best {
            for (resource, amount) in &wanted {
                node.take(resource, *amount);
            }
            return Ok(node.object.name().to_owned());
        }
        Err(sentence(total, &reasons, unresolvable))
    }
}

impl Node {
    fn new(object: Arc<Value>) -> Self {
        let free = amounts(&object["status"]["allocatable"]);
        Self {
            object,
            free,
            count: 0,
        }
    }

    fn take(&mut self, resource: &str, amount: i128) {
        if resource == PODS {
            self.count += amount / ONE;
        }
        *self.free.entry(resource.to_owned()).or_default() -= amount;
    }

    /// The name of the sum of what is taken of one of its resources.
    fn share(&self, resource: &str) -> String {
        share(self.object.name(), resource)
    }

    fn check(&self, pod: &Value, wanted: &Amounts) -> Result<(), Misfit> {
        match refusal(pod, &self.object) {
            None => self.check_room(wanted),
            Some(reason) => Err(Misfit {
                reasons: vec![reason.to_owned()],
                is_resolvable: false,
            }),
        }
    }

    /// A node that does not say what it has is taken to have enough.
    fn check_room(&self, wanted: &Amounts) -> Result<(), Misfit> {
        if self.object["status"]["allocatable"].is_null() {
            return Ok(());
        }
        let short = |(resource, amount): &(&String, &i128)| {
            **amount > 0 && self.free.get(*resource).copied().unwrap_or_default() < **amount
        };
        let mut reasons: Vec<String> = wanted
            .iter()
            .filter(short)
            .map(|(resource, _)| match resource.as_str() {
                PODS => "Too many pods".to_owned(),
                resource => format!("Insufficient {resource}"),
            })
            .collect();
        if reasons.is_empty() {
            return Ok(());
        }
        reasons.sort();
        Err(Misfit {
            reasons,
            is_resolvable: true,
        })
    }
}

/// Whether a node takes a Pod, its room aside.
pub(crate) fn may_run(pod: &Value, node: &Value) -> bool {
    refusal(pod, node).is_none()
}

/// Why a node takes a Pod under no circumstances, if it does not.
fn refusal(pod: &Value, node: &Value) -> Option<&'static str> {
    let unschedulable = Taint {
        key: "node.kubernetes.io/unschedulable",
        value: "",
        effect: "NoSchedule",
    };
    if node["spec"]["unschedulable"] == true && !unschedulable.is_tolerated(pod) {
        return Some("node(s) were unschedulable");
    }
    let taints = array(&node["spec"]["taints"]).map(Taint::of);
    let mut untolerated = taints.filter(|taint| taint.repels() && !taint.is_tolerated(pod));
    if untolerated.next().is_some() {
        return Some("node(s) had untolerated taint(s)");
    }
    let is_selected = is_selected(pod, node);
    (!is_selected).then_some("node(s) didn't match Pod's node affinity/selector")
}

/// What a Pod takes of its node.
fn taken(pod: &Value) -> Vec<(String, i128)> {
    let phase = pod["status"]["phase"].as_str();
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if node.is_empty() || matches!(phase, Some("Succeeded" | "Failed")) {
        return Vec::new();
    }
    let requests = requests(pod).into_iter();
    requests
        .map(|(resource, amount)| (share(node, &resource), amount))
        .collect()
}

/// Names of nodes have no `/`; names of resources may.
fn share(node: &str, resource: &str) -> String {
    format!("{node}/{resource}")
}

/// kube-scheduler's summary of all nodes.
fn sentence(total: usize, reasons: &BTreeMap<String, usize>, unresolvable: usize) -> String {
    if total == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let mut counted: Vec<String> = reasons
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    counted.sort();
    let counted = counted.join(", ");
    let resolvable = total - unresolvable;
    let preemption = [
        (resolvable, "No preemption victims found for incoming pod"),
        (unresolvable, "Preemption is not helpful for scheduling"),
    ];
    let preemption: Vec<String> = preemption
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, text)| format!("{count} {text}"))
        .collect();
    let preemption = preemption.join(", ");
    format!(
        "0/{total} nodes are available: {counted}. \
         preemption: 0/{total} nodes are available: {preemption}."
    )
}

/// What a Pod asks for: its containers together, or its greediest init container, whichever is
/// more; init containers that stay (sidecars) count with both.
fn requests(pod: &Value) -> Amounts {
    let spec = &pod["spec"];
    let mut running = Amounts::new();
    let mut starting = Amounts::new();
    for container in array(&spec["initContainers"]) {
        let own = container_requests(container);
        let is_sidecar = container["restartPolicy"] == "Always";
        let mut peak = running.clone();
        add(&mut peak, &own);
        if is_sidecar {
            running = peak.clone();
        }
        raise(&mut starting, &peak);
    }
    for container in array(&spec["containers"]) {
        add(&mut running, &container_requests(container));
    }
    raise(&mut running, &starting);
    add(&mut running, &amounts(&spec["overhead"]));
    running.insert(PODS.to_owned(), ONE);
    running
}

fn container_requests(container: &Value) -> Amounts {
    let mut wanted = amounts(&container["resources"]["limits"]);
    wanted.extend(amounts(&container["resources"]["requests"]));
    wanted
}

fn amounts(map: &Value) -> Amounts {
    let parse = |value: &Value| {
        let text = value.as_str().map(str::to_owned);
        let text = text.unwrap_or_else(|| value.to_string());
        Quantity::parse(&text).map_or(0, |quantity| quantity.nanos())
    };
    let map = map.as_object().into_iter().flatten();
    map.map(|(name, value)| (name.clone(), parse(value)))
        .collect()
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_default() += amount;
    }
}

fn raise(high: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let held = high.entry(name.clone()).or_default();
        *held = (*held).max(*amount);
    }
}

struct Taint<'a> {
    key: &'a str,
    value: &'a str,
    effect: &'a str,
}

impl<'a> Taint<'a> {
    fn of(taint: &'a Value) -> Self {
        Self {
            key: text(&taint["key"]),
            value: text(&taint["value"]),
            effect: text(&taint["effect"]),
        }
    }

    fn repels(&self) -> bool {
        matches!(self.effect, "NoSchedule" | "NoExecute")
    }

    fn is_tolerated(&self, pod: &Value) -> bool {
        array(&pod["spec"]["tolerations"]).any(|toleration| {
            let effect = text(&toleration["effect"]);
            let key = text(&toleration["key"]);
            let value = match text(&toleration["operator"]) {
                "Exists" => true,
                _ => text(&toleration["value"]) == self.value,
            };
            (effect.is_empty() || effect == self.effect)
                && (key == self.key || key.is_empty() && toleration["operator"] == "Exists")
                && value
        })
    }
}

/// `nodeSelector` and the required node affinity.
fn is_selected(pod: &Value, node: &Value) -> bool {
    let selector = pod["spec"]["nodeSelector"].as_object();
    let labelled = |(key, value): (&String, &Value)| node.label(key) == value.as_str();
    if !selector.into_iter().flatten().all(labelled) {
        return false;
    }
    let required =
        &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    if required.is_null() {
        return true;
    }
    array(&required["nodeSelectorTerms"]).any(|term| {
        let labels = array(&term["matchExpressions"]);
        let fields = array(&term["matchFields"]);
        let is_empty = labels.clone().count() + fields.clone().count() == 0;
        let mut labels = labels.map(|e| matches(e, node.label(text(&e["key"]))));
        let mut fields = fields.map(|e| matches(e, Some(node.name())));
        !is_empty && labels.all(|held| held) && fields.all(|held| held)
    })
}

/// Whether one requirement holds of a value that may be absent.
fn matches(expression: &Value, held: Option<&str>) -> bool {
    let listed = || array(&expression["values"]).any(|value| value.as_str() == held);
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = || {
        array(&expression["values"])
            .next()
            .and_then(|v| number(text(v)))
    };
    let compare = |holds: fn(i64, i64) -> bool| {
        let pair = held.and_then(number).zip(bound());
        pair.is_some_and(|(held, bound)| holds(held, bound))
    };
    match text(&expression["operator"]) {
        "In" => held.is_some() && listed(),
        "NotIn" => held.is_none() || !listed(),
        "Exists" => held.is_some(),
        "DoesNotExist" => held.is_none(),
        "Gt" => compare(|held, bound| held > bound),
        "Lt" => compare(|held, bound| held < bound),
        _ => false,
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> + Clone {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
