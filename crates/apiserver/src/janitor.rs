//! The components that clean up: garbage collection by owners, content of namespaces, objects of
//! removed definitions. One task, woken by the store's events; it writes like any other client.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::auth::User;
use crate::core::{Core, decode_stored};
use crate::kinds::crd::CLEANUP;
use crate::kinds::items;
use crate::meta;
use crate::resource::Resource;
use crate::status::{Result, Status};
use crate::store::{Change, Entry, Event, ResourceId};
use crate::write::{self, Call, DeleteOptions, FOREGROUND, ORPHAN};

/// Runs until the store is closed.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        let (page, mut watch) = core.store.list_and_watch(None, "");
        let janitor = Janitor {
            core: &core,
            user: User::admin("system:serviceaccount:kube-system:generic-garbage-collector"),
        };
        for entry in &page.entries {
            janitor.examine(entry, true).await;
        }
        drop(page);
        // The subscription ends when this task lags too far behind; everything is examined anew.
        while let Some(event) = watch.recv().await {
            janitor.event(&event).await;
        }
    }
}

struct Janitor<'a> {
    core: &'a Arc<Core>,
    user: User,
}

impl Janitor<'_> {
    async fn event(&self, event: &Event) {
        match event.change {
            Change::Deleted => self.gone(&event.entry).await,
            Change::Added => self.examine(&event.entry, true).await,
            Change::Modified => {
                let before = event
                    .previous
                    .as_ref()
                    .map(|previous| &previous.meta.owners);
                let owners_changed = before != Some(&event.entry.meta.owners);
                self.examine(&event.entry, owners_changed).await;
            }
        }
    }

    /// Looks at a live object: it may be waiting for its dependents or its content, or its owners
    /// may be gone.
    async fn examine(&self, entry: &Arc<Entry>, owners_changed: bool) {
        if owners_changed && !entry.meta.owners.is_empty() {
            self.settle("owners", entry, self.check_owners(entry).await);
        }
        // Only an object with this key can be one that is being deleted; most are not decoded.
        if !contains(&entry.bytes(), b"\"deletionTimestamp\"") {
            return;
        }
        let Ok(object) = decode_stored(entry) else {
            return;
        };
        if !object["metadata"]["deletionTimestamp"].is_string() {
            return;
        }
        if meta::has_finalizer(&object, ORPHAN) {
            self.settle("orphans", entry, self.orphan(entry).await);
        } else if meta::has_finalizer(&object, FOREGROUND) {
            self.settle("dependents", entry, self.foreground(entry).await);
        }
        if object["kind"] == "Namespace" && object["apiVersion"] == "v1" {
            self.settle("namespace", entry, self.empty_namespace(entry.name()).await);
        } else if meta::has_finalizer(&object, CLEANUP) {
            self.settle("definition", entry, self.remove_instances(&object).await);
        }
    }

    /// An object is gone: its dependents follow, and somebody may have waited for it.
    async fn gone(&self, entry: &Arc<Entry>) {
        for dependent in self.core.store.dependents(entry.meta.uid) {
            self.settle("owners", &dependent, self.check_owners(&dependent).await);
        }
        for owner in &entry.meta.owners {
            let Some(owner) = self.core.store.by_uid(*owner) else {
                continue;
            };
            let waits = decode_stored(&owner).is_ok_and(|o| meta::has_finalizer(&o, FOREGROUND));
            if waits {
                self.settle("dependents", &owner, self.foreground(&owner).await);
            }
        }
        if !entry.namespace().is_empty() {
            let namespace = self.core.read("", "namespaces", "", entry.namespace());
            if namespace.is_some_and(|ns| ns["metadata"]["deletionTimestamp"].is_string()) {
                self.settle(
                    "namespace",
                    entry,
                    self.empty_namespace(entry.namespace()).await,
                );
            }
        }
        let name = &*self.core.store.resource_name(entry.resource);
        if let Some((group, plural)) = name
            .split_once('/')
            .filter(|(group, _)| group.contains('.'))
        {
            let definition = format!("{plural}.{group}");
            let found = self.core.read(
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                "",
                &definition,
            );
            let found = found.filter(|crd| crd["metadata"]["deletionTimestamp"].is_string());
            if let Some(crd) = found.filter(|crd| meta::has_finalizer(crd, CLEANUP)) {
                self.settle("definition", entry, self.remove_instances(&crd).await);
            }
        }
    }

    fn settle(&self, what: &str, entry: &Entry, result: Result<()>) {
        match result {
            Err(status) if !matches!(status.reason, "NotFound" | "Conflict") => {
                let message = status.message;
                tracing::warn!(what, path = &*entry.path, message, "could not clean up");
            }
            _ => {}
        }
    }

    fn resource(&self, id: ResourceId) -> Option<Arc<Resource>> {
        self.core.table().stored().remove(&id)
    }

    async fn delete(&self, entry: &Entry, policy: Option<&str>) -> Result<()> {
        let Some(resource) = self.resource(entry.resource) else {
            return Ok(());
        };
        let call = Call::internal(self.core, &resource, entry.namespace(), &self.user);
        let uid = decode_stored(entry)?["metadata"]["uid"]
            .as_str()
            .map(str::to_owned);
        let propagation_policy = policy.map(str::to_owned);
        let options = DeleteOptions {
            propagation_policy,
            uid,
            ..DeleteOptions::default()
        };
        write::delete(&call, entry.name(), &options).await.map(drop)
    }

    async fn change(&self, entry: &Entry, change: impl Fn(&mut Value)) -> Result<()> {
        let Some(resource) = self.resource(entry.resource) else {
            return Ok(());
        };
        let call = Call::internal(self.core, &resource, entry.namespace(), &self.user);
        let uid = entry.meta.uid;
        let modified = write::modify(&call, entry.name(), |old| {
            if meta::uid_number(&old["metadata"]["uid"]) != uid {
                return Err(Status::not_found(&resource, entry.name()));
            }
            let mut new = old.clone();
            change(&mut new);
            Ok(new)
        });
        modified.await.map(drop)
    }

    /// Deletes an object whose owners are all gone; forgets those of several that are.
    async fn check_owners(&self, entry: &Arc<Entry>) -> Result<()> {
        let store = &self.core.store;
        let (mut present, mut absent, mut waiting) = (0, BTreeSet::new(), 0);
        for owner in &entry.meta.owners {
            match store.by_uid(*owner) {
                None => drop(absent.insert(*owner)),
                Some(owner) if decode_stored(&owner).is_ok_and(|o| is_foreground(&o)) => {
                    waiting += 1
                }
                Some(_) => present += 1,
            }
        }
        if present == 0 && (waiting > 0 || !absent.is_empty()) {
            let policy = match decode_stored(entry)? {
                object if meta::has_finalizer(&object, ORPHAN) => "Orphan",
                object if meta::has_finalizer(&object, FOREGROUND) => "Foreground",
                _ if waiting > 0 && !store.dependents(entry.meta.uid).is_empty() => "Foreground",
                _ => "Background",
            };
            return self.delete(entry, Some(policy)).await;
        }
        if absent.is_empty() {
            return Ok(());
        }
        self.change(entry, |object| forget_owners(object, &absent))
            .await
    }

    /// Deletes the dependents of an object that waits for them, and lets it go when none is left.
    async fn foreground(&self, entry: &Arc<Entry>) -> Result<()> {
        let mut blocked = false;
        for dependent in self.core.store.dependents(entry.meta.uid) {
            let object = decode_stored(&dependent)?;
            let blocks = |owner: &Value| {
                meta::uid_number(&owner["uid"]) == entry.meta.uid
                    && owner["blockOwnerDeletion"] == true
            };
            blocked |= items(&object["metadata"]["ownerReferences"])
                .iter()
                .any(blocks);
            if !object["metadata"]["deletionTimestamp"].is_string() {
                self.settle("owners", &dependent, self.check_owners(&dependent).await);
            }
        }
        if blocked
            && self
                .core
                .store
                .dependents(entry.meta.uid)
                .iter()
                .any(|d| self.blocks(d, entry))
        {
            return Ok(());
        }
        self.change(entry, |object| meta::remove_finalizer(object, FOREGROUND))
            .await
    }

    fn blocks(&self, dependent: &Entry, owner: &Entry) -> bool {
        decode_stored(dependent).is_ok_and(|object| {
            items(&object["metadata"]["ownerReferences"])
                .iter()
                .any(|reference| {
                    meta::uid_number(&reference["uid"]) == owner.meta.uid
                        && reference["blockOwnerDeletion"] == true
                })
        })
    }

    /// Frees the dependents of an object that goes without them.
    async fn orphan(&self, entry: &Arc<Entry>) -> Result<()> {
        let owner = BTreeSet::from([entry.meta.uid]);
        for dependent in self.core.store.dependents(entry.meta.uid) {
            self.change(&dependent, |object| forget_owners(object, &owner))
                .await?;
        }
        self.change(entry, |object| meta::remove_finalizer(object, ORPHAN))
            .await
    }

    /// Deletes everything in a namespace that is going; lets it go when it is empty.
    async fn empty_namespace(&self, namespace: &str) -> Result<()> {
        let prefix = format!("{namespace}/");
        let stored = self.core.table().stored();
        let namespaced = || stored.values().filter(|resource| resource.namespaced);
        for resource in namespaced() {
            for entry in self.core.store.list(resource.id, &prefix) {
                let marked = contains(&entry.bytes(), b"\"deletionTimestamp\"");
                if !marked {
                    self.settle(
                        "content",
                        &entry,
                        self.delete(&entry, Some("Background")).await,
                    );
                }
            }
        }
        if namespaced().any(|resource| !self.core.store.list(resource.id, &prefix).is_empty()) {
            return Ok(());
        }
        let namespaces = self.core.builtin("", "namespaces");
        let call = Call {
            subresource: "finalize",
            ..Call::internal(self.core, &namespaces, "", &self.user)
        };
        let modified = write::modify(&call, namespace, |old| {
            if !old["metadata"]["deletionTimestamp"].is_string() {
                return Err(Status::not_found(&namespaces, namespace));
            }
            let mut new = old.clone();
            new["spec"] = Value::Object(serde_json::Map::new());
            Ok(new)
        });
        modified.await.map(drop)
    }

    /// Deletes the objects of a definition that is going; lets it go when there are none.
    async fn remove_instances(&self, crd: &Value) -> Result<()> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let names = &crd["status"]["acceptedNames"];
        let key = format!("{}/{}", text(&crd["spec"]["group"]), text(&names["plural"]));
        let id = self.core.store.resource(&key);
        for entry in self.core.store.list(id, "") {
            if !contains(&entry.bytes(), b"\"deletionTimestamp\"") {
                self.settle(
                    "instances",
                    &entry,
                    self.delete(&entry, Some("Background")).await,
                );
            }
        }
        if self.core.store.count(id) > 0 {
            return Ok(());
        }
        let crds = self
            .core
            .builtin("apiextensions.k8s.io", "customresourcedefinitions");
        let entry = self
            .core
            .entry(&crds, "", &text(&crd["metadata"]["name"]))?;
        self.change(&entry, |object| meta::remove_finalizer(object, CLEANUP))
            .await
    }
}

fn is_foreground(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string() && meta::has_finalizer(object, FOREGROUND)
}

fn forget_owners(object: &mut Value, owners: &BTreeSet<u128>) {
    let list = meta::of(object)
        .get_mut("ownerReferences")
        .and_then(Value::as_array_mut);
    if let Some(list) = list {
        list.retain(|owner| !owners.contains(&meta::uid_number(&owner["uid"])));
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}
