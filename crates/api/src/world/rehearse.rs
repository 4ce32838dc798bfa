//! A plan performed on the World itself, as an API server would on its store: what tests and
//! simulations use to plan again over the result of a plan.

use serde_json::{Value, json};

use super::{Action, BINDING, Kind, POD, Plan, World, table};
use crate::object::ObjectExt;

/// Why an API server would have refused an action.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The object's `apiVersion` and `kind` are not in `api::world`'s table.
    #[error("{0} is no kind plans know")]
    UnknownKind(String),
    /// Create of something that is there.
    #[error("{0} already exists")]
    AlreadyExists(String),
    /// Anything else of something that is not there.
    #[error("{0} not found")]
    NotFound(String),
    /// The `resourceVersion` or UID is not the stored one.
    #[error("{0} has been modified")]
    Conflict(String),
}

impl World {
    /// Performs the writes of `plan`; gathers no facts, tells no gateway, records no events.
    pub fn rehearse(&mut self, plan: &Plan) -> Result<(), Refusal> {
        // Writes to one object within a plan may carry the version before the first of them.
        let before = self.next_version();
        plan.actions.iter().try_for_each(|action| match action {
            Action::Create(object) => self.rehearse_create(object.clone()),
            Action::Update(object) => self.rehearse_update(object, Part::AllButStatus, before),
            Action::Status(object) => self.rehearse_update(object, Part::Status, before),
            Action::Delete {
                kind,
                namespace,
                name,
                uid,
            } => self.rehearse_delete(*kind, namespace, name, uid),
            Action::Scale {
                kind,
                namespace,
                name,
                replicas,
            } => self.rehearse_scale(*kind, namespace, name, *replicas),
            Action::Route(_)
            | Action::Deliver(_)
            | Action::Need(_)
            | Action::At(_)
            | Action::Event { .. } => Ok(()),
        })
    }

    fn rehearse_create(&mut self, mut object: Value) -> Result<(), Refusal> {
        let kind = kind_of(&object)?;
        if kind == BINDING {
            return self.rehearse_binding(&object);
        }
        let version = self.next_version();
        if object.name().is_empty() {
            let prefix = object["metadata"]["generateName"].as_str();
            object["metadata"]["name"] = json!(format!("{}{version:05}", prefix.unwrap_or("")));
        }
        if self
            .version(kind, object.namespace(), object.name())
            .is_some()
        {
            return Err(Refusal::AlreadyExists(describe(kind, object.name())));
        }
        let uid = json!(format!("{}-{version}", object.name()));
        let metadata = &mut object["metadata"];
        metadata["uid"] = uid;
        metadata["resourceVersion"] = json!(version.to_string());
        metadata["generation"] = json!(1);
        metadata["creationTimestamp"] = json!(self.now().strftime("%FT%TZ").to_string());
        self.insert(kind, object);
        Ok(())
    }

    fn rehearse_binding(&mut self, binding: &Value) -> Result<(), Refusal> {
        let (namespace, name) = (binding.namespace(), binding.name());
        let stored = self
            .get(POD, namespace, name)
            .ok_or_else(|| Refusal::NotFound(describe(POD, name)))?;
        let mut new = (*stored).clone();
        new["spec"]["nodeName"] = binding["target"]["name"].clone();
        self.store(POD, &stored, new);
        Ok(())
    }

    fn rehearse_update(&mut self, object: &Value, part: Part, before: u64) -> Result<(), Refusal> {
        let kind = kind_of(object)?;
        let stored = self
            .get(kind, object.namespace(), object.name())
            .ok_or_else(|| Refusal::NotFound(describe(kind, object.name())))?;
        let guard = object.resource_version();
        let version: u64 = stored.resource_version().parse().unwrap_or_default();
        if !guard.is_empty() && guard != stored.resource_version() && version < before {
            return Err(Refusal::Conflict(describe(kind, object.name())));
        }
        let mut new = match part {
            Part::Status => (*stored).clone(),
            Part::AllButStatus => object.clone(),
        };
        let status_source = match part {
            Part::Status => object,
            Part::AllButStatus => &stored,
        };
        if let Some(map) = new.as_object_mut() {
            map.remove("status");
        }
        if let Some(status) = status_source.get("status") {
            new["status"] = status.clone();
        }
        self.store(kind, &stored, new);
        Ok(())
    }

    fn rehearse_delete(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<(), Refusal> {
        let stored = self
            .get(kind, namespace, name)
            .ok_or_else(|| Refusal::NotFound(describe(kind, name)))?;
        if stored.uid() != uid {
            return Err(Refusal::Conflict(describe(kind, name)));
        }
        let finalizers = stored["metadata"]["finalizers"].as_array();
        if finalizers.is_none_or(Vec::is_empty) {
            self.remove(kind, namespace, name);
            return Ok(());
        }
        let mut new = (*stored).clone();
        new["metadata"]["deletionTimestamp"] = json!(self.now().strftime("%FT%TZ").to_string());
        self.store(kind, &stored, new);
        Ok(())
    }

    fn rehearse_scale(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        replicas: i32,
    ) -> Result<(), Refusal> {
        let stored = self
            .get(kind, namespace, name)
            .ok_or_else(|| Refusal::NotFound(describe(kind, name)))?;
        let mut new = (*stored).clone();
        new["spec"]["replicas"] = json!(replicas);
        self.store(kind, &stored, new);
        Ok(())
    }

    fn store(&mut self, kind: Kind, stored: &Value, mut new: Value) {
        if new == *stored {
            return;
        }
        let metadata = &mut new["metadata"];
        metadata["uid"] = stored["metadata"]["uid"].clone();
        metadata["creationTimestamp"] = stored["metadata"]["creationTimestamp"].clone();
        metadata["resourceVersion"] = json!(self.next_version().to_string());
        if new.get("spec") != stored.get("spec") {
            new["metadata"]["generation"] = json!(stored.generation() + 1);
        }
        if new.is_terminating()
            && new["metadata"]["finalizers"]
                .as_array()
                .is_none_or(Vec::is_empty)
        {
            self.remove(kind, new.namespace(), new.name());
            return;
        }
        self.insert(kind, new);
    }

    fn next_version(&self) -> u64 {
        let tables = self.tables.values();
        1 + tables
            .map(table::Table::version_max)
            .max()
            .unwrap_or_default()
    }
}

/// Which part of the object a write carries.
#[derive(Clone, Copy)]
enum Part {
    AllButStatus,
    Status,
}

fn kind_of(object: &Value) -> Result<Kind, Refusal> {
    Kind::find(object.api_version(), object.kind())
        .ok_or_else(|| Refusal::UnknownKind(format!("{}, {}", object.api_version(), object.kind())))
}

fn describe(kind: Kind, name: &str) -> String {
    format!("{} {name:?}", kind.plural)
}
