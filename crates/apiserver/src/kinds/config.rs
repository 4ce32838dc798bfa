//! Secrets and ConfigMaps.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Errors, NONE, Rules, set, text};
use crate::auth::token;
use crate::field::Error;
use crate::status::Result;
use crate::write::Call;

pub(super) const SECRET: Rules = Rules {
    default: secret_default,
    prepare: secret_prepare,
    validate: secret_validate,
};
pub(super) const CONFIG_MAP: Rules = Rules {
    validate: config_map_validate,
    ..NONE
};

/// All values of a Secret or ConfigMap together (bytes).
const DATA_BYTES_MAX: usize = 1 << 20;
const ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

fn secret_default(secret: &mut Value) {
    set(secret, "type", "Opaque");
    let strings = secret
        .as_object_mut()
        .and_then(|fields| fields.remove("stringData"));
    let Some(Value::Object(strings)) = strings else {
        return;
    };
    for (key, value) in strings {
        if !secret["data"].is_object() {
            secret["data"] = json!({});
        }
        secret["data"][key] = STANDARD.encode(text(&value)).into();
    }
}

/// Gives a token Secret its token.
fn secret_prepare(call: &Call<'_>, secret: &mut Value, _old: Option<&Value>) -> Result<()> {
    if secret["type"] != ACCOUNT_TOKEN {
        return Ok(());
    }
    let name = text(&secret["metadata"]["annotations"][ACCOUNT_NAME]).to_owned();
    let Some(account) = call.core.read("", "serviceaccounts", call.namespace, &name) else {
        return Ok(());
    };
    secret["metadata"]["annotations"][ACCOUNT_UID] = account["metadata"]["uid"].clone();
    if !secret["data"].is_object() {
        secret["data"] = json!({});
    }
    if text(&secret["data"]["token"]).is_empty() {
        let own = text(&secret["metadata"]["name"]);
        let token = token::legacy(call.core, &account, own);
        let token = token.map_err(crate::status::Status::internal)?;
        secret["data"]["token"] = STANDARD.encode(token).into();
    }
    secret["data"]["ca.crt"] = STANDARD.encode(&call.core.pki.authority.certificate).into();
    secret["data"]["namespace"] = STANDARD.encode(call.namespace).into();
    Ok(())
}

/// The keys a Secret of a type must have.
const REQUIRED: &[(&str, &[&str])] = &[
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
];

fn secret_validate(secret: &Value, old: Option<&Value>, errors: &mut Errors) {
    data_keys(&secret["data"], "data", errors);
    for (key, value) in secret["data"].as_object().into_iter().flatten() {
        if STANDARD.decode(text(value)).is_err() {
            let field = format!("data[{key}]");
            errors.push(Error::invalid(field, value, "must be base64 encoded"));
        }
    }
    let kind = text(&secret["type"]);
    let required = REQUIRED
        .iter()
        .find(|(of, _)| *of == kind)
        .map_or(&[][..], |(_, keys)| keys);
    for key in required {
        if secret["data"].get(*key).is_none() {
            errors.push(Error::required(format!("data[{key}]"), ""));
        }
    }
    if kind == ACCOUNT_TOKEN && text(&secret["metadata"]["annotations"][ACCOUNT_NAME]).is_empty() {
        errors.push(Error::required(
            format!("metadata.annotations[{ACCOUNT_NAME}]"),
            "",
        ));
    }
    let Some(old) = old else { return };
    if secret["type"] != old["type"] {
        errors.push(Error::invalid(
            "type",
            &secret["type"],
            "field is immutable",
        ));
    }
    immutable(secret, old, &["data"], errors);
}

fn config_map_validate(config_map: &Value, old: Option<&Value>, errors: &mut Errors) {
    data_keys(&config_map["data"], "data", errors);
    data_keys(&config_map["binaryData"], "binaryData", errors);
    for (key, value) in config_map["data"].as_object().into_iter().flatten() {
        if config_map["binaryData"].get(key).is_some() {
            errors.push(Error::invalid(
                format!("data[{key}]"),
                &key.as_str().into(),
                "duplicate of key present in binaryData",
            ));
        }
        if !value.is_string() {
            let field = format!("data[{key}]");
            errors.push(Error::invalid(field, value, "must be a string"));
        }
    }
    if let Some(old) = old {
        immutable(config_map, old, &["data", "binaryData"], errors);
    }
}

/// What an object with `immutable: true` may no longer change.
fn immutable(new: &Value, old: &Value, fields: &[&str], errors: &mut Errors) {
    if old["immutable"] != true {
        return;
    }
    let detail = "field is immutable when `immutable` is set";
    if new["immutable"] != true {
        errors.push(Error::forbidden("immutable", detail));
    }
    for field in fields.iter().filter(|field| new[**field] != old[**field]) {
        errors.push(Error::forbidden(*field, detail));
    }
}

fn data_keys(data: &Value, field: &str, errors: &mut Errors) {
    let mut total = 0;
    for (key, value) in data.as_object().into_iter().flatten() {
        total += text(value).len();
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let field = format!("{field}[{key}]");
        let invalid = |detail: &str| Error::invalid(&*field, &key.as_str().into(), detail);
        if key.len() > 253 {
            errors.push(invalid("must be no more than 253 bytes"));
        } else if key.is_empty() || !key.chars().all(valid) {
            errors.push(invalid(
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' \
                 (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is \
                 '[-._a-zA-Z0-9]+')",
            ));
        } else if key == "." || key == ".." || key.starts_with("..") {
            errors.push(invalid("must not start with '..'"));
        }
    }
    if total > DATA_BYTES_MAX {
        errors.push(Error::too_long("", DATA_BYTES_MAX));
    }
}
