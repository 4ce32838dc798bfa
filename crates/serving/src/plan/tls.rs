//! What Routes and DomainMappings have in common about TLS: whether they want certificates, the
//! Certificate objects they ask with, and what of them goes into their Ingress.

use api::annotation;
use api::certificate::Order;
use api::conditions;
use api::config::Network;
use api::config::network::HttpProtocol;
use api::draft::{Agree, Child, Draft, strings};
use api::networking::{
    CERTIFICATE_CLASS, CERTIFICATE_TYPE, CHALLENGE_PATH, DISABLE_EXTERNAL_DOMAIN_TLS, HTTP_PROTOCOL,
};
use api::object::ObjectExt;
use api::serving;
use api::world::{CERTIFICATE, Context};
use serde_json::{Value, json};

/// The name of the Service that answers challenges, in the system's namespace.
pub(super) const CHALLENGES_SERVICE: &str = api::bootstrap::CHALLENGES_SERVICE;

/// A Certificate that is wanted.
pub(super) struct Wish<'a> {
    /// The name of the Certificate and of its Secret.
    pub(super) name: &'a str,
    /// The DNS names.
    pub(super) names: Vec<String>,
    /// The domain they are of.
    pub(super) domain: &'a str,
    /// The label by which its owner finds it, and the value.
    pub(super) owner: (&'a str, &'a str),
    /// One of the certificate types.
    pub(super) kind: &'a str,
    /// Who is to see to it.
    pub(super) class: &'a str,
}

/// How far a Certificate is.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Its Secret can be used.
    Ready,
    /// Not yet.
    Pending,
    /// It will not be, for this reason.
    Failed(String),
    /// A Certificate of this name is somebody else's.
    NotOwned,
}

/// A Certificate that was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) state: State,
    /// The entry of the Ingress when it is ready.
    pub(super) entry: Option<Value>,
    /// The challenges its authority waits for.
    pub(super) challenges: Vec<Value>,
}

impl Asked {
    /// How far `certificate` is; `hosts` are those of the owner it serves for.
    pub(super) fn of(certificate: &Value, hosts: &[String]) -> Self {
        let challenges = certificate["status"]["http01Challenges"].as_array();
        let ready = conditions::get(certificate, "Ready");
        let state = match ready {
            Some(ready) if conditions::is_observed(certificate) && ready.is_true() => State::Ready,
            Some(ready) if conditions::is_observed(certificate) && ready.is_false() => {
                State::Failed(ready.message)
            }
            _ => State::Pending,
        };
        let entry = matches!(state, State::Ready).then(|| {
            json!({
                "hosts": hosts,
                "secretName": certificate["spec"]["secretName"],
                "secretNamespace": certificate.namespace(),
            })
        });
        Self {
            name: certificate.name().to_owned(),
            state,
            entry,
            challenges: challenges.cloned().unwrap_or_default(),
        }
    }

    fn without_object(name: &str, state: State) -> Self {
        Self {
            name: name.to_owned(),
            state,
            entry: None,
            challenges: Vec::new(),
        }
    }
}

/// Whether the object the plan is about gets certificates for the names the world knows it by.
pub(super) fn is_enabled(draft: &Draft<'_>, network: &Network) -> bool {
    let disabled = annotation::get(&draft.object, DISABLE_EXTERNAL_DOMAIN_TLS)
        .and_then(|(_, text)| api::gotext::parse_bool(text).ok());
    network.external_domain_tls && disabled != Some(true)
}

/// A URL as people use it: with the port when it is not the one of the scheme.
pub(super) fn url(cx: &Context, scheme: &str, host: &str) -> String {
    let (port, usual) = match scheme {
        "https" => (cx.https_port, 443),
        _ => (cx.http_port, 80),
    };
    match port == usual {
        true => format!("{scheme}://{host}"),
        false => format!("{scheme}://{host}:{port}"),
    }
}

/// What the Ingress is to do with plain HTTP, by annotation or for all.
pub(super) fn http_option(object: &Value, network: &Network) -> &'static str {
    let annotated = annotation::get(object, HTTP_PROTOCOL).map(|(_, text)| text);
    let redirected = match annotated {
        Some(text) => text.eq_ignore_ascii_case("redirected"),
        None => network.http_protocol == HttpProtocol::Redirected,
    };
    if redirected { "Redirected" } else { "Enabled" }
}

/// Who is to see to the certificates of `object`.
pub(super) fn class<'a>(object: &'a Value, network: &'a Network) -> &'a str {
    let annotated = annotation::get(object, CERTIFICATE_CLASS).map(|(_, class)| class);
    annotated.unwrap_or(&network.certificate_class)
}

/// Sees to it that the Certificate exists, and tells how far it is.
pub(super) fn ask(draft: &mut Draft<'_>, wish: &Wish<'_>) -> Asked {
    let annotations = strings(
        &draft.object["metadata"]["annotations"],
        &[serving::LAST_APPLIED, CERTIFICATE_CLASS[1]],
        &[(CERTIFICATE_CLASS[0], wish.class)],
    );
    let labels = json!({wish.owner.0: wish.owner.1, CERTIFICATE_TYPE: wish.kind});
    let want = json!({
        "apiVersion": CERTIFICATE.api_version(),
        "kind": CERTIFICATE.kind,
        "metadata": draft.child_meta(wish.name, labels, annotations),
        "spec": {"dnsNames": wish.names, "domain": wish.domain, "secretName": wish.name},
    });
    let same = |have: &Value| have["spec"]["dnsNames"] == want["spec"]["dnsNames"];
    match draft.ensure(CERTIFICATE, want.clone(), Agree::Exactly) {
        Child::Have(have) if same(&have) => Asked::of(&have, &wish.names),
        Child::Have(_) => Asked::without_object(wish.name, State::Pending),
        Child::Created => {
            let text = format!("Created Certificate {}/{}", draft.namespace(), wish.name);
            draft.event("Normal", "Created", text);
            Asked::without_object(wish.name, State::Pending)
        }
        Child::Foreign => Asked::without_object(wish.name, State::NotOwned),
    }
}

/// The paths of a host by which authorities look whether it is ours.
pub(super) fn challenge_paths(challenges: &[Value], host: &str) -> Vec<Value> {
    let path = |challenge: &Value| {
        let url = challenge["url"].as_str()?.strip_prefix("http://")?;
        let (asked, path) = url.split_at(url.find('/')?);
        let backend = |key: &str| challenge[key].clone();
        (asked == host).then(|| {
            json!({
                "path": path,
                "splits": [{
                    "serviceName": backend("serviceName"),
                    "serviceNamespace": backend("serviceNamespace"),
                    "servicePort": backend("servicePort"),
                    "percent": 100,
                }],
            })
        })
    };
    challenges.iter().filter_map(path).collect()
}

/// The challenges of an order as a Certificate's status has them.
pub(super) fn challenges(system_namespace: &str, found: &Value) -> Value {
    let list = found["challenges"].as_array().into_iter().flatten();
    list.map(|challenge| {
        let text = |key: &str| challenge[key].as_str().unwrap_or_default();
        json!({
            "url": format!("http://{}{CHALLENGE_PATH}{}", text("host"), text("token")),
            "serviceName": CHALLENGES_SERVICE,
            "serviceNamespace": system_namespace,
            "servicePort": 80,
        })
    })
    .collect()
}

/// What is asked of an authority that speaks ACME for a Certificate.
pub(super) fn order(draft: &Draft<'_>, config: &api::config::Certificates) -> Order {
    let spec = &draft.object["spec"];
    Order {
        holder: format!(
            "{}/{}",
            draft.namespace(),
            spec["secretName"].as_str().unwrap_or_default()
        ),
        names: dns_names(&draft.object),
        directory: config.acme_directory_url.clone(),
        email: config.acme_email.clone(),
        roots: config.acme_root_certificates.clone(),
    }
}

/// The names of a Certificate, sorted.
pub(super) fn dns_names(certificate: &Value) -> Vec<String> {
    let names = certificate["spec"]["dnsNames"].as_array();
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}
