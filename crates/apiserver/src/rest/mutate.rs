//! `create`, `update`, `patch`, `delete`, `deletecollection` as requests.

use std::sync::Mutex;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};

use super::Reply;
use super::decode;
use super::read::{filter, prefix};
use super::view::{View, encode};
use crate::request::{Query, Target};
use crate::status::{Result, Status};
use crate::write::{self, Call, DeleteOptions, Deleted, Stored};
use crate::{apply, kinds};

/// The parts of a request that writes.
pub(super) struct Input<'a> {
    pub(super) target: &'a Target,
    pub(super) query: &'a Query,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
}

/// POST to a collection.
pub(super) async fn create(call: &Call<'_>, view: &View, input: &Input<'_>) -> Result<Reply> {
    let mut object = decode::object(input.headers, input.body)?;
    apply::check_fields(call, input.headers, input.body, &mut object)?;
    let stored = write::create(call, object).await?;
    Ok(Reply::object(201, view.stored(&stored).await?))
}

/// PUT of an object, its status or its scale.
pub(super) async fn update(call: &Call<'_>, view: &View, input: &Input<'_>) -> Result<Reply> {
    let mut object = decode::object(input.headers, input.body)?;
    let name = &input.target.name;
    if call.subresource == "scale" {
        return scale(call, name, |_| Ok(object.clone())).await;
    }
    apply::check_fields(call, input.headers, input.body, &mut object)?;
    let mut first = Some(object);
    let again = || {
        let mut object = decode::object(input.headers, input.body)?;
        kinds::prune(call.resource, &mut object);
        Ok(object)
    };
    let modified = write::modify(call, name, |_| first.take().map_or_else(again, Ok)).await?;
    Ok(Reply::object(200, view.stored(&modified.stored).await?))
}

/// PATCH of any of the four types.
pub(super) async fn patch(call: &Call<'_>, view: &View, input: &Input<'_>) -> Result<Reply> {
    let name = &input.target.name;
    let patch = apply::Patch::parse(call, input.headers, input.query, input.body)?;
    if call.subresource == "scale" {
        return scale(call, name, |scale| patch.to(call, Some(scale))).await;
    }
    if let Some(configuration) = patch.configuration() {
        let mut configuration = configuration.clone();
        apply::check_fields(call, input.headers, input.body, &mut configuration)?;
    }
    let call = &Call {
        applied: patch.is_apply(),
        warnings: Mutex::default(),
        ..*call
    };
    let path = call.resource.path(call.namespace, name);
    if patch.is_apply() && call.core.store.get(call.resource.id, &path).is_none() {
        if !call.subresource.is_empty() {
            return Err(Status::not_found(call.resource, name));
        }
        let object = patch.to(call, None)?;
        let stored = write::create_named(call, name, object).await?;
        return Ok(Reply::object(201, view.stored(&stored).await?));
    }
    let modified = write::modify(call, name, |old| patch.to(call, Some(old))).await?;
    Ok(Reply::object(200, view.stored(&modified.stored).await?))
}

/// Reads the scale of an object.
pub(super) async fn get_scale(view: &View, target: &Target) -> Result<Reply> {
    let entry = view
        .core
        .entry(&view.resource, &target.namespace, &target.name)?;
    let object = view.core.decode(&view.resource, &entry).await?;
    Ok(Reply::object(
        200,
        encode(&write::scale_of(&view.resource, &object)?),
    ))
}

async fn scale(
    call: &Call<'_>,
    name: &str,
    change: impl Fn(&Value) -> Result<Value>,
) -> Result<Reply> {
    let modified = write::modify(call, name, |old| {
        let wanted = change(&write::scale_of(call.resource, old)?)?;
        let mut new = write::set_replicas(call.resource, old, write::read_scale(&wanted)?);
        let stated = &wanted["metadata"]["resourceVersion"];
        new["metadata"]["resourceVersion"] = stated.as_str().unwrap_or_default().into();
        Ok(new)
    });
    let object = match modified.await?.stored {
        Stored::Entry(entry) => call.core.decode(call.resource, &entry).await?,
        Stored::Value(value) => value,
    };
    Ok(Reply::object(
        200,
        encode(&write::scale_of(call.resource, &object)?),
    ))
}

/// DELETE of an object.
pub(super) async fn delete(call: &Call<'_>, view: &View, input: &Input<'_>) -> Result<Reply> {
    let options = options(input)?;
    let name = &input.target.name;
    match write::delete(call, name, &options).await? {
        Deleted::Marked(stored) => Ok(Reply::object(200, view.stored(&stored).await?)),
        Deleted::Gone(stored, _) if call.resource.is("", "pods") => {
            Ok(Reply::object(200, view.stored(&stored).await?))
        }
        Deleted::Gone(_, uid) => {
            let mut details = json!({"name": name, "kind": call.resource.plural, "uid": uid});
            if !call.resource.group.is_empty() {
                details["group"] = call.resource.group.as_str().into();
            }
            let status = json!({
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Success",
                "details": details,
            });
            Ok(Reply::object(200, encode(&status)))
        }
    }
}

/// DELETE of a collection: of every object the selectors take.
pub(super) async fn delete_collection(
    call: &Call<'_>,
    view: &View,
    input: &Input<'_>,
) -> Result<Reply> {
    let options = options(input)?;
    let filter = filter(call.resource, input.query)?;
    let page = call
        .core
        .store
        .page(call.resource.id, &prefix(input.target), "", usize::MAX);
    let mut deleted = Vec::new();
    for entry in page.entries.iter().filter(|entry| filter.matches(entry)) {
        let namespace = entry.namespace().to_owned();
        let one = Call {
            namespace: &namespace,
            warnings: Mutex::default(),
            ..*call
        };
        match write::delete(&one, entry.name(), &options).await {
            Ok(_) => deleted.push(std::sync::Arc::clone(entry)),
            Err(status) if status.reason == "NotFound" => {}
            Err(status) => return Err(status),
        }
    }
    let meta = super::view::ListMeta {
        revision: page.revision,
        continuation: None,
        remaining: None,
    };
    Ok(Reply::object(200, view.list(meta, &deleted).await?))
}

fn options(input: &Input<'_>) -> Result<DeleteOptions> {
    let body = match input.body.is_empty() {
        true => Value::Null,
        false => decode::object(input.headers, input.body)?,
    };
    DeleteOptions::parse(&body, input.query)
}
