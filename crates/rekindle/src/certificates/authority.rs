//! Keys and signatures of the installation's own authority. Touches nothing but memory.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// How long an authority is one.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Clocks may differ by so much.
const SKEW: Duration = Duration::from_secs(60);
/// A common name has room for so many characters (RFC 5280 appendix A.1); a longer name is an
/// alternative one only.
const COMMON_NAME_MAX: usize = 64;

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// A new authority that signs itself.
pub(super) fn make(now: Timestamp) -> Result<Pair> {
    let mut params = holding(CertificateParams::default(), now, AUTHORITY_LIFETIME);
    let name = "knative.dev";
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    Ok(Pair {
        certificate: params.self_signed(&key)?.pem(),
        key: key.serialize_pem(),
    })
}

/// A certificate for servers called `names`, with a new key.
pub(super) fn issue(
    authority: &Pair,
    names: &[String],
    now: Timestamp,
    lifetime: Duration,
) -> Result<Pair> {
    let signer = KeyPair::from_pem(&authority.key).context("the authority's key is none")?;
    let signer = Issuer::from_ca_cert_pem(&authority.certificate, signer)
        .context("the authority's certificate is none")?;
    let params = CertificateParams::new(names).context("a name no certificate can have")?;
    let mut params = holding(params, now, lifetime);
    params.use_authority_key_identifier_extension = true;
    if let Some(name) = names.iter().find(|name| name.len() <= COMMON_NAME_MAX) {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    Ok(Pair {
        certificate: params.signed_by(&key, &signer)?.pem(),
        key: key.serialize_pem(),
    })
}

fn holding(mut params: CertificateParams, now: Timestamp, lifetime: Duration) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = Duration::from_secs(now.as_second().unsigned_abs());
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = epoch + now.saturating_sub(SKEW);
    params.not_after = epoch + now + lifetime;
    params
}

#[cfg(test)]
mod tests {
    use ::api::certificate::Facts;

    use super::*;

    #[test]
    fn what_it_signs_holds_as_long_as_asked_and_for_the_names_asked() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let authority = make(now).unwrap();
        let long = format!("{}.example", "a".repeat(60));
        let names = [long, "*.b.example".to_owned()];
        let leaf = issue(&authority, &names, now, Duration::from_secs(3600)).unwrap();
        let facts = Facts::of_pem(&leaf.certificate).unwrap();
        assert_eq!(facts.names, ["*.b.example".to_owned(), names[0].clone()]);
        assert_eq!(facts.not_before.to_string(), "2025-12-31T23:59:00Z");
        assert_eq!(facts.not_after.to_string(), "2026-01-01T01:00:00Z");
        let other = make(now).unwrap();
        let mixed = Pair {
            certificate: "none".to_owned(),
            ..other
        };
        assert!(issue(&mixed, &names, now, Duration::ZERO).is_err());
    }
}
