//! Tokens of ServiceAccounts: JSON web tokens signed with the server's key.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::User;
use crate::core::Core;

/// Who issues tokens, and the audience of tokens for the API itself.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// The audience a token has when none is asked for.
pub(crate) const AUDIENCE: &str = ISSUER;
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// A token as the TokenRequest subresource gives it.
pub(crate) struct Issued {
    pub(crate) token: String,
    pub(crate) expires: String,
    pub(crate) audiences: Vec<String>,
}

/// Issues a token of `account` for so many seconds.
pub(crate) fn issue(
    core: &Core,
    account: &Value,
    audiences: &[String],
    seconds: i64,
    bound: &Value,
) -> Result<Issued, String> {
    let metadata = &account["metadata"];
    let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
    let audiences = match audiences {
        [] => vec![AUDIENCE.to_owned()],
        stated => stated.to_vec(),
    };
    let now = Timestamp::now();
    let expires = now.checked_add(Duration::from_secs(seconds.unsigned_abs()));
    let expires = expires.map_err(|error| error.to_string())?;
    let mut of = json!({
        "namespace": namespace,
        "serviceaccount": {"name": name, "uid": metadata["uid"]},
    });
    if let Some(kind) = bound["kind"].as_str() {
        of[kind.to_lowercase()] = json!({"name": bound["name"], "uid": bound["uid"]});
    }
    let claims = json!({
        "iss": ISSUER,
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "aud": audiences,
        "iat": now.as_second(),
        "nbf": now.as_second(),
        "exp": expires.as_second(),
        "jti": uuid::Uuid::new_v4().to_string(),
        "kubernetes.io": of,
    });
    let token = sign(core, &claims)?;
    Ok(Issued {
        token,
        expires: crate::meta::format_seconds(expires),
        audiences,
    })
}

/// The token of a Secret of type `kubernetes.io/service-account-token`: it does not expire.
pub(crate) fn legacy(core: &Core, account: &Value, secret: &str) -> Result<String, String> {
    let metadata = &account["metadata"];
    let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
    let claims = json!({
        "iss": LEGACY_ISSUER,
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/secret.name": secret,
        "kubernetes.io/serviceaccount/service-account.name": name,
        "kubernetes.io/serviceaccount/service-account.uid": metadata["uid"],
    });
    sign(core, &claims)
}

fn sign(core: &Core, claims: &Value) -> Result<String, String> {
    let header = json!({"alg": "ES256", "kid": core.pki.account_key_id(), "typ": "JWT"});
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature = core.pki.sign_token(signed.as_bytes())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The user a token for the API itself stands for, or why it is refused.
pub(crate) fn verify(core: &Core, token: &str) -> Result<User, String> {
    let (user, _) = verify_for(core, token, &[AUDIENCE.to_owned()])?;
    Ok(user)
}

/// The user a token stands for, and those of `audiences` it is meant for, or why it is refused.
pub(crate) fn verify_for(
    core: &Core,
    token: &str,
    audiences: &[String],
) -> Result<(User, Vec<String>), String> {
    let claims = verified_claims(core, token)?;
    let now = Timestamp::now().as_second();
    if claims["exp"].as_i64().is_some_and(|expires| expires < now) {
        return Err("[invalid bearer token, service account token has expired]".into());
    }
    if claims["nbf"].as_i64().is_some_and(|from| from > now + 60) {
        return Err("token is not valid yet".into());
    }
    if claims["iss"] == LEGACY_ISSUER {
        // A token without an audience is meant for the API.
        let meant = audience_of(&json!(AUDIENCE), audiences)?;
        return Ok((legacy_user(core, &claims)?, meant));
    }
    let meant = audience_of(&claims["aud"], audiences)?;
    Ok((bound_user(core, &claims)?, meant))
}

/// Those of `wanted` that are among the claimed.
fn audience_of(claimed: &Value, wanted: &[String]) -> Result<Vec<String>, String> {
    let is_claimed = |wanted: &str| {
        claimed == wanted || crate::meta::strings(claimed).any(|claimed| claimed == wanted)
    };
    let meant: Vec<String> = wanted
        .iter()
        .filter(|one| is_claimed(one))
        .cloned()
        .collect();
    if meant.is_empty() {
        return Err(format!(
            "token audiences {claimed} is invalid for the target audiences {wanted:?}"
        ));
    }
    Ok(meant)
}

fn verified_claims(core: &Core, token: &str) -> Result<Value, String> {
    let (signed, signature) = token.rsplit_once('.').ok_or("invalid bearer token")?;
    let decode = |part: &str| {
        URL_SAFE_NO_PAD
            .decode(part)
            .map_err(|_| "invalid bearer token")
    };
    core.pki
        .verify_token(signed.as_bytes(), &decode(signature)?)?;
    let (_, claims) = signed.split_once('.').ok_or("invalid bearer token")?;
    serde_json::from_slice(&decode(claims)?).map_err(|error| error.to_string())
}

fn bound_user(core: &Core, claims: &Value) -> Result<User, String> {
    let of = &claims["kubernetes.io"];
    let (namespace, name) = (text(&of["namespace"]), text(&of["serviceaccount"]["name"]));
    let user = account(core, namespace, name, &of["serviceaccount"]["uid"])?;
    for (key, plural) in [("pod", "pods"), ("secret", "secrets"), ("node", "nodes")] {
        let bound = &of[key];
        if !bound.is_object() {
            continue;
        }
        let within = if key == "node" { "" } else { namespace };
        let object = core.read("", plural, within, text(&bound["name"]));
        if object.is_none_or(|object| object["metadata"]["uid"] != bound["uid"]) {
            return Err(format!("the {key} the token is bound to no longer exists"));
        }
    }
    let mut user = user;
    if let Some(pod) = of["pod"]["name"].as_str() {
        let extra = |key: &str, value: &str| {
            (
                format!("authentication.kubernetes.io/{key}"),
                vec![value.to_owned()],
            )
        };
        user.extra = BTreeMap::from([
            extra("pod-name", pod),
            extra("pod-uid", text(&of["pod"]["uid"])),
        ]);
    }
    Ok(user)
}

fn legacy_user(core: &Core, claims: &Value) -> Result<User, String> {
    let claim = |key: &str| &claims[format!("kubernetes.io/serviceaccount/{key}")];
    let (namespace, secret) = (text(claim("namespace")), text(claim("secret.name")));
    if core.read("", "secrets", namespace, secret).is_none() {
        return Err("service account token has been invalidated".into());
    }
    let name = text(claim("service-account.name"));
    account(core, namespace, name, claim("service-account.uid"))
}

fn account(core: &Core, namespace: &str, name: &str, uid: &Value) -> Result<User, String> {
    let object = core.read("", "serviceaccounts", namespace, name);
    let object =
        object.ok_or_else(|| format!("service account {namespace}/{name} has been deleted"))?;
    if object["metadata"]["uid"] != *uid {
        return Err(format!(
            "service account UID ({}) does not match claim ({uid})",
            object["metadata"]["uid"]
        ));
    }
    Ok(User {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        uid: text(uid).to_owned(),
        groups: groups(namespace),
        extra: BTreeMap::new(),
    })
}

/// The groups every ServiceAccount of a namespace is in.
pub(super) fn groups(namespace: &str) -> Vec<String> {
    vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ]
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
