//! Certificate → a Secret with a certificate, renewed in time. Answers for the classes of
//! cert-manager (by the installation's own authority, as an issuer of cert-manager's kind `CA`
//! would) and of net-http01 (by an authority that speaks ACME).
//!
//! It only decides: keys and signatures come by facts.

use std::sync::Arc;

use api::annotation;
use api::certificate::{self, AUTHORITY, Verdict};
use api::conditions::{self, Conditions};
use api::config::{Certificates, Network};
use api::draft::{Agree, Child, Draft, not_owned};
use api::networking::{CERTIFICATE_CLASS, CERTIFICATE_SET};
use api::object::ObjectExt;
use api::world::{Action, CERTIFICATE, Context, Fact, INGRESS, Key, Plan, SECRET, World};
use serde_json::{Value, json};

use super::config::load;
use super::tls::{challenges, class, dns_names, order};

/// The classes the built-in authority answers for.
pub(super) const OWN: &[&str] = &[
    "cert-manager.certificate.networking.knative.dev",
    "rekindle.certificate.networking.knative.dev",
];
/// The class of Knative's own client of ACME.
pub(super) const ACME: &str = "net-http01.certificate.networking.knative.dev";
const READY: &str = "Ready";

/// Plans one Certificate.
pub fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, CERTIFICATE, key) else {
        return Plan::default();
    };
    let network = load(cx, world, Network::NAME, Network::parse);
    let class = class(&draft.object, &network).to_owned();
    let is_acme = class == ACME;
    if !is_acme && !OWN.contains(&class.as_str()) {
        return Plan::default();
    }
    let config = load(cx, world, Certificates::NAME, Certificates::parse);
    let mut conditions = draft.conditions(CERTIFICATE_SET);
    let secret = draft.get(SECRET, secret_name(&draft.object));
    let names = dns_names(&draft.object);
    let authority = world.get(SECRET, &cx.system_namespace, AUTHORITY);
    let mark = certificate::authority_mark(authority.as_deref());
    // Before the authority exists, what it has signed is unknown as well.
    let expected = (!is_acme && !mark.is_empty()).then_some(mark.as_str());
    let verdict = certificate::judge(secret.as_deref(), &names, expected, world.now());
    if let Verdict::Good(facts) | Verdict::Renew(facts) = &verdict {
        draft.status["notAfter"] = json!(conditions::rfc3339(facts.not_after));
        conditions.mark_true(READY);
    }
    if let Verdict::Good(facts) = &verdict {
        draft.push(Action::At(facts.renew_at()));
        draft.status["http01Challenges"] = json!([]);
        return draft.finish(conditions);
    }
    let found = if is_acme {
        ordered(&mut draft, &config)
    } else {
        issued(&mut draft, &config, names, mark)
    };
    settle(&mut draft, &mut conditions, &verdict, found);
    draft.finish(conditions)
}

fn secret_name(certificate: &Value) -> &str {
    certificate["spec"]["secretName"]
        .as_str()
        .unwrap_or_default()
}

/// What has been found out: a certificate, or why there is none yet.
enum Found {
    Pems(Arc<Value>),
    /// Reason and message.
    Waiting(&'static str, String),
    Failed(&'static str, String),
}

/// Asks the installation's own authority.
fn issued(draft: &mut Draft<'_>, config: &Certificates, names: Vec<String>, mark: String) -> Found {
    let holder = format!("{}/{}", draft.namespace(), secret_name(&draft.object));
    let fact = Fact::Issued {
        holder,
        names,
        lifetime_s: config.duration_s,
        authority: mark,
    };
    match draft.need(fact) {
        None => Found::Waiting("Issuing", "The certificate is being issued.".to_owned()),
        Some(found) => of_fact(found, "IssueFailed"),
    }
}

fn of_fact(found: Arc<Value>, reason: &'static str) -> Found {
    match found["error"].as_str() {
        Some(error) => Found::Failed(reason, error.to_owned()),
        None => Found::Pems(found),
    }
}

/// Asks an authority that speaks ACME, which looks for itself whether the names lead here: its
/// challenges stand in the status, go into the Ingress of whoever wants the certificate, and when
/// the gateway has them the authority is told to look.
fn ordered(draft: &mut Draft<'_>, config: &Certificates) -> Found {
    if config.acme_directory_url.is_empty() {
        let text = format!(
            "no authority is named: set acme-directory-url in ConfigMap {}/{}",
            draft.cx.system_namespace,
            Certificates::NAME
        );
        return Found::Failed("NoDirectory", text);
    }
    let order = order(draft, config);
    let Some(found) = draft.need(Fact::Challenges(order.clone())) else {
        return Found::Waiting("Ordering", "The certificate is being ordered.".to_owned());
    };
    if let Some(error) = found["error"].as_str() {
        return Found::Failed("OrderFailed", error.to_owned());
    }
    let wanted = challenges(&draft.cx.system_namespace, &found);
    let shown = wanted == draft.object["status"]["http01Challenges"];
    draft.status["http01Challenges"] = wanted;
    if !shown || !are_answered(draft) {
        let text = "The authority's challenges are not answered by the gateway yet.";
        return Found::Waiting("OrderPending", text.to_owned());
    }
    match draft.need(Fact::Granted(order)) {
        None => Found::Waiting("OrderPending", "The authority is looking.".to_owned()),
        Some(found) => of_fact(found, "OrderFailed"),
    }
}

/// Whether the gateway has the way to the answer of every challenge.
fn are_answered(draft: &Draft<'_>) -> bool {
    let owner = draft.object.controller_owner();
    let owner = owner.and_then(|owner| owner["name"].as_str());
    // Routes and DomainMappings call their Ingress by their own name.
    let Some(ingress) = owner.and_then(|name| draft.get(INGRESS, name)) else {
        return false;
    };
    if !conditions::is_ready(&ingress) {
        return false;
    }
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let leads = |url: &str| {
        let url = url.strip_prefix("http://").unwrap_or_default();
        let (host, path) = url.split_at(url.find('/').unwrap_or(url.len()));
        list(&ingress["spec"]["rules"]).iter().any(|rule| {
            let hosts = list(&rule["hosts"]);
            let paths = list(&rule["http"]["paths"]);
            hosts.iter().any(|name| name == host) && paths.iter().any(|p| p["path"] == *path)
        })
    };
    let challenges = list(&draft.object["status"]["http01Challenges"]);
    challenges
        .iter()
        .all(|challenge| challenge["url"].as_str().is_some_and(leads))
}

/// Puts the certificate where it belongs, or says why it is not there.
fn settle(draft: &mut Draft<'_>, conditions: &mut Conditions, verdict: &Verdict, found: Found) {
    let renewing = matches!(verdict, Verdict::Renew(_));
    match found {
        Found::Pems(pems) => store(draft, conditions, &pems),
        Found::Waiting(reason, text) if !renewing => {
            conditions.mark_unknown(READY, reason, &text);
        }
        Found::Failed(reason, text) if !renewing => conditions.mark_false(READY, reason, &text),
        // What there is still holds.
        Found::Waiting(..) | Found::Failed(..) => {}
    }
}

fn store(draft: &mut Draft<'_>, conditions: &mut Conditions, pems: &Value) {
    let body = certificate::secret_body(pems);
    let names = dns_names(&draft.object);
    let facts = match certificate::judge(Some(&body), &names, None, draft.now()) {
        Verdict::Good(facts) | Verdict::Renew(facts) => facts,
        Verdict::Bad(why) => return conditions.mark_false(READY, "IssueFailed", why),
    };
    let name = secret_name(&draft.object).to_owned();
    if let Child::Foreign = write_secret(draft, &name, body) {
        return conditions.mark_false(READY, "NotOwned", &not_owned("Secret", &name));
    }
    conditions.mark_true(READY);
    draft.status["notAfter"] = json!(conditions::rfc3339(facts.not_after));
    draft.status["http01Challenges"] = json!([]);
    draft.push(Action::At(facts.renew_at()));
}

fn write_secret(draft: &mut Draft<'_>, name: &str, mut want: Value) -> Child {
    let class = annotation::get(&draft.object, CERTIFICATE_CLASS);
    let class = class.map_or("", |(_, class)| class).to_owned();
    want["apiVersion"] = json!(SECRET.api_version());
    want["kind"] = json!(SECRET.kind);
    want["metadata"] = draft.child_meta(
        name,
        json!({"networking.internal.knative.dev/certificate-uid": draft.object.uid()}),
        json!({CERTIFICATE_CLASS[0]: class}),
    );
    draft.ensure(SECRET, want, Agree::AtLeast)
}
