//! Role-based access control: roles and bindings, compiled when they change.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Value, json};

use super::{Attributes, User};
use crate::core::Core;
use crate::meta::strings;
use crate::selector::LabelSelector;

const GROUP: &str = "rbac.authorization.k8s.io";

/// One rule of a role.
#[derive(Clone, Debug, Default)]
struct Rule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    paths: Vec<String>,
}

/// Who gets which rules, and by which binding.
#[derive(Debug)]
struct Grant {
    why: String,
    subjects: Vec<Value>,
    rules: Arc<Vec<Rule>>,
}

/// All bindings, cluster-wide ones under the empty namespace.
type Compiled = BTreeMap<String, Vec<Grant>>;

/// The compiled bindings, until a role or binding changes.
#[derive(Default)]
pub(crate) struct Cache(RwLock<Option<Arc<Compiled>>>);

impl Cache {
    /// A role or binding changed.
    pub(crate) fn invalidate(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn get(&self, core: &Core) -> Arc<Compiled> {
        let present = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        present.unwrap_or_else(|| {
            let compiled = Arc::new(compile(core));
            let mut slot = self.0.write().unwrap_or_else(PoisonError::into_inner);
            *slot = Some(Arc::clone(&compiled));
            compiled
        })
    }
}

/// Why RBAC allows something; `None` when it does not.
pub(super) fn allowed(core: &Core, user: &User, of: &Attributes<'_>) -> Option<String> {
    let compiled = core.access.get(core);
    let scopes = if of.namespace.is_empty() {
        vec![""]
    } else {
        vec!["", of.namespace]
    };
    let grants = scopes
        .into_iter()
        .filter_map(|scope| compiled.get(scope))
        .flatten();
    let mut matching = grants.filter(|grant| grant.rules.iter().any(|rule| rule.covers(of)));
    let grant = matching.find(|grant| grant.subjects.iter().any(|s| is_subject(s, user)))?;
    Some(format!("RBAC: allowed by {}", grant.why))
}

/// The answer of a SelfSubjectRulesReview.
pub(crate) fn rules(core: &Core, user: &User, namespace: &str) -> Value {
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    if user.is_master() {
        resources.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        paths.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    let compiled = core.access.get(core);
    for scope in ["", namespace] {
        for grant in compiled.get(scope).into_iter().flatten() {
            if !grant
                .subjects
                .iter()
                .any(|subject| is_subject(subject, user))
            {
                continue;
            }
            for rule in grant.rules.iter() {
                if rule.paths.is_empty() {
                    let mut entry = json!({"verbs": rule.verbs, "apiGroups": rule.groups,
                        "resources": rule.resources});
                    if !rule.names.is_empty() {
                        entry["resourceNames"] = json!(rule.names);
                    }
                    resources.push(entry);
                } else {
                    paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.paths}));
                }
            }
        }
    }
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}

impl Rule {
    fn parse(rule: &Value) -> Self {
        let list = |key: &str| strings(&rule[key]).map(str::to_owned).collect();
        Self {
            verbs: list("verbs"),
            groups: list("apiGroups"),
            resources: list("resources"),
            names: list("resourceNames"),
            paths: list("nonResourceURLs"),
        }
    }

    fn covers(&self, of: &Attributes<'_>) -> bool {
        let any = |list: &[String], wanted: &str| list.iter().any(|x| x == "*" || x == wanted);
        if !any(&self.verbs, of.verb) {
            return false;
        }
        if !of.path.is_empty() {
            return self.paths.iter().any(|path| match path.strip_suffix('*') {
                Some(prefix) => of.path.starts_with(prefix),
                None => path == of.path,
            });
        }
        any(&self.groups, of.group)
            && self.covers_resource(of)
            && (self.names.is_empty() || self.names.iter().any(|name| name == of.name))
    }

    fn covers_resource(&self, of: &Attributes<'_>) -> bool {
        self.resources
            .iter()
            .any(|resource| match resource.split_once('/') {
                _ if resource == "*" => true,
                None => of.subresource.is_empty() && resource == of.resource,
                Some((resource, subresource)) => {
                    (resource == "*" || resource == of.resource) && subresource == of.subresource
                }
            })
    }
}

fn is_subject(subject: &Value, user: &User) -> bool {
    let name = subject["name"].as_str().unwrap_or_default();
    match subject["kind"].as_str() {
        Some("User") => name == "*" || name == user.name,
        Some("Group") => user.groups.iter().any(|group| group == name),
        Some("ServiceAccount") => {
            let namespace = subject["namespace"].as_str().unwrap_or_default();
            user.name
                .strip_prefix("system:serviceaccount:")
                .is_some_and(|account| account.split_once(':') == Some((namespace, name)))
        }
        _ => false,
    }
}

fn compile(core: &Core) -> Compiled {
    let objects = |plural: &str| -> Vec<Value> {
        let id = core.builtin(GROUP, plural).id;
        let entries = core.store.list(id, "");
        entries
            .iter()
            .filter_map(|entry| serde_json::from_slice(&entry.bytes()).ok())
            .collect()
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let cluster_roles = objects("clusterroles");
    let mut roles = BTreeMap::new();
    for role in &cluster_roles {
        let rules = Arc::new(rules_of(role, &cluster_roles));
        roles.insert(
            (
                "ClusterRole".to_owned(),
                String::new(),
                text(&role["metadata"]["name"]),
            ),
            rules,
        );
    }
    for role in &objects("roles") {
        let metadata = &role["metadata"];
        let key = (
            "Role".to_owned(),
            text(&metadata["namespace"]),
            text(&metadata["name"]),
        );
        roles.insert(key, Arc::new(rules_of(role, &[])));
    }
    let mut compiled = Compiled::new();
    for binding in objects("clusterrolebindings")
        .iter()
        .chain(&objects("rolebindings"))
    {
        let (metadata, reference) = (&binding["metadata"], &binding["roleRef"]);
        let (namespace, kind, role) = (
            text(&metadata["namespace"]),
            text(&reference["kind"]),
            text(&reference["name"]),
        );
        let of = if kind == "ClusterRole" {
            String::new()
        } else {
            namespace.clone()
        };
        let Some(rules) = roles.get(&(kind.clone(), of, role.clone())) else {
            continue;
        };
        let name = text(&metadata["name"]);
        let why = match &*namespace {
            "" => format!("ClusterRoleBinding \"{name}\" of {kind} \"{role}\""),
            ns => format!("RoleBinding \"{name}/{ns}\" of {kind} \"{role}\""),
        };
        let subjects = binding["subjects"].as_array().cloned().unwrap_or_default();
        let grant = Grant {
            why,
            subjects,
            rules: Arc::clone(rules),
        };
        compiled.entry(namespace).or_default().push(grant);
    }
    compiled
}

/// A role's rules; those of an aggregated role include the rules of the roles it selects.
fn rules_of(role: &Value, cluster_roles: &[Value]) -> Vec<Rule> {
    let own = role["rules"].as_array().into_iter().flatten();
    let mut rules: Vec<Rule> = own.map(Rule::parse).collect();
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array();
    for selector in selectors
        .into_iter()
        .flatten()
        .map(LabelSelector::from_value)
    {
        for other in cluster_roles {
            let labels = other["metadata"]["labels"]
                .as_object()
                .into_iter()
                .flatten();
            let labels = labels
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect();
            let is_itself = other["metadata"]["name"] == role["metadata"]["name"];
            if selector.matches(&labels) && !is_itself {
                // Aggregated roles may select aggregated roles (edit into admin).
                let others: &[Value] = if other["aggregationRule"].is_object() {
                    cluster_roles
                } else {
                    &[]
                };
                rules.extend(rules_of(other, others));
            }
        }
    }
    rules
}
