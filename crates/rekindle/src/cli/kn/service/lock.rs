//! `--lock-to-digest`: the image a Service runs stays what it was found to be, and what the user
//! called it stands in kn's own annotation.

use serde_json::{Value, json};

use super::super::container::shape::change;
use super::shape::Spec;

/// What the user called the image of a template.
const USER_IMAGE: &str = "client.knative.dev/user-image";

/// Locks or unlocks the image in `service`. `revision` is the last one, by whose status the digest
/// is known; nothing for a new Service.
pub(super) fn lock(service: &mut Value, revision: &Value, spec: &Spec) {
    let template = &mut service["spec"]["template"];
    let called = template["metadata"]["annotations"][USER_IMAGE].as_str();
    let called = called.map(str::to_owned);
    let image = template["spec"]["containers"][0]["image"].as_str();
    let image = image.unwrap_or_default().to_owned();
    let is_given = spec.container.image.is_some();
    let annotations = &mut template["metadata"]["annotations"];
    if spec.no_lock_to_digest {
        let Some(called) = called else { return };
        change(annotations, (USER_IMAGE, None));
        if !is_given {
            template["spec"]["containers"][0]["image"] = json!(called);
        }
    } else if spec.lock_to_digest || called.is_some() {
        let called = called.filter(|_| !is_given).unwrap_or(image);
        change(annotations, (USER_IMAGE, Some(&called)));
        let digest = revision["status"]["containerStatuses"][0]["imageDigest"].as_str();
        if let (false, Some(digest)) = (is_given, digest.filter(|digest| !digest.is_empty())) {
            template["spec"]["containers"][0]["image"] = json!(digest);
        }
    }
}
