//! HTTP in, HTTP out: authenticate, authorize, find the target, run the verb, write the answer.
//!
//! Called by [`crate::service::ApiService`]. The verbs live in the files beside this one; storing
//! is [`crate::write`]'s.

mod body;
mod decode;
mod discovery;
mod health;
mod mutate;
mod oidc;
mod openapi;
mod pods;
mod proxy;
mod read;
mod review;
mod subresource;
mod view;
mod watch;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::Value;

pub use body::Body;
pub(crate) use decode::yaml as yaml_body;
pub use health::VERSION;
pub(crate) use pods::{backend as pod_backend, container as pod_container, failed as pod_failed};

use crate::auth::{self, Attributes, User};
use crate::core::Core;
use crate::request::{Accept, Query, Target};
use crate::status::{Result, Status};
use crate::write::{Call, FieldValidation};
use mutate::Input;
use view::View;

/// Larger request bodies are refused, as Kubernetes does (bytes).
pub(crate) const BODY_BYTES_MAX: usize = 3 << 20;

/// An answer before it becomes an HTTP response.
pub(crate) struct Reply {
    code: u16,
    content_type: String,
    body: Body,
    headers: Vec<(HeaderName, String)>,
}

impl Reply {
    /// JSON.
    pub(crate) fn object(code: u16, body: Bytes) -> Self {
        Self::new(code, "application/json", Body::full(body))
    }

    /// Anything.
    pub(crate) fn new(code: u16, content_type: &str, body: Body) -> Self {
        Self {
            code,
            content_type: content_type.to_owned(),
            body,
            headers: Vec::new(),
        }
    }

    /// A JSON value.
    pub(crate) fn value(code: u16, value: &Value) -> Self {
        Self::object(code, view::encode(value))
    }

    /// A sentence.
    pub(crate) fn text(code: u16, text: impl Into<String>) -> Self {
        Self::new(code, "text/plain; charset=utf-8", Body::full(text.into()))
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() =
            StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let typed = !self.content_type.is_empty();
        if let Ok(value) = HeaderValue::try_from(self.content_type)
            && typed
        {
            headers.insert(CONTENT_TYPE, value);
        }
        if self.headers.iter().all(|(name, _)| *name != CACHE_CONTROL) {
            let value = HeaderValue::from_static("no-cache, private");
            headers.insert(CACHE_CONTROL, value);
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.append(name, value);
            }
        }
        response
    }
}

impl From<Status> for Reply {
    fn from(status: Status) -> Self {
        let retry = status
            .details
            .as_ref()
            .and_then(|d| d["retryAfterSeconds"].as_u64());
        let reply = Self::value(status.code, &status.to_value());
        match retry {
            Some(seconds) => reply.with_header(http::header::RETRY_AFTER, seconds.to_string()),
            None => reply,
        }
    }
}

/// Answers one request.
pub(crate) async fn handle(
    core: &Arc<Core>,
    identity: &auth::Identity,
    parts: Parts,
    body: Bytes,
) -> Response<Body> {
    let started = std::time::Instant::now();
    let mut request = Request::new(core, parts, body);
    let reply = request.answer(identity).await.unwrap_or_else(Reply::from);
    let (verb, resource) = request.label();
    core.metrics
        .record(verb, &resource, reply.code, started.elapsed());
    let reply = request.add_warnings(reply);
    reply.into_response()
}

struct Request<'a> {
    core: &'a Arc<Core>,
    parts: Parts,
    query: Query,
    body: Bytes,
    target: Option<Target>,
    warnings: Vec<String>,
    local: bool,
}

impl<'a> Request<'a> {
    fn new(core: &'a Arc<Core>, parts: Parts, body: Bytes) -> Self {
        let target = Target::parse(&core.table(), parts.uri.path());
        let query = Query::parse(parts.uri.query());
        Self {
            core,
            parts,
            query,
            body,
            target,
            warnings: Vec::new(),
            local: false,
        }
    }

    async fn answer(&mut self, identity: &auth::Identity) -> Result<Reply> {
        self.local = matches!(identity, auth::Identity::Local(_));
        let user = auth::authenticate(self.core, identity, &self.parts.headers)?;
        self.authorize(&user)?;
        let Some(target) = self.target.clone() else {
            return self.other();
        };
        let accept = if matches!(
            &*target.subresource,
            "log" | "exec" | "attach" | "portforward" | "proxy"
        ) {
            Accept::default()
        } else {
            Accept::parse(&self.parts.headers)?
        };
        let reply = self.resource(&target, &user, &accept).await?;
        Ok(if accept.yaml { to_yaml(reply) } else { reply })
    }

    fn authorize(&self, user: &User) -> Result<()> {
        let path = self.parts.uri.path();
        let attributes = match &self.target {
            Some(target) => Attributes {
                verb: target.verb(&self.parts.method, &self.query),
                group: &target.resource.group,
                resource: &target.resource.plural,
                subresource: &target.subresource,
                namespace: &target.namespace,
                name: &target.name,
                path: "",
            },
            None => Attributes::path(path, self.parts.method.as_str()),
        };
        auth::authorize(self.core, user, &attributes)
    }

    /// Everything that is not an object: discovery, health, version, metrics.
    fn other(&self) -> Result<Reply> {
        let path = self.parts.uri.path().trim_end_matches('/');
        if let Some(reply) = health::answer(self.core, path, &self.query) {
            return Ok(reply);
        }
        if let Some(reply) = oidc::answer(self.core, path) {
            return Ok(reply);
        }
        if let Some(reply) = openapi::answer(self.core, path, &self.parts.headers) {
            return Ok(reply);
        }
        let accept = Accept::parse(&self.parts.headers).unwrap_or_default();
        if !matches!(self.parts.method, Method::GET | Method::HEAD) && path.starts_with("/api") {
            return Err(Status::no_such_path());
        }
        match discovery::answer(&self.core.table(), path, &accept) {
            Some(reply) => Ok(reply),
            None if path.starts_with("/api") => Err(Status::no_such_path()),
            None => Ok(Reply::text(404, "404 page not found\n")),
        }
    }

    async fn resource(&mut self, target: &Target, user: &User, accept: &Accept) -> Result<Reply> {
        let resource = &target.resource;
        if let Some(reply) = subresource::answer(self.core, target, &self.parts, &self.query).await
        {
            return reply;
        }
        if !target.subresource.is_empty() && !resource.has(&target.subresource) {
            return Err(Status::no_such_path());
        }
        let verb = target.verb(&self.parts.method, &self.query);
        if target.subresource.is_empty() && !resource.verbs.contains(&verb) {
            return Err(Status::method_not_supported(resource, verb));
        }
        if target.subresource == "proxy" {
            let body = self.body.clone();
            return proxy::answer(self.core, target, &mut self.parts, body).await;
        }
        self.warnings.extend(resource.deprecation());
        let view = View::new(self.core, resource, accept, &self.query);
        if let Some(reply) = pods::connect(self.core, target, &self.query, &mut self.parts).await {
            return reply;
        }
        if matches!(self.parts.method, Method::GET | Method::HEAD) {
            return self.read(target, verb, view).await;
        }
        let call = Call {
            core: self.core,
            resource,
            namespace: &target.namespace,
            subresource: &target.subresource,
            user,
            dry_run: self.query.dry_run()?,
            field_validation: self.field_validation()?,
            field_manager: &self.field_manager(),
            local: self.local,
            applied: false,
            warnings: Mutex::default(),
        };
        let input = Input {
            target,
            query: &self.query,
            headers: &self.parts.headers,
            body: &self.body,
        };
        let result = write(&call, &view, &input, verb).await;
        let warnings = call.warnings.into_inner().unwrap_or_default();
        self.warnings.extend(warnings);
        result
    }

    async fn read(&self, target: &Target, verb: &str, view: View) -> Result<Reply> {
        if target.resource.group == "metrics.k8s.io" {
            return pods::usage(self.core, target, &self.query).await;
        }
        match (verb, &*target.subresource) {
            ("watch", _) => {
                let content_type = "application/json;stream=watch";
                Ok(Reply::new(
                    200,
                    content_type,
                    watch::watch(view, target, &self.query)?,
                ))
            }
            ("list", _) => Ok(Reply::object(
                200,
                read::list(&view, target, &self.query).await?,
            )),
            (_, "" | "status") => Ok(Reply::object(200, read::get(&view, target).await?)),
            (_, "scale") => mutate::get_scale(&view, target).await,
            _ => Err(Status::method_not_supported(&target.resource, verb)),
        }
    }

    fn field_validation(&self) -> Result<FieldValidation> {
        match self.query.get("fieldValidation") {
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Ignore" => Ok(FieldValidation::Ignore),
            "Strict" => Ok(FieldValidation::Strict),
            other => Err(Status::new(
                422,
                "Invalid",
                format!(
                    "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \
                 \"{other}\": supported values: \"Ignore\", \"Strict\", \"Warn\""
                ),
            )),
        }
    }

    /// `fieldManager`, else the program's name in the user agent, as Kubernetes derives it.
    fn field_manager(&self) -> String {
        let stated = self.query.get("fieldManager");
        if !stated.is_empty() {
            return stated.to_owned();
        }
        let agent = self.parts.headers.get(http::header::USER_AGENT);
        let agent = agent
            .and_then(|agent| agent.to_str().ok())
            .unwrap_or("unknown");
        agent
            .split('/')
            .next()
            .unwrap_or_default()
            .chars()
            .take(128)
            .collect()
    }

    fn add_warnings(&self, mut reply: Reply) -> Reply {
        for warning in &self.warnings {
            let escaped = warning.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("299 - \"{}\"", escaped.replace(['\n', '\r'], " "));
            reply = reply.with_header(http::header::WARNING, header);
        }
        reply
    }

    fn label(&self) -> (&'static str, String) {
        match &self.target {
            Some(target) => {
                let verb = target.verb(&self.parts.method, &self.query);
                (verb, target.resource.plural.clone())
            }
            None => ("get", String::new()),
        }
    }
}

async fn write(call: &Call<'_>, view: &View, input: &Input<'_>, verb: &str) -> Result<Reply> {
    let subresource = &*input.target.subresource;
    if verb == "create" && (!subresource.is_empty() || call.resource.verbs == ["create"]) {
        return review::create(call, input).await;
    }
    match (verb, subresource) {
        ("update", "finalize") => mutate::update(call, view, input).await,
        ("update" | "patch", "" | "status" | "scale") if input.target.name.is_empty() => {
            Err(Status::method_not_supported(call.resource, verb))
        }
        ("create", "") if input.target.name.is_empty() => mutate::create(call, view, input).await,
        ("update", "" | "status" | "scale" | "ephemeralcontainers") => {
            mutate::update(call, view, input).await
        }
        ("patch", "" | "status" | "scale" | "ephemeralcontainers") => {
            mutate::patch(call, view, input).await
        }
        ("delete", "") => mutate::delete(call, view, input).await,
        ("deletecollection", "") => mutate::delete_collection(call, view, input).await,
        _ => Err(Status::method_not_supported(call.resource, verb)),
    }
}

fn to_yaml(reply: Reply) -> Reply {
    let Some(bytes) = reply
        .body
        .bytes()
        .filter(|_| reply.content_type == "application/json")
    else {
        return reply;
    };
    let value = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    match serde_saphyr::to_string(&value) {
        Ok(yaml) => Reply {
            content_type: "application/yaml".into(),
            body: Body::full(yaml),
            ..reply
        },
        Err(_) => reply,
    }
}

/// The answer to a request that could not even be read.
pub(crate) fn refuse(status: Status) -> Response<Body> {
    Reply::from(status).into_response()
}
