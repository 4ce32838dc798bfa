//! Admission: the hooks of this program, then the webhooks of the cluster's users.

use serde_json::Value;

use super::Call;
use crate::hooks::{Operation, Review};
use crate::status::{Result, Status};

/// Lets the hooks and the mutating webhooks change the object, or end the request.
pub(super) async fn admit(
    call: &Call<'_>,
    operation: Operation,
    mut object: Value,
    old: &Value,
) -> Result<Value> {
    let Call { core, resource, .. } = call;
    let claims = core
        .hooks
        .claims(&resource.group, &resource.kind, call.subresource);
    if claims {
        let name = object["metadata"]["name"]
            .as_str()
            .or_else(|| old["metadata"]["name"].as_str());
        let review = Review {
            operation,
            group: &resource.group,
            version: &resource.version,
            kind: &resource.kind,
            subresource: call.subresource,
            namespace: call.namespace,
            name: name.unwrap_or_default(),
            object: &object,
            old,
            user: call.user,
            dry_run: call.dry_run,
            cluster: core.as_ref(),
        };
        let admitted = core
            .hooks
            .admit(&review)
            .map_err(|denied| Status::new(400, "BadRequest", denied.message))?;
        admitted
            .warnings
            .into_iter()
            .for_each(|warning| call.warn(warning));
        object = admitted.object;
    }
    core.webhooks.mutate(call, operation, object, old).await
}

/// Lets the validating webhooks end the request.
pub(super) async fn validate(
    call: &Call<'_>,
    operation: Operation,
    object: &Value,
    old: &Value,
) -> Result<()> {
    call.core
        .webhooks
        .validate(call, operation, object, old)
        .await
}
