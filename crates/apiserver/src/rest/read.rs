//! `get` and `list`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::view::{ListMeta, View};
use crate::request::{Query, Target};
use crate::resource::Resource;
use crate::selector::{FieldSelector, Filter, LabelSelector};
use crate::status::{Result, Status};

/// One object.
pub(super) async fn get(view: &View, target: &Target) -> Result<Bytes> {
    let entry = view
        .core
        .entry(&view.resource, &target.namespace, &target.name)?;
    view.entry(&entry).await
}

/// A collection, or a page of it.
pub(super) async fn list(view: &View, target: &Target, query: &Query) -> Result<Bytes> {
    let filter = filter(&view.resource, query)?;
    check_revision(view, query)?;
    let prefix = prefix(target);
    let limit = query
        .number("limit")?
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    let token = Token::parse(query.get("continue"))?;
    if let Some(token) = &token {
        check_token(view, token)?;
    }
    let mut after = token
        .as_ref()
        .map_or(String::new(), |token| token.after.clone());
    let mut entries = Vec::new();
    let (mut revision, mut remaining);
    loop {
        let wanted = limit - entries.len();
        let page = view
            .core
            .store
            .page(view.resource.id, &prefix, &after, wanted);
        (revision, remaining) = (page.revision, page.remaining);
        if let Some(last) = page.entries.last() {
            after = last.path.to_string();
        }
        entries.extend(
            page.entries
                .into_iter()
                .filter(|entry| filter.matches(entry)),
        );
        if entries.len() >= limit || remaining == 0 {
            break;
        }
    }
    // Later pages keep the first one's revision: a watch from there sees what changed meanwhile.
    let revision = token.map_or(revision, |token| token.revision);
    let more = remaining > 0;
    let continuation = more.then(|| Token { revision, after }.encode());
    let remaining = (more && filter.is_empty()).then_some(remaining);
    view.list(
        ListMeta {
            revision,
            continuation,
            remaining,
        },
        &entries,
    )
    .await
}

/// The paths of a collection start with this.
pub(super) fn prefix(target: &Target) -> String {
    match &*target.namespace {
        "" => String::new(),
        namespace => format!("{namespace}/"),
    }
}

/// The selectors of a list, watch or collection delete.
pub(super) fn filter(resource: &Resource, query: &Query) -> Result<Filter> {
    let (labels, fields) = (query.get("labelSelector"), query.get("fieldSelector"));
    let labels = LabelSelector::parse(labels)
        .map_err(|why| Status::bad_request(format!("unable to parse requirement: {why}")))?;
    let fields = FieldSelector::parse(fields).map_err(Status::bad_request)?;
    for path in fields.paths() {
        check_field(resource, path)?;
    }
    Ok(Filter { labels, fields })
}

fn check_field(resource: &Resource, path: &str) -> Result<()> {
    let own = resource.row.map_or(&[][..], |row| row.fields);
    let known = path == "metadata.name"
        || path == "metadata.namespace" && resource.namespaced
        || own.contains(&path)
        || resource
            .custom
            .as_ref()
            .is_some_and(|custom| custom.fields.iter().any(|f| f == path));
    if known {
        return Ok(());
    }
    Err(Status::bad_request(match own {
        [] => format!(
            "\"{path}\" is not a known field selector: only \"metadata.name\", \
             \"metadata.namespace\""
        ),
        _ => format!("field label not supported: {path}"),
    }))
}

/// Holds the request's `resourceVersion` against what is known.
fn check_revision(view: &View, query: &Query) -> Result<()> {
    let (stated, matching) = (
        query.get("resourceVersion"),
        query.get("resourceVersionMatch"),
    );
    let forbidden = |why: &str| {
        Err(Status::new(
            422,
            "Invalid",
            format!(
                "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: {why}"
            ),
        ))
    };
    if !matching.is_empty() && stated.is_empty() {
        return forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if stated.is_empty() || stated == "0" {
        return Ok(());
    }
    let revision = parse_revision(stated)?;
    let current = view.core.store.revision();
    if revision > current {
        return Err(too_large(revision, current));
    }
    if matching == "Exact" && revision < current {
        return Err(Status::expired(
            "The provided continue parameter is too old to display a \
            consistent list result. You must start a new list without the continue parameter.",
        ));
    }
    Ok(())
}

/// A revision the client gives.
pub(super) fn parse_revision(text: &str) -> Result<u64> {
    text.parse().map_err(|_| {
        Status::bad_request(format!(
            "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
        ))
    })
}

/// The client is ahead of us: it talked to somebody else, or the store was set back.
pub(super) fn too_large(revision: u64, current: u64) -> Status {
    let message = format!("Timeout: Too large resource version: {revision}, current: {current}");
    let mut status = Status::new(504, "Timeout", message).retry_after(1);
    if let Some(details) = &mut status.details {
        details["causes"] =
            json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
    }
    status
}

/// Where the next page of a list goes on.
struct Token {
    revision: u64,
    after: String,
}

impl Token {
    fn parse(text: &str) -> Result<Option<Self>> {
        if text.is_empty() {
            return Ok(None);
        }
        let decoded = URL_SAFE_NO_PAD.decode(text).ok();
        let token = decoded.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let token = token.and_then(|token| {
            let after = token["start"].as_str()?.to_owned();
            Some(Self {
                revision: token["rv"].as_u64()?,
                after,
            })
        });
        let why = "continue key is not valid: encoded string does not have the expected format";
        token.map(Some).ok_or_else(|| Status::bad_request(why))
    }

    fn encode(&self) -> String {
        let token = json!({"v": "meta.k8s.io/v1", "rv": self.revision, "start": self.after});
        URL_SAFE_NO_PAD.encode(token.to_string())
    }
}

/// A client that has paged for too long could miss changes in the watch that follows.
fn check_token(view: &View, token: &Token) -> Result<()> {
    let store = &view.core.store;
    if store.reaches_back_to(view.resource.id, token.revision) {
        return Ok(());
    }
    Err(Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can \
         start a new list without the continue parameter, or use the continue token in this \
         response to retrieve the remainder of the results.",
    ))
}
