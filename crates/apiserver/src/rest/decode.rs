//! Request bodies: JSON, YAML or protobuf to a JSON value.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::status::{Result, Status};

/// What a body with an object may be encoded as.
const ACCEPTED: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// The media type of a request, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    value
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
}

/// The object in a body.
pub(super) fn object(headers: &HeaderMap, body: &Bytes) -> Result<Value> {
    match media_type(headers) {
        "" | "application/json" | "*/*" => json(body),
        "application/yaml" | "text/yaml" => yaml(body),
        "application/vnd.kubernetes.protobuf" => crate::apply::decode_protobuf(body),
        _ => Err(Status::unsupported_media_type(ACCEPTED)),
    }
}

/// A JSON document.
pub(super) fn json(body: &[u8]) -> Result<Value> {
    serde_json::from_slice(body).map_err(|error| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type Object): {error}"
        ))
    })
}

/// A YAML document.
pub(crate) fn yaml(body: &[u8]) -> Result<Value> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?;
    serde_saphyr::from_str(text)
        .map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))
}
