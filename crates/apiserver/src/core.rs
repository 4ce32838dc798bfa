//! The state all requests share, and reading of objects in the version a request speaks.

use std::sync::Arc;

use serde_json::Value;

use crate::alloc::Allocator;
use crate::auth::{self, Attributes, User};
use crate::hooks::{Access, Hooks, Lookup, PodSlot, SubresourceSlot};
use crate::pki::Pki;
use crate::resource::{Registry, Resource, Table};
use crate::status::{Result, Status};
use crate::store::{Entry, Error, Store};
use crate::{convert, webhook};

/// Everything the handlers need, in one place.
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) pods: PodSlot,
    pub(crate) subresources: SubresourceSlot,
    pub(crate) addresses: Allocator,
    pub(crate) pki: Pki,
    pub(crate) webhooks: webhook::Client,
    pub(crate) metrics: crate::metrics::Metrics,
    pub(crate) access: auth::Cache,
    /// Held from counting what a quota has left until the object that takes of it is stored.
    pub(crate) quota: tokio::sync::Mutex<()>,
}

impl Core {
    pub(crate) fn table(&self) -> Arc<Table> {
        self.registry.table()
    }

    /// The built-in resource `group/plural` in its storage version.
    pub(crate) fn builtin(&self, group: &str, plural: &str) -> Arc<Resource> {
        let table = self.table();
        let versions = table.group(group).map_or(&[][..], |group| &group.versions);
        let mut resources = versions.iter().flat_map(|version| &version.resources);
        let found = resources.find(|r| r.is(group, plural) && !r.is_converted());
        Arc::clone(found.expect("every resource named in this crate has a row"))
    }

    /// The stored entry, or `NotFound`.
    pub(crate) fn entry(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Entry>> {
        let path = resource.path(namespace, name);
        let found = self.store.get(resource.id, &path);
        found.ok_or_else(|| Status::not_found(resource, name))
    }

    /// An object of a built-in kind, for this crate's own use.
    pub(crate) fn read(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Value> {
        let resource = self.builtin(group, plural);
        let entry = self
            .store
            .get(resource.id, &resource.path(namespace, name))?;
        serde_json::from_slice(&entry.bytes()).ok()
    }

    /// The object in the version `resource` serves.
    pub(crate) async fn decode(&self, resource: &Resource, entry: &Entry) -> Result<Value> {
        let object = decode_stored(entry)?;
        if !resource.is_converted() {
            return Ok(object);
        }
        convert::to_version(self, resource, object, &resource.api_version()).await
    }

    /// An object in the served version, in the version it is stored in.
    pub(crate) async fn to_storage(&self, resource: &Resource, object: Value) -> Result<Value> {
        if !resource.is_converted() {
            return Ok(object);
        }
        let api_version = convert::storage_api_version(resource);
        convert::to_version(self, resource, object, &api_version).await
    }
}

/// The object as it is stored.
pub(crate) fn decode_stored(entry: &Entry) -> Result<Value> {
    serde_json::from_slice(&entry.bytes()).map_err(Status::internal)
}

/// A refused write, as the client hears of it.
pub(crate) fn store_status(resource: &Resource, name: &str, error: &Error) -> Status {
    match error {
        Error::Conflict { .. } => Status::modified(resource, name),
        Error::Full { .. } => Status::new(507, "InsufficientStorage", error.to_string()),
        _ => Status::internal(error),
    }
}

impl Lookup for Core {
    fn object(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.read(group, plural, namespace, name)
    }

    fn objects(&self, group: &str, plural: &str, namespace: &str) -> Vec<Value> {
        let table = self.table();
        let versions = table.group(group).map_or(&[][..], |group| &group.versions);
        let mut resources = versions.iter().flat_map(|version| &version.resources);
        let Some(resource) = resources.find(|r| r.plural == plural) else {
            return Vec::new();
        };
        let entries = self.store.list(resource.id, &format!("{namespace}/"));
        let objects = entries.iter().filter_map(|entry| decode_stored(entry).ok());
        objects.collect()
    }

    fn trouble(&self, object: &Value) -> Option<String> {
        let text = |key: &str| object[key].as_str().unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        match self.table().kind(api_version, kind) {
            Some(resource) => crate::kinds::trouble(resource, object),
            None => Some(format!(
                "no matches for kind {kind:?} in version {api_version:?}"
            )),
        }
    }

    fn may(&self, user: &User, access: &Access) -> bool {
        let of = Attributes {
            verb: &access.verb,
            group: &access.group,
            resource: &access.resource,
            subresource: "",
            namespace: &access.namespace,
            name: &access.name,
            path: "",
        };
        auth::allowed(self, user, &of).is_some()
    }
}
