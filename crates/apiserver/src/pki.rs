//! Keys and certificates under `DATA_DIR/pki`: the authority, the server, the administrator, and
//! the key that signs ServiceAccount tokens. Made once, read again at every start.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Years the certificates hold: an embedded cluster has nobody who would renew them.
const VALID_YEARS: i32 = 20;

/// Why the keys are not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("could not {step} {}", path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A file is there but holds something else.
    #[error("{} does not hold {what}; remove it to have a new one made", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was expected in it.
        what: &'static str,
    },
    /// A certificate could not be made.
    #[error("could not make the certificate of {subject}")]
    Make {
        /// Whose.
        subject: String,
        /// The reason.
        source: rcgen::Error,
    },
}

/// A certificate and its key as PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// All keys of one API server.
pub(crate) struct Pki {
    pub(crate) authority: Pair,
    pub(crate) server: Pair,
    pub(crate) admin: Pair,
    accounts: EcdsaKeyPair,
    random: SystemRandom,
}

impl Pki {
    /// Reads the keys in `dir`; makes those that are missing. The server's certificate is made
    /// anew when it does not name all of `addresses`.
    pub(crate) fn open(dir: &Path, addresses: &[IpAddr], names: &[String]) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|source| Error::Io {
            step: "create",
            path: dir.into(),
            source,
        })?;
        let authority = pair(dir, "ca", authority)?;
        let signer = || issuer(dir, &authority);
        let mut sans: Vec<SanType> = addresses.iter().map(|ip| SanType::IpAddress(*ip)).collect();
        for name in SERVER_NAMES
            .iter()
            .map(|name| (*name).to_owned())
            .chain(names.iter().cloned())
        {
            sans.push(SanType::DnsName(
                name.try_into().map_err(|e| made("the server", e))?,
            ));
        }
        // The names are part of the file name's stem by digest: other names, another certificate.
        let stem = format!("server-{}", digest(&sans));
        let server = pair(dir, &stem, |key| {
            leaf(key, &signer()?, "kube-apiserver", None, &sans)
        })?;
        let admin = pair(dir, "admin", |key| {
            leaf(
                key,
                &signer()?,
                "kubernetes-admin",
                Some("system:masters"),
                &[],
            )
        })?;
        let accounts = account_key(dir)?;
        Ok(Self {
            authority,
            server,
            admin,
            accounts,
            random: SystemRandom::new(),
        })
    }

    /// Identifies the token key.
    pub(crate) fn account_key_id(&self) -> String {
        use sha2::Digest;
        hex::encode(&sha2::Sha256::digest(self.accounts.public_key())[..16])
    }

    /// The public half of the token key, as a JSON Web Key.
    pub(crate) fn account_key(&self) -> serde_json::Value {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        // An uncompressed point: 0x04, then both coordinates.
        let point = self.accounts.public_key().as_ref();
        let (x, y) = point[1..].split_at(point.len() / 2);
        serde_json::json!({
            "use": "sig", "kty": "EC", "crv": "P-256", "alg": "ES256",
            "kid": self.account_key_id(),
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    pub(crate) fn sign_token(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let signature = self.accounts.sign(&self.random, message);
        signature
            .map(|s| s.as_ref().to_vec())
            .map_err(|_| "could not sign the token".to_owned())
    }

    pub(crate) fn verify_token(&self, message: &[u8], signature: &[u8]) -> Result<(), String> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.accounts.public_key())
            .verify(message, signature)
            .map_err(|_| "invalid bearer token".to_owned())
    }

    /// The server's certificate chain and key for rustls.
    pub(crate) fn server_identity(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), rustls::pki_types::pem::Error>
    {
        let chain = [&self.server, &self.authority]
            .map(|pair| CertificateDer::from_pem_slice(pair.certificate.as_bytes()));
        let key = PrivateKeyDer::from_pem_slice(self.server.key.as_bytes())?;
        Ok((chain.into_iter().collect::<Result<_, _>>()?, key))
    }

    /// The authority's certificate.
    pub(crate) fn authority_der(
        &self,
    ) -> Result<CertificateDer<'static>, rustls::pki_types::pem::Error> {
        CertificateDer::from_pem_slice(self.authority.certificate.as_bytes())
    }
}

/// Names the server is reached under inside the cluster and on the machine.
const SERVER_NAMES: &[&str] = &[
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

fn made(subject: &str, source: rcgen::Error) -> Error {
    Error::Make {
        subject: subject.to_owned(),
        source,
    }
}

fn digest(sans: &[SanType]) -> String {
    use sha2::Digest;
    hex::encode(&sha2::Sha256::digest(format!("{sans:?}"))[..6])
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io {
            step: "read",
            path: path.into(),
            source,
        }),
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    let temporary = path.with_extension("tmp");
    let failed = |step| {
        move |source| Error::Io {
            step,
            path: path.into(),
            source,
        }
    };
    let mut options = fs::OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary);
    let mut file = file.map_err(failed("create"))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(failed("write"))?;
    fs::rename(&temporary, path).map_err(failed("name"))
}

/// The pair `stem.crt`, `stem.key`.
fn pair(
    dir: &Path,
    stem: &str,
    make: impl FnOnce(&KeyPair) -> Result<String, Error>,
) -> Result<Pair, Error> {
    let (certificate_path, key_path) = (
        dir.join(format!("{stem}.crt")),
        dir.join(format!("{stem}.key")),
    );
    if let (Some(certificate), Some(key)) = (read(&certificate_path)?, read(&key_path)?) {
        return Ok(Pair { certificate, key });
    }
    let key = KeyPair::generate().map_err(|e| made(stem, e))?;
    let pair = Pair {
        certificate: make(&key)?,
        key: key.serialize_pem(),
    };
    write(&key_path, pair.key.as_bytes())?;
    write(&certificate_path, pair.certificate.as_bytes())?;
    Ok(pair)
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let year = i32::from(jiff::Zoned::now().year());
    params.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
    params.not_after = rcgen::date_time_ymd(year + VALID_YEARS, 1, 1);
    params
}

fn authority(key: &KeyPair) -> Result<String, Error> {
    let mut params = params("rekindle-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let certificate = params
        .self_signed(key)
        .map_err(|e| made("the authority", e))?;
    Ok(certificate.pem())
}

fn issuer(dir: &Path, authority: &Pair) -> Result<Issuer<'static, KeyPair>, Error> {
    let content = |what| Error::Content {
        path: dir.join("ca.key"),
        what,
    };
    let key = KeyPair::from_pem(&authority.key).map_err(|_| content("a private key"))?;
    Issuer::from_ca_cert_pem(&authority.certificate, key)
        .map_err(|_| content("the authority's key"))
}

fn leaf(
    key: &KeyPair,
    issuer: &Issuer<'_, KeyPair>,
    common_name: &str,
    organization: Option<&str>,
    sans: &[SanType],
) -> Result<String, Error> {
    let mut params = params(common_name);
    if let Some(organization) = organization {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
    }
    params.subject_alt_names = sans.to_vec();
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = match sans {
        [] => vec![ExtendedKeyUsagePurpose::ClientAuth],
        _ => vec![ExtendedKeyUsagePurpose::ServerAuth],
    };
    let certificate = params
        .signed_by(key, issuer)
        .map_err(|e| made(common_name, e))?;
    Ok(certificate.pem())
}

fn account_key(dir: &Path) -> Result<EcdsaKeyPair, Error> {
    let path = dir.join("service-account.key");
    let pem = match read(&path)? {
        Some(pem) => pem,
        None => {
            let key = KeyPair::generate()
                .map_err(|e| made("service accounts", e))?
                .serialize_pem();
            write(&path, key.as_bytes())?;
            key
        }
    };
    let what = "an ECDSA P-256 key";
    let content = || Error::Content {
        path: path.clone(),
        what,
    };
    let key = KeyPair::from_pem(&pem).map_err(|_| content())?;
    let random = SystemRandom::new();
    EcdsaKeyPair::from_pkcs8(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        key.serialized_der(),
        &random,
    )
    .map_err(|_| content())
}
