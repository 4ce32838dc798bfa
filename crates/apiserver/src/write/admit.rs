//! Admission: the hooks of this program, then the webhooks of the cluster's users. Who changes an
//! object leaves fields out, as every client does; so the server fills in what it fills in for
//! requests after every change, and judges again what was changed behind its back.

use serde_json::Value;

use super::Call;
use crate::hooks::{Operation, Review};
use crate::kinds;
use crate::status::{Result, Status};
use crate::webhook::Rules;

/// What the kind of a request fills in and takes back, for an object that somebody changed.
pub(super) type Settle<'a> = &'a (dyn Fn(&mut Value) -> Result<()> + Sync);

/// Lets the hooks and the mutating webhooks change the object, or end the request.
pub(super) async fn admit(
    call: &Call<'_>,
    operation: Operation,
    mut object: Value,
    old: &Value,
    settle: Settle<'_>,
) -> Result<Value> {
    let admission = Admission {
        call,
        operation,
        old,
        settle,
    };
    admission.judge(&mut object)?;
    let webhooks = &call.core.webhooks;
    webhooks
        .mutate(call, operation, object, old, &admission)
        .await
}

/// One write on its way through admission.
struct Admission<'a> {
    call: &'a Call<'a>,
    operation: Operation,
    old: &'a Value,
    settle: Settle<'a>,
}

impl Rules for Admission<'_> {
    fn settle(&self, object: &mut Value) -> Result<()> {
        if object.is_object() {
            kinds::prune(self.call.resource, object);
            (self.settle)(object)?;
        }
        Ok(())
    }

    fn judge(&self, object: &mut Value) -> Result<bool> {
        let Call { core, resource, .. } = self.call;
        let claims = core
            .hooks
            .claims(&resource.group, &resource.kind, self.call.subresource);
        if !claims {
            return Ok(false);
        }
        let name = object["metadata"]["name"]
            .as_str()
            .or_else(|| self.old["metadata"]["name"].as_str());
        let review = Review {
            operation: self.operation,
            group: &resource.group,
            version: &resource.version,
            kind: &resource.kind,
            subresource: self.call.subresource,
            namespace: self.call.namespace,
            name: name.unwrap_or_default(),
            object,
            old: self.old,
            user: self.call.user,
            dry_run: self.call.dry_run,
            cluster: core.as_ref(),
        };
        let admitted = core
            .hooks
            .admit(&review)
            .map_err(|denied| Status::new(400, "BadRequest", denied.message))?;
        admitted
            .warnings
            .into_iter()
            .for_each(|warning| self.call.warn(warning));
        let changed = *object != admitted.object;
        if changed {
            *object = admitted.object;
            self.settle(object)?;
        }
        Ok(changed)
    }
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
