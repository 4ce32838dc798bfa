//! The token of a SinkBinding's subjects: as which ServiceAccount they send, shown by a token in a
//! Secret that is mounted into them. Made where tokens are asked for and the sink has an audience,
//! renewed in time. Knative's `reconcileOIDCTokenSecret`.

use api::conditions::Conditions;
use api::draft::{Agree, Child, Draft, not_owned, set_or_remove};
use api::names::child_name;
use api::object::ObjectExt;
use api::world::{Action, Fact, SECRET, SERVICE_ACCOUNT, SINK_BINDING};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::config::features;
use super::identity;

const CREATED: &str = "OIDCTokenSecretCreated";
const IDENTITY: &str = "OIDCIdentityCreated";
/// Where the Secret is named.
const STATUS: &str = "oidcTokenSecretName";
const KEY: &str = "token";
/// A token that ends earlier than this is renewed: what is mounted follows within a minute.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_mins(10);

/// Sees to account, Secret, status and conditions; says whether subjects can be told, with a token or
/// because none is wanted.
pub(super) fn establish(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    audience: Option<&str>,
) -> bool {
    let is_on = features(draft.world).authentication_oidc;
    let Some(audience) = audience.filter(|_| is_on) else {
        let why = match is_on {
            true => "Sink has no audience defined",
            false => "authentication-oidc feature disabled",
        };
        conditions.mark_true_because(IDENTITY, why, "");
        conditions.mark_true_because(CREATED, why, "");
        set_or_remove(&mut draft.status, "auth", None);
        set_or_remove(&mut draft.status, STATUS, None);
        remove(draft);
        return true;
    };
    let account = identity::establish(draft, conditions, SINK_BINDING);
    let Some((_, account)) = account.as_deref().and_then(|name| name.split_once('/')) else {
        conditions.mark_unknown(
            CREATED,
            "IdentityMissing",
            "There is no ServiceAccount yet.",
        );
        return false;
    };
    secret(draft, conditions, account, audience)
}

/// What was made, when it is wanted no more.
fn remove(draft: &mut Draft<'_>) {
    let name = name(draft.name());
    let found = draft.get(SECRET, &name);
    if let Some(secret) = found.filter(|secret| is_own(draft, secret)) {
        draft.delete(SECRET, &secret);
    }
}

fn is_own(draft: &Draft<'_>, secret: &Value) -> bool {
    let owner = secret.controller_owner();
    owner.is_some_and(|owner| owner["uid"] == *draft.object.uid())
}

fn name(binding: &str) -> String {
    child_name(binding, "-oidc-token")
}

fn secret(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    account: &str,
    audience: &str,
) -> bool {
    let name = name(draft.name());
    let found = draft.get(SECRET, &name);
    let claims = found.as_deref().and_then(claims);
    let subject = format!("system:serviceaccount:{}:{account}", draft.namespace());
    let good = claims.filter(|claims| claims.is_for(&subject, audience));
    let holds_until = good.map(|claims| claims.until);
    let renew_at = holds_until.and_then(|until| until.checked_sub(RENEW_BEFORE).ok());
    if let Some(renew_at) = renew_at.filter(|at| *at > draft.now()) {
        draft.push(Action::At(renew_at));
        return made(draft, conditions, &name);
    }
    let still_holds = holds_until.is_some_and(|until| until > draft.now());
    // An account that is made by this plan has no tokens yet.
    let fact = Fact::Token {
        namespace: draft.namespace().to_owned(),
        account: account.to_owned(),
        audience: audience.to_owned(),
    };
    let has_account = draft.get(SERVICE_ACCOUNT, account).is_some();
    let token = match has_account {
        true => draft.need(fact),
        false => None,
    };
    if still_holds && token.as_ref().is_none_or(|token| token["token"].is_null()) {
        return made(draft, conditions, &name);
    }
    let Some(token) = token else {
        conditions.mark_unknown(CREATED, "TokenRequested", "The token is being made.");
        return false;
    };
    let Some(text) = token["token"].as_str() else {
        let why = token["error"].as_str().unwrap_or("no token was given");
        conditions.mark_false(CREATED, "Unable to reconcile OIDC token secret", why);
        return false;
    };
    let want = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": draft.child_meta(
            &name,
            json!({"eventing.knative.dev/oidc": "enabled"}),
            Value::Null,
        ),
        "data": {KEY: STANDARD.encode(text)},
    });
    if let Child::Foreign = draft.ensure(SECRET, want, Agree::AtLeast) {
        let why = not_owned("Secret", &name);
        conditions.mark_false(CREATED, "Unable to reconcile OIDC token secret", &why);
        return false;
    }
    made(draft, conditions, &name)
}

fn made(draft: &mut Draft<'_>, conditions: &mut Conditions, name: &str) -> bool {
    draft.status[STATUS] = json!(name);
    conditions.mark_true(CREATED);
    true
}

/// What a token says.
struct Claims {
    subject: String,
    audiences: Vec<Value>,
    until: Timestamp,
}

impl Claims {
    fn is_for(&self, subject: &str, audience: &str) -> bool {
        self.subject == subject && self.audiences.iter().any(|one| one == audience)
    }
}

/// The claims of the token in a Secret; nobody here need check who signed it.
fn claims(secret: &Value) -> Option<Claims> {
    let token = STANDARD.decode(secret["data"][KEY].as_str()?).ok()?;
    let middle = token.split(|byte| *byte == b'.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(middle).ok()?).ok()?;
    Some(Claims {
        subject: claims["sub"].as_str()?.to_owned(),
        audiences: match &claims["aud"] {
            Value::Array(all) => all.clone(),
            one => vec![one.clone()],
        },
        until: Timestamp::from_second(claims["exp"].as_i64()?).ok()?,
    })
}
