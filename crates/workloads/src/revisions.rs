//! The templates a StatefulSet or a DaemonSet has had, kept as ControllerRevisions: what an update
//! comes from and goes to, and what `kubectl rollout undo` goes back to.

use std::sync::Arc;

use api::object::ObjectExt;
use api::world::{Action, CONTROLLER_REVISION, World};
use serde_json::{Value, json};

use crate::claim::claim;
use crate::pods::{owner_reference, short_hash};

/// Tells the revisions of one owner apart.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";
/// On a Pod: which revision it was made from.
pub(crate) const REVISION_LABEL: &str = "controller-revision-hash";
/// Kubernetes' default of `spec.revisionHistoryLimit`.
const HISTORY_LIMIT: i64 = 10;

/// An owner's revisions.
pub(crate) struct Revisions {
    /// All that are stored, oldest first.
    stored: Vec<Arc<Value>>,
    /// The one of the present template.
    pub(crate) newest: Arc<Value>,
    /// What brings the newest into the store.
    pub(crate) actions: Vec<Action>,
}

impl Revisions {
    /// The revisions of `owner`, the one of its present template among them.
    pub(crate) fn of(owner: &Value, world: &World) -> Self {
        let claimed = claim(CONTROLLER_REVISION, owner, world);
        let (mut stored, mut actions) = (claimed.objects, claimed.actions);
        stored.sort_by_key(|one| (number(one), one.name().to_owned()));
        let data = data_of(&owner["spec"]["template"]);
        let last = stored.last().map_or(0, |one| number(one));
        let known = stored.iter().find(|one| one["data"] == data);
        let newest = match known {
            Some(one) if number(one) == last => Arc::clone(one),
            Some(one) => {
                // An old template again: it becomes the newest.
                let mut again = Value::clone(one);
                again["revision"] = json!(last + 1);
                actions.push(Action::Update(again.clone()));
                Arc::new(again)
            }
            None => {
                let fresh = revision(owner, data, last + 1);
                actions.push(Action::Create(fresh.clone()));
                Arc::new(fresh)
            }
        };
        Self {
            stored,
            newest,
            actions,
        }
    }

    /// The stored one of that name.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Value>> {
        self.stored.iter().find(|one| one.name() == name)
    }

    /// Takes away what is too old and used by nobody.
    pub(crate) fn forget(&self, owner: &Value, is_used: impl Fn(&Value) -> bool) -> Vec<Action> {
        let limit = owner["spec"]["revisionHistoryLimit"].as_i64();
        let limit = usize::try_from(limit.unwrap_or(HISTORY_LIMIT)).unwrap_or(0);
        let unused = |one: &&Arc<Value>| one.name() != self.newest.name() && !is_used(one);
        let unused: Vec<&Arc<Value>> = self.stored.iter().filter(unused).collect();
        let surplus = unused.len().saturating_sub(limit);
        let old = unused.into_iter().take(surplus);
        old.map(|one| Action::Delete {
            kind: CONTROLLER_REVISION,
            namespace: one.namespace().to_owned(),
            name: one.name().to_owned(),
            uid: one.uid().to_owned(),
        })
        .collect()
    }
}

/// The hash in a revision's name and label.
pub(crate) fn hash_of(revision: &Value) -> &str {
    revision.label(HASH_LABEL).unwrap_or_default()
}

/// The template a revision keeps.
pub(crate) fn template_of(revision: &Value) -> Value {
    let mut template = revision["data"]["spec"]["template"].clone();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    template
}

fn number(revision: &Value) -> i64 {
    revision["revision"].as_i64().unwrap_or(0)
}

/// A patch that brings the template back, as Kubernetes keeps it.
fn data_of(template: &Value) -> Value {
    let mut template = template.clone();
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

fn revision(owner: &Value, data: Value, number: i64) -> Value {
    let hash = short_hash(&data);
    let mut labels = owner["spec"]["template"]["metadata"]["labels"].clone();
    if !labels.is_object() {
        labels = json!({});
    }
    labels[HASH_LABEL] = json!(hash);
    let annotations = &owner["metadata"]["annotations"];
    let mut revision = json!({
        "apiVersion": CONTROLLER_REVISION.api_version(),
        "kind": CONTROLLER_REVISION.kind,
        "metadata": {
            "name": format!("{}-{hash}", owner.name()),
            "namespace": owner.namespace(),
            "labels": labels,
            "ownerReferences": [owner_reference(owner)],
        },
        "data": data,
        "revision": number,
    });
    if annotations.is_object() {
        revision["metadata"]["annotations"] = annotations.clone();
    }
    revision
}
