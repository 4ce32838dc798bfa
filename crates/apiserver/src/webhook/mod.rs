//! Webhooks: admission (mutating, then validating) and conversion of custom resources.
//!
//! Called by `crate::write` for every write and by `crate::convert`. Which webhooks exist is read
//! from the store once and again when a configuration changes; with none, a write costs one lock.

mod call;
mod rules;

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::core::Core;
use crate::hooks::Operation;
use crate::status::{Result, Status};
use crate::write::Call;
use rules::Webhook;

const GROUP: &str = "admissionregistration.k8s.io";
/// How often a mutating webhook is called for one write at most.
const ROUNDS: usize = 2;

/// What the server does itself with an object that webhooks changed.
pub(crate) trait Rules: Sync {
    /// Fills in what a change has left out, and takes back what webhooks have no say in.
    ///
    /// # Errors
    /// The object cannot be.
    fn settle(&self, object: &mut Value) -> Result<()>;

    /// The program's own admission, once more; whether it changed the object.
    ///
    /// # Errors
    /// It refuses the object.
    fn judge(&self, object: &mut Value) -> Result<bool>;
}

/// Calls webhooks.
#[derive(Default)]
pub(crate) struct Client {
    configured: RwLock<Option<Arc<Configured>>>,
}

#[derive(Default)]
struct Configured {
    mutating: Vec<Webhook>,
    validating: Vec<Webhook>,
}

impl Client {
    /// A webhook configuration changed.
    pub(crate) fn invalidate(&self) {
        *self
            .configured
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn configured(&self, core: &Core) -> Arc<Configured> {
        let present = self
            .configured
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        present.unwrap_or_else(|| {
            let read = Arc::new(Configured {
                mutating: read(core, "mutatingwebhookconfigurations"),
                validating: read(core, "validatingwebhookconfigurations"),
            });
            let mut slot = self
                .configured
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            *slot = Some(Arc::clone(&read));
            read
        })
    }

    /// Lets the mutating webhooks change an object, `after` every change of theirs what this server
    /// fills in. When one has changed it, `judge` does its part again and says whether it changed
    /// the object; then those that ask for it (`reinvocationPolicy: IfNeeded`) are called once more
    /// if somebody changed the object after them.
    pub(crate) async fn mutate(
        &self,
        call: &Call<'_>,
        operation: Operation,
        mut object: Value,
        old: &Value,
        rules: &dyn Rules,
    ) -> Result<Value> {
        let configured = self.configured(call.core);
        let mut due: Vec<&Webhook> = configured.mutating.iter().collect();
        for _ in 0..ROUNDS {
            let (mut changed, mut passed, mut again) = (false, Vec::new(), Vec::new());
            for webhook in due {
                if !webhook.concerns(call, operation, &object, old) {
                    continue;
                }
                if self
                    .patch(call, webhook, operation, &mut object, old)
                    .await?
                {
                    rules.settle(&mut object)?;
                    changed = true;
                    again.append(&mut passed);
                }
                if webhook.reinvoked {
                    passed.push(webhook);
                }
            }
            if !changed {
                break;
            }
            if rules.judge(&mut object)? {
                again.append(&mut passed);
            }
            due = again;
        }
        Ok(object)
    }

    /// One mutating webhook's turn; whether it changed the object.
    async fn patch(
        &self,
        call: &Call<'_>,
        webhook: &Webhook,
        operation: Operation,
        object: &mut Value,
        old: &Value,
    ) -> Result<bool> {
        let response = self
            .admission(call, webhook, operation, (object, old))
            .await?;
        let patch = response
            .as_ref()
            .and_then(|response| response["patch"].as_str());
        let Some(patch) = patch.filter(|patch| !patch.is_empty()) else {
            return Ok(false);
        };
        let patch = STANDARD.decode(patch).ok();
        let patch = patch.and_then(|patch| serde_json::from_slice::<Value>(&patch).ok());
        let before = object.clone();
        let patched = patch.map(|patch| schema::json_patch(object, &patch));
        match patched {
            Some(Ok(())) => Ok(*object != before),
            _ => Err(Status::internal(format_args!(
                "admission webhook \"{}\" returned a patch that cannot be applied",
                webhook.name
            ))),
        }
    }

    /// Lets the validating webhooks judge an object.
    pub(crate) async fn validate(
        &self,
        call: &Call<'_>,
        operation: Operation,
        object: &Value,
        old: &Value,
    ) -> Result<()> {
        let configured = self.configured(call.core);
        for webhook in &configured.validating {
            if webhook.concerns(call, operation, object, old) {
                self.admission(call, webhook, operation, (object, old))
                    .await?;
            }
        }
        Ok(())
    }

    /// One webhook's response; `None` when it could not be asked and that is to be ignored.
    async fn admission(
        &self,
        call: &Call<'_>,
        webhook: &Webhook,
        operation: Operation,
        (object, old): (&Value, &Value),
    ) -> Result<Option<Value>> {
        let name = &webhook.name;
        if call.dry_run && !webhook.dry_runs {
            return Err(Status::bad_request(format!(
                "admission webhook \"{name}\" does not support dry run"
            )));
        }
        let uid = uuid::Uuid::new_v4().to_string();
        let review = review(call, &uid, operation, (object, old));
        let answer = call::post(call.core, &webhook.client, webhook.timeout, &review).await;
        let answer = answer.and_then(|answer| match answer["response"]["uid"].as_str() {
            Some(echoed) if echoed == uid => Ok(answer),
            _ => Err(format!("expected response.uid=\"{uid}\"")),
        });
        let response = match answer {
            Ok(mut answer) => answer["response"].take(),
            Err(why) if webhook.ignores_failure => {
                tracing::warn!(webhook = name, why, "failed calling webhook, failing open");
                return Ok(None);
            }
            Err(why) => {
                let why =
                    format!("failed calling webhook \"{name}\": failed to call webhook: {why}");
                return Err(Status::internal(why));
            }
        };
        for warning in crate::meta::strings(&response["warnings"]) {
            call.warn(warning);
        }
        if response["allowed"] == true {
            Ok(Some(response))
        } else {
            Err(denied(name, &response))
        }
    }

    /// Converts an object by its definition's webhook.
    pub(crate) async fn convert(
        &self,
        core: &Core,
        webhook: &Value,
        object: Value,
        api_version: &str,
    ) -> Result<Value, String> {
        let uid = uuid::Uuid::new_v4().to_string();
        let metadata = object["metadata"].clone();
        let review = json!({
            "kind": "ConversionReview",
            "apiVersion": "apiextensions.k8s.io/v1",
            "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": [object]},
        });
        let timeout = std::time::Duration::from_secs(30);
        let mut answer = call::post(core, &webhook["clientConfig"], timeout, &review).await?;
        let response = &mut answer["response"];
        if response["result"]["status"] != "Success" {
            let why = response["result"]["message"].as_str();
            return Err(why.unwrap_or("the webhook gave no reason").to_owned());
        }
        let mut converted = response["convertedObjects"][0].take();
        if converted["apiVersion"] != api_version {
            let got = &converted["apiVersion"];
            return Err(format!(
                "invalid groupVersion (expected {api_version}, received {got})"
            ));
        }
        // A conversion has no say in who the object is: labels and annotations alone are its own.
        let mut kept = metadata;
        for key in ["labels", "annotations"] {
            kept[key] = converted["metadata"][key].take();
        }
        if let Some(fields) = kept.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        converted["metadata"] = kept;
        Ok(converted)
    }
}

fn read(core: &Core, plural: &str) -> Vec<Webhook> {
    let id = core.builtin(GROUP, plural).id;
    let objects = core.store.list(id, "");
    let objects = objects
        .iter()
        .filter_map(|entry| crate::core::decode_stored(entry).ok());
    objects
        .flat_map(|object| {
            let webhooks = crate::kinds::items(&object["webhooks"]).iter();
            webhooks.map(Webhook::parse).collect::<Vec<_>>()
        })
        .collect()
}

fn review(
    call: &Call<'_>,
    uid: &str,
    operation: Operation,
    (object, old): (&Value, &Value),
) -> Value {
    let resource = call.resource;
    let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let of =
        json!({"group": resource.group, "version": resource.version, "resource": resource.plural});
    let subject = if object.is_null() { old } else { object };
    let mut request = json!({
        "uid": uid,
        "kind": kind,
        "resource": of,
        "requestKind": kind,
        "requestResource": of,
        "name": subject["metadata"]["name"],
        "operation": operation.as_str(),
        "userInfo": {"username": call.user.name, "groups": call.user.groups},
        "object": object,
        "oldObject": old,
        "dryRun": call.dry_run,
        "options": null,
    });
    if !call.namespace.is_empty() {
        request["namespace"] = call.namespace.into();
    }
    if !call.subresource.is_empty() {
        request["subResource"] = call.subresource.into();
        request["requestSubResource"] = call.subresource.into();
    }
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
}

/// The refusal in the webhook's name.
fn denied(name: &str, response: &Value) -> Status {
    let result = &response["status"];
    let message = match (result["message"].as_str(), result["reason"].as_str()) {
        (Some(message), _) if !message.is_empty() => {
            format!("admission webhook \"{name}\" denied the request: {message}")
        }
        (_, Some(reason)) if !reason.is_empty() => {
            format!("admission webhook \"{name}\" denied the request: {reason}")
        }
        _ => format!("admission webhook \"{name}\" denied the request without explanation"),
    };
    let code = result["code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok());
    let code = code.filter(|code| *code >= 400).unwrap_or(403);
    let reason = match code {
        400 => "BadRequest",
        409 => "Conflict",
        422 => "Invalid",
        _ => "Forbidden",
    };
    Status::new(code, reason, message)
}
