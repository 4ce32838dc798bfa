//! The ServiceAccount as which an object sends events, where tokens are asked for. Knative's
//! `auth.SetupOIDCServiceAccount`.

use api::conditions::Conditions;
use api::draft::{Agree, Child, Draft, not_owned, set_or_remove};
use api::names::child_name;
use api::object::ObjectExt;
use api::world::{Kind, SERVICE_ACCOUNT};
use serde_json::{Value, json};

use super::config::features;

const CREATED: &str = "OIDCIdentityCreated";

/// Sees to the object's ServiceAccount, `status.auth` and `OIDCIdentityCreated`; answers
/// `NAMESPACE/NAME` of the account, if there is to be one.
pub(super) fn establish(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    kind: Kind,
) -> Option<String> {
    if !features(draft.world).authentication_oidc {
        set_or_remove(&mut draft.status, "auth", None);
        conditions.mark_true_because(CREATED, "authentication-oidc feature disabled", "");
        return None;
    }
    let name = name(kind, draft.name());
    draft.status["auth"] = json!({"serviceAccountName": name});
    let description = format!(
        "Service Account for OIDC Authentication for {} {:?}",
        kind.kind,
        draft.name()
    );
    let want = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": draft.child_meta(
            &name,
            json!({"eventing.knative.dev/oidc": "enabled"}),
            json!({"description": description}),
        ),
    });
    if let Child::Foreign = draft.ensure(SERVICE_ACCOUNT, want, Agree::AtLeast) {
        let why = not_owned("ServiceAccount", &name);
        conditions.mark_false(
            CREATED,
            "Unable to resolve service account for OIDC authentication",
            &why,
        );
        return None;
    }
    conditions.mark_true(CREATED);
    Some(format!("{}/{name}", draft.namespace()))
}

/// `NAMESPACE/NAME` of the ServiceAccount as which `object` sends, by its status.
pub(super) fn of(object: &Value) -> Option<String> {
    let name = object["status"]["auth"]["serviceAccountName"].as_str()?;
    Some(format!("{}/{name}", object.namespace()))
}

fn name(kind: Kind, parent: &str) -> String {
    child_name(parent, &format!("-oidc-{}-{}", kind.group, kind.kind)).to_lowercase()
}
