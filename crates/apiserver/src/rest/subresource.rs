//! Subresources that a part of the program answers, such as the dead letters of a Broker: see
//! [`crate::hooks::Subresources`]. Rights are checked before.

use std::sync::Arc;

use http::request::Parts;

use super::{Reply, pod_failed};
use crate::core::Core;
use crate::hooks::Asked;
use crate::request::{Query, Target};
use crate::status::{Result, Status};

/// Answers what is claimed; `None` for every other request.
pub(super) async fn answer(
    core: &Arc<Core>,
    target: &Target,
    parts: &Parts,
    query: &Query,
) -> Option<Result<Reply>> {
    let answers = core.subresources.get()?;
    let resource = &target.resource;
    if !answers.has(&resource.group, &resource.plural, &target.subresource) {
        return None;
    }
    let asked = match asked(core, target, parts, query) {
        Ok(asked) => asked,
        Err(status) => return Some(Err(status)),
    };
    let answer = answers.answer(asked).await;
    Some(match answer {
        Ok(value) => Ok(Reply::value(200, &value)),
        Err(error) => Err(pod_failed(error)),
    })
}

fn asked(core: &Core, target: &Target, parts: &Parts, query: &Query) -> Result<Asked> {
    let resource = &target.resource;
    let verb = target.verb(&parts.method, query);
    if !matches!(verb, "get" | "create" | "delete") {
        return Err(Status::method_not_supported(resource, verb));
    }
    core.entry(resource, &target.namespace, &target.name)?;
    Ok(Asked {
        verb,
        group: resource.group.clone(),
        plural: resource.plural.clone(),
        namespace: target.namespace.clone(),
        name: target.name.clone(),
        subresource: target.subresource.clone(),
        query: query.pairs().to_vec(),
        dry_run: query.dry_run()?,
    })
}
