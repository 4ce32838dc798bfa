//! The four types of PATCH.

use bytes::Bytes;
use http::HeaderMap;
use schema::PatchError;
use schema::apply::{Error, Operation};
use serde_json::Value;

use crate::meta;
use crate::request::Query;
use crate::resource::Resource;
use crate::status::{Result, Status};
use crate::write::Call;

/// A parsed patch.
pub(crate) enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own: lists are merged by key.
    Strategic(Value),
    /// Server-side apply of a configuration.
    Apply {
        /// The configuration.
        object: Value,
        /// Take fields away from others.
        force: bool,
    },
}

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

impl Patch {
    /// Reads the body of a PATCH.
    pub(crate) fn parse(
        call: &Call<'_>,
        headers: &HeaderMap,
        query: &Query,
        body: &Bytes,
    ) -> Result<Self> {
        let media_type = headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok());
        let media_type = media_type
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default();
        let json = || {
            serde_json::from_slice(body)
                .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))
        };
        let custom = call.resource.row.is_none();
        match media_type.trim() {
            JSON => json().map(Self::Json),
            MERGE => json().map(Self::Merge),
            STRATEGIC if !custom => json().map(Self::Strategic),
            APPLY | "application/apply-patch+json" => {
                if query.get("fieldManager").is_empty() {
                    return Err(Status::new(
                        422,
                        "Invalid",
                        "PatchOptions.meta.k8s.io \"\" is \
                        invalid: fieldManager: Required value: is required for apply patch",
                    ));
                }
                let object = crate::rest::yaml_body(body)?;
                Ok(Self::Apply {
                    object,
                    force: query.flag("force"),
                })
            }
            _ if custom => Err(Status::unsupported_media_type(&[JSON, MERGE, APPLY])),
            _ => Err(Status::unsupported_media_type(&[
                JSON, MERGE, STRATEGIC, APPLY,
            ])),
        }
    }

    /// Whether it is an apply, which makes the object when there is none.
    pub(crate) fn is_apply(&self) -> bool {
        matches!(self, Self::Apply { .. })
    }

    /// The configuration of an apply, for the check of its fields.
    pub(crate) fn configuration(&self) -> Option<&Value> {
        match self {
            Self::Apply { object, .. } => Some(object),
            _ => None,
        }
    }

    /// The patched object; of nothing, for an apply.
    pub(crate) fn to(&self, call: &Call<'_>, old: Option<&Value>) -> Result<Value> {
        let resource = call.resource;
        let name = old.map_or("", |old| {
            old["metadata"]["name"].as_str().unwrap_or_default()
        });
        if let Self::Apply { object, force } = self {
            return apply(call, old, object, *force);
        }
        let mut new = old.cloned().unwrap_or_default();
        let patched = match self {
            Self::Json(patch) => schema::json_patch(&mut new, patch),
            Self::Merge(patch) => schema::merge_patch(&mut new, patch.clone()),
            Self::Strategic(patch) => match resource.schema() {
                Some(schema) => schema::strategic_merge(schema, &mut new, patch.clone()),
                None => schema::merge_patch(&mut new, patch.clone()),
            },
            Self::Apply { .. } => Ok(()),
        };
        patched.map_err(|error| refused(resource, name, &error))?;
        if call.subresource != "scale" {
            super::fields::check_patched(call, &mut new)?;
        }
        Ok(new)
    }
}

fn refused(resource: &Resource, name: &str, error: &PatchError) -> Status {
    match error {
        PatchError::Decode(_) => Status::bad_request(error.to_string()),
        PatchError::TooManyOperations { .. } => {
            Status::new(413, "RequestEntityTooLarge", error.to_string())
        }
        _ => {
            let mut status = Status::new(
                422,
                "Invalid",
                "the server rejected our request due to an error in our request",
            );
            // Kubernetes leaves the cause out, and nobody learns what did not apply. kubectl shows
            // field and message.
            let cause = serde_json::json!({"reason": "UnexpectedServerResponse",
                "message": error.to_string(), "field": "patch"});
            status.details = Some(serde_json::json!({"name": name, "kind": resource.plural,
                "causes": [cause]}));
            status
        }
    }
}

fn apply(call: &Call<'_>, old: Option<&Value>, object: &Value, force: bool) -> Result<Value> {
    let (api_version, time) = (call.resource.api_version(), meta::now());
    let operation = Operation {
        manager: call.field_manager,
        time: &time,
        api_version: &api_version,
        subresource: call.subresource,
    };
    let any = schema::Schema::any();
    let schema = call.resource.schema().unwrap_or(&any);
    schema::apply::apply(schema, old, object, &operation, force).map_err(|error| match error {
        Error::Conflicts(conflicts) => {
            let mut status = Status::new(409, "Conflict", conflicts.to_string());
            for conflict in &conflicts.conflicts {
                let message = conflict.message();
                status = status.with_cause("FieldManagerConflict", &message, &conflict.field);
            }
            status
        }
        Error::Typed { .. } => Status::internal(error),
        other => Status::bad_request(other.to_string()),
    })
}
