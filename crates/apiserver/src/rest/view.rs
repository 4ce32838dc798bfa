//! Objects in the form the client asked for: plain, as table rows, or metadata alone.

use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::core::Core;
use crate::request::{Accept, Form, Query};
use crate::resource::Resource;
use crate::status::Result;
use crate::store::Entry;
use crate::table;
use crate::write::Stored;

/// How one request wants its objects.
#[derive(Clone)]
pub(super) struct View {
    pub(super) core: Arc<Core>,
    pub(super) resource: Arc<Resource>,
    pub(super) form: Form,
    pub(super) include: table::Include,
}

/// The frame around the items of a list.
pub(super) struct ListMeta {
    pub(super) revision: u64,
    pub(super) continuation: Option<String>,
    pub(super) remaining: Option<usize>,
}

impl View {
    pub(super) fn new(
        core: &Arc<Core>,
        resource: &Arc<Resource>,
        accept: &Accept,
        query: &Query,
    ) -> Self {
        Self {
            core: Arc::clone(core),
            resource: Arc::clone(resource),
            form: accept.form,
            include: table::Include::parse(query.get("includeObject")),
        }
    }

    /// Whether stored bytes can be sent as they are.
    pub(super) fn is_verbatim(&self) -> bool {
        self.form == Form::Plain && !self.resource.is_converted()
    }

    /// One object.
    pub(super) async fn stored(&self, stored: &Stored) -> Result<Bytes> {
        match stored {
            Stored::Entry(entry) => self.entry(entry).await,
            Stored::Value(value) => Ok(self.value(value.clone(), true)),
        }
    }

    /// One stored object.
    pub(super) async fn entry(&self, entry: &Entry) -> Result<Bytes> {
        if self.is_verbatim() {
            return Ok(entry.bytes());
        }
        let object = self.core.decode(&self.resource, entry).await?;
        Ok(self.value(object, true))
    }

    /// One object of a watch; only the first table repeats the columns.
    pub(super) async fn event(&self, entry: &Entry, first: bool) -> Result<Bytes> {
        if self.is_verbatim() {
            return Ok(entry.bytes());
        }
        let object = self.core.decode(&self.resource, entry).await?;
        Ok(self.value(object, first))
    }

    fn value(&self, object: Value, columns: bool) -> Bytes {
        let out = match self.form {
            Form::Plain => object,
            Form::Partial => partial(&object),
            Form::Table => {
                let revision = object["metadata"]["resourceVersion"].clone();
                let rows = vec![table::row(&self.resource, &object, self.include)];
                let metadata = json!({"resourceVersion": revision});
                self.table(metadata, rows, columns)
            }
        };
        encode(&out)
    }

    fn table(&self, metadata: Value, rows: Vec<Value>, columns: bool) -> Value {
        let columns = if columns {
            table::columns(&self.resource)
        } else {
            Vec::new()
        };
        json!({
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "columnDefinitions": columns,
            "rows": rows,
        })
    }

    /// A list of stored objects.
    pub(super) async fn list(&self, meta: ListMeta, entries: &[Arc<Entry>]) -> Result<Bytes> {
        let mut metadata = json!({"resourceVersion": meta.revision.to_string()});
        if let Some(continuation) = meta.continuation {
            metadata["continue"] = continuation.into();
        }
        if let Some(remaining) = meta.remaining.filter(|remaining| *remaining > 0) {
            metadata["remainingItemCount"] = remaining.into();
        }
        if self.is_verbatim() {
            return Ok(self.splice(&metadata, entries));
        }
        let mut objects = Vec::with_capacity(entries.len());
        for entry in entries {
            objects.push(self.core.decode(&self.resource, entry).await?);
        }
        Ok(encode(&self.frame(metadata, objects)))
    }

    /// A list of decoded objects.
    fn frame(&self, metadata: Value, objects: Vec<Value>) -> Value {
        match self.form {
            Form::Table => {
                let row = |object| table::row(&self.resource, object, self.include);
                self.table(metadata, objects.iter().map(row).collect(), true)
            }
            Form::Partial => json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "items": objects.iter().map(partial).collect::<Vec<_>>(),
            }),
            Form::Plain => json!({
                "kind": self.resource.list_kind,
                "apiVersion": self.resource.api_version(),
                "metadata": metadata,
                "items": objects,
            }),
        }
    }

    /// The list's JSON around the items' own bytes: nothing is decoded.
    fn splice(&self, metadata: &Value, entries: &[Arc<Entry>]) -> Bytes {
        let items: usize = entries.iter().map(|entry| entry.len() + 1).sum();
        let mut out = Vec::with_capacity(items + 256);
        let (kind, api_version) = (&self.resource.list_kind, self.resource.api_version());
        let head = format!(
            "{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\"items\":["
        );
        out.extend_from_slice(head.as_bytes());
        for (index, entry) in entries.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&entry.bytes());
        }
        out.extend_from_slice(b"]}");
        out.into()
    }

    /// The object a bookmark carries.
    pub(super) fn bookmark(&self, revision: u64, initial_end: bool) -> Value {
        let mut metadata =
            json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            // An empty list in the client's form, for clients that make a list of the events.
            let blueprint = self.frame(json!({}), Vec::new()).to_string();
            metadata["annotations"] = json!({
                "k8s.io/initial-events-end": "true",
                "kubernetes.io/initial-events-list-blueprint": BASE64_STANDARD.encode(blueprint),
            });
        }
        match self.form {
            Form::Plain => json!({
                "kind": self.resource.kind,
                "apiVersion": self.resource.api_version(),
                "metadata": metadata,
            }),
            Form::Partial => json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
            }),
            Form::Table => {
                let object = json!({
                    "kind": self.resource.kind,
                    "apiVersion": self.resource.api_version(),
                    "metadata": metadata,
                });
                let row = json!({"cells": [], "object": object});
                self.table(
                    json!({"resourceVersion": revision.to_string()}),
                    vec![row],
                    false,
                )
            }
        }
    }
}

fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

/// JSON as bytes.
pub(super) fn encode(value: &Value) -> Bytes {
    serde_json::to_vec(value)
        .expect("a JSON value always encodes")
        .into()
}
