//! Where the `schema` crate plugs in: patches, field ownership, checks of request bodies.

mod fields;
mod patch;

use bytes::Bytes;
use schema::apply::Operation;
use serde_json::Value;

pub(crate) use fields::{check_fields, undecodable};
pub(crate) use patch::Patch;

use crate::meta;
use crate::status::{Result, Status};
use crate::write::Call;

/// Records who owns which field after a write that is not an apply.
///
/// Writes from within this process do not begin such a record: ownership matters between people
/// and tools, and the record is often larger than the object.
pub(crate) fn track(call: &Call<'_>, old: Option<&Value>, new: &mut Value) {
    let Some(schema) = call.resource.schema() else {
        return;
    };
    if call.applied {
        return;
    }
    let begun = old.is_some_and(|old| old["metadata"]["managedFields"].is_array());
    if call.local && (!begun || call.subresource == "status") {
        match old
            .map(|old| &old["metadata"]["managedFields"])
            .filter(|m| m.is_array())
        {
            Some(managed) => {
                let managed = managed.clone();
                meta::of(new).insert("managedFields".into(), managed);
            }
            None => drop(meta::of(new).remove("managedFields")),
        }
        return;
    }
    if old == Some(new) {
        return;
    }
    let (api_version, time) = (call.resource.api_version(), meta::now());
    let operation = Operation {
        manager: call.field_manager,
        time: &time,
        api_version: &api_version,
        subresource: call.subresource,
    };
    *new = schema::apply::update(schema, old, new, &operation);
}

/// The object in a protobuf body.
pub(crate) fn decode_protobuf(body: &Bytes) -> Result<Value> {
    schema::protobuf::decode(body).map_err(|error| Status::bad_request(error.to_string()))
}
