//! POSTs that are answered and not stored: reviews, tokens, bindings, evictions.

use serde_json::{Value, json};

use super::mutate::Input;
use super::{Reply, decode};
use crate::auth::{self, Attributes, User};
use crate::status::{Result, Status};
use crate::write::{self, Call, DeleteOptions};

/// The longest lifetime of a token that may be asked for, seconds.
const LIFETIME_MAX_S: i64 = 1 << 32;

/// Answers a POST to a review resource or a subresource.
pub(super) async fn create(call: &Call<'_>, input: &Input<'_>) -> Result<Reply> {
    let body = decode::object(input.headers, input.body)?;
    let subresource = &*input.target.subresource;
    match (&*call.resource.group, &*call.resource.plural, subresource) {
        ("", "serviceaccounts", "token") => token(call, input, &body),
        ("", "pods", "binding") | ("", "bindings", "") => bind(call, input, &body).await,
        ("", "pods", "eviction") => evict(call, input, &body).await,
        ("authentication.k8s.io", "tokenreviews", "") => Ok(token_review(call, body)),
        ("authentication.k8s.io", "selfsubjectreviews", "") => {
            let status = json!({"userInfo": user_info(call.user)});
            Ok(answered(
                body,
                "SelfSubjectReview",
                "authentication.k8s.io/v1",
                status,
            ))
        }
        ("authorization.k8s.io", plural, "") => Ok(access_review(call, plural, body)),
        _ => Err(Status::method_not_supported(call.resource, "create")),
    }
}

fn answered(mut body: Value, kind: &str, api_version: &str, status: Value) -> Reply {
    body["kind"] = kind.into();
    body["apiVersion"] = api_version.into();
    if body["metadata"].is_null() {
        body["metadata"] = json!({"creationTimestamp": null});
    }
    body["status"] = status;
    Reply::value(201, &body)
}

fn token(call: &Call<'_>, input: &Input<'_>, body: &Value) -> Result<Reply> {
    let name = &input.target.name;
    let entry = call.core.entry(call.resource, call.namespace, name)?;
    let account = crate::core::decode_stored(&entry)?;
    let spec = &body["spec"];
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(3600);
    if seconds < 600 {
        return Err(Status::new(
            422,
            "Invalid",
            format!(
                "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid \
             value: {seconds}: may not specify a duration less than 10 minutes"
            ),
        ));
    }
    if seconds > LIFETIME_MAX_S {
        return Err(Status::new(
            422,
            "Invalid",
            format!(
                "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Too \
                 long: may not be more than {LIFETIME_MAX_S} bytes"
            ),
        ));
    }
    let bound = bound(call, &spec["boundObjectRef"])?;
    let audiences: Vec<String> = crate::meta::strings(&spec["audiences"])
        .map(str::to_owned)
        .collect();
    let issued = auth::token::issue(call.core, &account, &audiences, seconds, &bound)
        .map_err(Status::internal)?;
    let mut reply = body.clone();
    reply["metadata"] = json!({"name": name, "namespace": call.namespace,
        "creationTimestamp": crate::meta::now()});
    reply["spec"]["expirationSeconds"] = seconds.into();
    reply["spec"]["audiences"] = json!(issued.audiences);
    if reply["spec"].get("boundObjectRef").is_none() {
        reply["spec"]["boundObjectRef"] = Value::Null;
    }
    let status = json!({"token": issued.token, "expirationTimestamp": issued.expires});
    Ok(answered(
        reply,
        "TokenRequest",
        "authentication.k8s.io/v1",
        status,
    ))
}

/// The object a token is to be bound to, with its UID: it must exist, and be of a kind that may be
/// bound to.
fn bound(call: &Call<'_>, bound: &Value) -> Result<Value> {
    if !bound.is_object() {
        return Ok(Value::Null);
    }
    let text = |key: &str| bound[key].as_str().unwrap_or_default();
    let (kind, name) = (text("kind"), text("name"));
    let (plural, namespace) = match (text("apiVersion"), kind) {
        ("v1", "Pod") => ("pods", call.namespace),
        ("v1", "Secret") => ("secrets", call.namespace),
        ("v1", "Node") => ("nodes", ""),
        (version, kind) => {
            let why = format!("cannot bind token for serviceaccount to {version}, Kind={kind}");
            return Err(Status::bad_request(why));
        }
    };
    let resource = call.core.builtin("", plural);
    let entry = call.core.entry(&resource, namespace, name)?;
    let uid = crate::core::decode_stored(&entry)?["metadata"]["uid"].clone();
    if !text("uid").is_empty() && uid != text("uid") {
        let why = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The \
             object might have been deleted and then recreated",
            text("uid")
        );
        return Err(Status::conflict(&resource, name, &why));
    }
    let mut bound = bound.clone();
    bound["uid"] = uid;
    Ok(bound)
}

fn token_review(call: &Call<'_>, body: Value) -> Reply {
    let token = body["spec"]["token"].as_str().unwrap_or_default();
    let wanted = crate::meta::strings(&body["spec"]["audiences"]).map(str::to_owned);
    let mut wanted: Vec<String> = wanted.collect();
    if wanted.is_empty() {
        wanted.push(auth::token::AUDIENCE.to_owned());
    }
    let status = match auth::token::verify_for(call.core, token, &wanted) {
        Ok((user, audiences)) => json!({
            "authenticated": true,
            "user": user_info(&user),
            "audiences": audiences,
        }),
        Err(why) => json!({"user": {}, "error": why}),
    };
    answered(body, "TokenReview", "authentication.k8s.io/v1", status)
}

fn user_info(user: &User) -> Value {
    let mut out = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        out["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        out["extra"] = json!(user.extra);
    }
    out
}

fn access_review(call: &Call<'_>, plural: &str, body: Value) -> Reply {
    let spec = &body["spec"];
    let api_version = "authorization.k8s.io/v1";
    if plural == "selfsubjectrulesreviews" {
        let namespace = spec["namespace"].as_str().unwrap_or_default();
        let status = auth::rules(call.core, call.user, namespace);
        return answered(body, "SelfSubjectRulesReview", api_version, status);
    }
    let user = match plural {
        "selfsubjectaccessreviews" => call.user.clone(),
        _ => {
            let groups: Vec<_> = crate::meta::strings(&spec["groups"]).collect();
            User::new(spec["user"].as_str().unwrap_or_default(), &groups)
        }
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = &spec["resourceAttributes"];
    let (verb, path) = (
        text(&spec["nonResourceAttributes"]["verb"]),
        text(&spec["nonResourceAttributes"]["path"]),
    );
    let values: Vec<String> = [
        "verb",
        "group",
        "resource",
        "subresource",
        "namespace",
        "name",
    ]
    .map(|key| text(&of[key]))
    .into();
    let attributes = if of.is_object() {
        Attributes {
            verb: &values[0],
            group: &values[1],
            resource: &values[2],
            subresource: &values[3],
            namespace: &values[4],
            name: &values[5],
            path: "",
        }
    } else {
        Attributes {
            verb: &verb,
            path: &path,
            ..Attributes::default()
        }
    };
    let status = match auth::allowed(call.core, &user, &attributes) {
        Some(reason) => json!({"allowed": true, "reason": reason}),
        None => json!({"allowed": false}),
    };
    let kind = match plural {
        "selfsubjectaccessreviews" => "SelfSubjectAccessReview",
        "localsubjectaccessreviews" => "LocalSubjectAccessReview",
        _ => "SubjectAccessReview",
    };
    answered(body, kind, api_version, status)
}

fn success(code: u16) -> Reply {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "code": code});
    Reply::value(code, &status)
}

/// Puts a Pod on a node.
async fn bind(call: &Call<'_>, input: &Input<'_>, body: &Value) -> Result<Reply> {
    let pods = call.core.builtin("", "pods");
    let name = match &*input.target.name {
        "" => body["metadata"]["name"].as_str().unwrap_or_default(),
        name => name,
    };
    let node = body["target"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let call = Call {
        resource: &pods,
        subresource: "",
        warnings: std::sync::Mutex::default(),
        ..*call
    };
    write::modify(&call, name, |pod| {
        let present = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        if !present.is_empty() {
            let why = format!("pod {name} is already assigned to node \"{present}\"");
            return Err(Status::conflict(&pods, name, &why));
        }
        let mut pod = pod.clone();
        pod["spec"]["nodeName"] = node.as_str().into();
        Ok(pod)
    })
    .await?;
    Ok(success(201))
}

/// Deletes a Pod unless a PodDisruptionBudget speaks against it.
async fn evict(call: &Call<'_>, input: &Input<'_>, body: &Value) -> Result<Reply> {
    let name = &input.target.name;
    let entry = call.core.entry(call.resource, call.namespace, name)?;
    let labels = crate::meta::labels_of(&entry.bytes());
    let budgets = call.core.builtin("policy", "poddisruptionbudgets");
    for budget in call
        .core
        .store
        .list(budgets.id, &format!("{}/", call.namespace))
    {
        let object = crate::core::decode_stored(&budget)?;
        let selector = crate::selector::LabelSelector::from_value(&object["spec"]["selector"]);
        let allowed = object["status"]["disruptionsAllowed"]
            .as_i64()
            .unwrap_or_default();
        if selector.matches(&labels) && allowed <= 0 {
            let why = "Cannot evict pod as it would violate the pod's disruption budget.";
            return Err(Status::new(429, "TooManyRequests", why).with_cause(
                "DisruptionBudget",
                &format!("The disruption budget {} does not allow it", budget.name()),
                "",
            ));
        }
    }
    let options = DeleteOptions::parse(&body["deleteOptions"], input.query)?;
    write::delete(call, name, &options).await?;
    Ok(success(201))
}
