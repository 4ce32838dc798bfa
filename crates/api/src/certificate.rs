//! Certificates in Secrets: what is in one, whether it will do, when it is to be renewed. Pure, over
//! the bytes and the time; keys and signatures are made by the binary, which plans ask by facts.
//!
//! Read by the plans of Certificates and of the parts of the system that show one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hex::ToHex;
use jiff::{SignedDuration, Timestamp};
use md5::{Digest, Md5};
use serde_json::{Value, json};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use crate::route::Identity;

/// The Secret that holds the installation's own authority, in the system's namespace. Its name is
/// the one Knative's manuals give the authority they have people make.
pub const AUTHORITY: &str = "knative-selfsigned-ca";
/// The certificate of a Secret: the holder's, then those between it and the authority.
pub const CERTIFICATE: &str = "tls.crt";
/// The private key of a Secret.
pub const KEY: &str = "tls.key";
/// Whom to trust in order to trust the certificate.
pub const TRUST: &str = "ca.crt";
/// The type of a Secret with [`CERTIFICATE`] and [`KEY`].
pub const SECRET_TYPE: &str = "kubernetes.io/tls";

/// What is asked of an authority that speaks ACME (RFC 8555).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Order {
    /// Who it is for, `namespace/name` of the Secret.
    pub holder: String,
    /// The DNS names, sorted.
    pub names: Vec<String>,
    /// The URL of the authority's directory.
    pub directory: String,
    /// Whom the authority may write to; empty for nobody.
    pub email: String,
    /// PEM certificates the authority's own server must descend from; empty for the system's.
    pub roots: String,
}

/// What is in a certificate, as far as anyone here cares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The DNS names it is for, sorted.
    pub names: Vec<String>,
    /// From when on it holds.
    pub not_before: Timestamp,
    /// Until when it holds.
    pub not_after: Timestamp,
}

impl Facts {
    /// Reads the first certificate of a PEM text.
    pub fn of_pem(pem: &str) -> Option<Self> {
        let pem = Pem::iter_from_buffer(pem.as_bytes()).next()?.ok()?;
        let certificate = pem.parse_x509().ok()?;
        let time = |time: i64| Timestamp::from_second(time).ok();
        let validity = certificate.validity();
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let names = alternative.map(|names| &names.value.general_names[..]);
        let mut names: Vec<String> = names
            .unwrap_or_default()
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            })
            .collect();
        names.sort();
        Some(Self {
            names,
            not_before: time(validity.not_before.timestamp())?,
            not_after: time(validity.not_after.timestamp())?,
        })
    }

    /// When two thirds of its time are over: time enough to try again and again.
    pub fn renew_at(&self) -> Timestamp {
        let lifetime = self.not_after.duration_since(self.not_before);
        let third = SignedDuration::from_secs(lifetime.as_secs() / 3);
        self.not_after.checked_sub(third).unwrap_or(self.not_after)
    }
}

/// Whether the certificate of a Secret will do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It will, until then it need not be looked at again.
    Good(Facts),
    /// It still will, but another one should be there soon.
    Renew(Facts),
    /// It will not, for this reason.
    Bad(&'static str),
}

/// Judges the certificate of `secret` for `names` (sorted). `authority` is the mark of the authority it
/// should come from; `None` when any will do.
pub fn judge(
    secret: Option<&Value>,
    names: &[String],
    authority: Option<&str>,
    now: Timestamp,
) -> Verdict {
    let Some(secret) = secret else {
        return Verdict::Bad("there is no certificate yet");
    };
    let facts = entry(secret, CERTIFICATE).and_then(|pem| Facts::of_pem(&pem));
    let (Some(facts), Some(_)) = (facts, entry(secret, KEY)) else {
        return Verdict::Bad("what is in the Secret is no certificate and key");
    };
    if facts.names != names {
        return Verdict::Bad("the certificate is for other names");
    }
    if authority.is_some_and(|mark| mark != authority_mark(Some(secret))) {
        return Verdict::Bad("the certificate is of an authority that is no more");
    }
    if facts.not_after <= now {
        return Verdict::Bad("the certificate has expired");
    }
    if facts.renew_at() <= now {
        return Verdict::Renew(facts);
    }
    Verdict::Good(facts)
}

/// A short text that differs where those to be trusted differ; empty where there is nobody.
pub fn authority_mark(secret: Option<&Value>) -> String {
    let trust = secret.and_then(|secret| entry(secret, TRUST));
    trust.map_or_else(String::new, |pem| Md5::digest(pem.trim()).encode_hex())
}

/// One entry of a Secret, decoded, if it is text.
pub fn entry(secret: &Value, key: &str) -> Option<String> {
    let encoded = secret["data"][key].as_str()?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    (!text.trim().is_empty()).then_some(text)
}

/// The certificate and key of a Secret.
pub fn identity(secret: &Value) -> Option<Identity> {
    Some(Identity {
        certificate: entry(secret, CERTIFICATE)?.into(),
        key: entry(secret, KEY)?.into(),
    })
}

/// `type` and `data` of a Secret for what a fact has brought: an object of PEM texts.
pub fn secret_body(pems: &Value) -> Value {
    let encoded = |key: &str| STANDARD.encode(pems[key].as_str().unwrap_or_default());
    let keys = [CERTIFICATE, KEY, TRUST];
    let data: Value = keys
        .into_iter()
        .filter(|key| pems[*key].is_string())
        .map(|key| (key.to_owned(), json!(encoded(key))))
        .collect();
    json!({"type": SECRET_TYPE, "data": data})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(names: &[&str], from: &str, to: &str) -> Value {
        let names = names.iter().map(|name| (*name).to_owned());
        let mut params = rcgen::CertificateParams::new(names.collect::<Vec<_>>()).unwrap();
        let day = |text: &str| {
            let date: jiff::civil::Date = text.parse().unwrap();
            let part = |n: i8| u8::try_from(n).unwrap();
            rcgen::date_time_ymd(date.year().into(), part(date.month()), part(date.day()))
        };
        params.not_before = day(from);
        params.not_after = day(to);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let mut secret =
            secret_body(&json!({CERTIFICATE: pem, KEY: key.serialize_pem(), TRUST: "one"}));
        secret["metadata"] = json!({});
        secret
    }

    fn check(secret: Option<&Value>, names: &[&str], now: &str, expected: &str) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mark = authority_mark(Some(&secret_body(&json!({TRUST: "one"}))));
        let now: Timestamp = format!("{now}T00:00:00Z").parse().unwrap();
        let said = match judge(secret, &names, Some(&mark), now) {
            Verdict::Good(_) => "good",
            Verdict::Renew(_) => "renew",
            Verdict::Bad(reason) => reason,
        };
        assert_eq!(said, expected, "{names:?} {now}");
    }

    #[test]
    fn a_certificate_does_until_a_third_of_its_time_is_left() {
        let secret = secret(&["b.example", "a.example"], "2026-01-01", "2026-03-31");
        let names = &["a.example", "b.example"];
        check(Some(&secret), names, "2026-01-01", "good");
        check(Some(&secret), names, "2026-03-01", "good");
        check(Some(&secret), names, "2026-03-02", "renew");
        let expired = "the certificate has expired";
        check(Some(&secret), names, "2026-03-31", expired);
        let other = "the certificate is for other names";
        check(Some(&secret), &["a.example"], "2026-01-01", other);
        check(None, names, "2026-01-01", "there is no certificate yet");
    }

    #[test]
    fn what_comes_of_another_authority_is_replaced() {
        let mut secret = secret(&["a.example"], "2026-01-01", "2026-03-31");
        secret["data"][TRUST] = secret_body(&json!({TRUST: "two"}))["data"][TRUST].clone();
        let reason = "the certificate is of an authority that is no more";
        check(Some(&secret), &["a.example"], "2026-01-01", reason);
        secret["data"][KEY] = json!("");
        let reason = "what is in the Secret is no certificate and key";
        check(Some(&secret), &["a.example"], "2026-01-01", reason);
    }

    #[test]
    fn what_a_fact_brings_is_what_is_read_again() {
        let mut object =
            secret_body(&json!({CERTIFICATE: "the chain", KEY: "the key", "more": "not kept"}));
        object["metadata"] = json!({"name": "x"});
        let identity = identity(&object).unwrap();
        assert_eq!(&*identity.certificate, "the chain");
        assert_eq!(object["data"].as_object().unwrap().len(), 2);
        assert!(!format!("{identity:?}").contains("the key"));
    }
}
