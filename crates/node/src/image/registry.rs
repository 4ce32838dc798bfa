//! One registry endpoint: manifests and blobs over the OCI distribution protocol, and what its
//! refusals mean.

use std::time::Duration;

use futures_util::StreamExt;
use oci_client::Client;
use oci_client::client::{
    BlobResponse, Certificate, CertificateEncoding, ClientConfig, ClientProtocol,
};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use tokio::sync::mpsc;

use super::blobs::Ingest;
use super::digest::Digest;
use super::error::{Error, Fault};
use super::keyring::Credentials;
use super::manifest::{DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, OCI_INDEX, OCI_MANIFEST};
use super::reference::Reference;
use super::registries::Endpoint;
use super::store::ImageStore;

const CONNECT_MAX: Duration = Duration::from_secs(10);
/// A download that stands still for so long is broken.
const READ_MAX: Duration = Duration::from_secs(30);
const MANIFESTS: &[&str] = &[OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST];
/// How often a blob's download is taken up again.
const ATTEMPTS_MAX: usize = 5;
/// Chunks on their way from the network to the disk.
const CHUNKS_AHEAD: usize = 16;

/// A registry, or a mirror of it, with one set of credentials.
pub(super) struct Remote {
    client: Client,
    auth: RegistryAuth,
    image: oci_client::Reference,
    endpoint: Endpoint,
}

/// Why something did not come: whose fault, and the words for it.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) fault: Fault,
    pub(super) detail: String,
}

impl Remote {
    pub(super) async fn new(
        reference: &Reference,
        endpoint: Endpoint,
        credentials: Option<Credentials>,
    ) -> Result<Self, Refusal> {
        let mut image = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => oci_client::Reference::with_digest(
                reference.registry().to_owned(),
                reference.repository().to_owned(),
                digest.to_string(),
            ),
            (None, tag) => oci_client::Reference::with_tag(
                reference.registry().to_owned(),
                reference.repository().to_owned(),
                tag.unwrap_or("latest").to_owned(),
            ),
        };
        if endpoint.mirror {
            image.set_mirror_registry(endpoint.host.clone());
        }
        let auth = match credentials {
            None => RegistryAuth::Anonymous,
            Some(Credentials::Basic { username, password }) => {
                RegistryAuth::Basic(username, password)
            }
            Some(Credentials::Token(token)) => RegistryAuth::Bearer(token),
        };
        let client = client(&endpoint)?;
        client
            .store_auth_if_needed(image.resolve_registry(), &auth)
            .await;
        Ok(Self {
            client,
            auth,
            image,
            endpoint,
        })
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    pub(super) const fn image(&self) -> &oci_client::Reference {
        &self.image
    }

    /// The digest the name stands for now.
    pub(super) async fn digest(&self) -> Result<Digest, Refusal> {
        let found = self
            .client
            .fetch_manifest_digest(&self.image, &self.auth)
            .await;
        let found = found.map_err(|error| self.refusal("HEAD", &error))?;
        found
            .parse()
            .map_err(|_| self.broken(format!("unsupported digest {found:?}")))
    }

    /// The bytes of the manifest or index the name stands for.
    pub(super) async fn manifest(&self) -> Result<Vec<u8>, Refusal> {
        self.fetch(&self.image).await
    }

    /// The bytes of the manifest with this digest.
    pub(super) async fn manifest_by_digest(&self, digest: &Digest) -> Result<Vec<u8>, Refusal> {
        let image = self.image.clone_with_digest(digest.to_string());
        let bytes = self.fetch(&image).await?;
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(self.broken(format!("content has digest {found}, expected {digest}")));
        }
        Ok(bytes)
    }

    async fn fetch(&self, image: &oci_client::Reference) -> Result<Vec<u8>, Refusal> {
        let found = self
            .client
            .pull_manifest_raw(image, &self.auth, MANIFESTS)
            .await;
        found
            .map(|(bytes, _)| bytes.to_vec())
            .map_err(|error| self.refusal("GET", &error))
    }

    /// Brings a blob into the store, taking up what an earlier attempt left. `progress` hears how
    /// many bytes are there.
    pub(super) async fn blob(
        &self,
        store: &ImageStore,
        blob: &Descriptor,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), Refusal> {
        let mut last = None;
        for _ in 0..ATTEMPTS_MAX {
            match self.attempt_blob(store, blob, progress).await {
                Ok(()) => return Ok(()),
                Err(refusal) if refusal.fault == Fault::Unreachable => last = Some(refusal),
                Err(refusal) => return Err(refusal),
            }
        }
        Err(last.unwrap_or_else(|| self.broken("no attempt was made".to_owned())))
    }

    async fn attempt_blob(
        &self,
        store: &ImageStore,
        blob: &Descriptor,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), Refusal> {
        let (blobs, digest) = (store.blobs().clone(), blob.digest.clone());
        let opened = tokio::task::spawn_blocking(move || blobs.resume(&digest)).await;
        let (mut ingest, mut there) = self.local(opened)?;
        if there > blob.size {
            ingest
                .restart()
                .map_err(|error| self.broken(chain(&error)))?;
            there = 0;
        }
        if there < blob.size || blob.size == 0 {
            let asked = (&self.image, blob.digest.as_str());
            let answer = self
                .client
                .pull_blob_stream_partial(asked.0, asked.1, there, None)
                .await;
            let mut stream = match answer.map_err(|error| self.refusal("GET", &error))? {
                BlobResponse::Partial(stream) => stream,
                BlobResponse::Full(stream) => {
                    ingest
                        .restart()
                        .map_err(|error| self.broken(chain(&error)))?;
                    there = 0;
                    stream
                }
            };
            let (chunks, writer) = start_writer(ingest);
            let mut broken = None;
            while let Some(chunk) = stream.next().await {
                match chunk {
                    Ok(chunk) => {
                        there += chunk.len() as u64;
                        progress(there);
                        if chunks.send(chunk).await.is_err() {
                            break;
                        }
                    }
                    Err(error) => {
                        broken = Some(self.unreachable(chain(&error)));
                        break;
                    }
                }
            }
            drop(chunks);
            ingest = self.local(writer.await)?;
            if let Some(broken) = broken {
                return Err(broken);
            }
        }
        let digest = blob.digest.clone();
        let committed = tokio::task::spawn_blocking(move || ingest.commit(Some(&digest))).await;
        self.local(committed).map(drop)
    }

    /// What happened on this machine's own disk, as a refusal.
    fn local<T>(
        &self,
        outcome: Result<Result<T, Error>, tokio::task::JoinError>,
    ) -> Result<T, Refusal> {
        match outcome {
            Ok(outcome) => outcome.map_err(|error| self.broken(chain(&error))),
            Err(error) => Err(self.broken(error.to_string())),
        }
    }

    pub(super) fn broken(&self, detail: String) -> Refusal {
        Refusal {
            fault: Fault::Content,
            detail,
        }
    }

    fn unreachable(&self, detail: String) -> Refusal {
        let detail = format!("failed to do request to {}: {detail}", self.endpoint.host);
        Refusal {
            fault: Fault::Unreachable,
            detail,
        }
    }

    pub(super) fn refusal(&self, verb: &str, error: &OciDistributionError) -> Refusal {
        let fault = match error {
            OciDistributionError::ImageManifestNotFoundError(_) => Fault::NotFound,
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_) => Fault::Unauthorized,
            OciDistributionError::RegistryError { envelope, .. } => envelope
                .errors
                .first()
                .map_or(Fault::Refused, |error| fault_of(&error.code)),
            OciDistributionError::ServerError { code: 404, .. } => Fault::NotFound,
            OciDistributionError::ServerError {
                code: 401 | 403, ..
            } => Fault::Unauthorized,
            OciDistributionError::ServerError { .. } => Fault::Refused,
            OciDistributionError::RequestError(_) | OciDistributionError::IoError(_) => {
                return self.unreachable(chain(error));
            }
            _ => Fault::Content,
        };
        let name = self.image.whole();
        let action = match verb {
            "PUT" | "PATCH" => "push",
            _ => "pull",
        };
        let detail = match fault {
            Fault::NotFound => format!("{name}: not found"),
            Fault::Unauthorized => format!(
                "{action} access denied for {name}, repository does not exist or may require \
                 authorization"
            ),
            _ => format!(
                "unexpected answer to {verb} from {}: {}",
                self.endpoint.host,
                chain(error)
            ),
        };
        Refusal { fault, detail }
    }
}

fn fault_of(code: &OciErrorCode) -> Fault {
    match code {
        OciErrorCode::ManifestUnknown
        | OciErrorCode::NameUnknown
        | OciErrorCode::NotFound
        | OciErrorCode::BlobUnknown
        | OciErrorCode::ManifestBlobUnknown => Fault::NotFound,
        OciErrorCode::Unauthorized | OciErrorCode::Denied => Fault::Unauthorized,
        _ => Fault::Refused,
    }
}

fn client(endpoint: &Endpoint) -> Result<Client, Refusal> {
    let mut extra_root_certificates = Vec::new();
    if let Some(path) = &endpoint.ca_file {
        let data = std::fs::read(path).map_err(|error| Refusal {
            fault: Fault::Content,
            detail: format!("cannot read {}: {error}", path.display()),
        })?;
        extra_root_certificates.push(Certificate {
            encoding: CertificateEncoding::Pem,
            data,
        });
    }
    // Whoever comes first decides for the process; everybody in it means ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let protocol = if endpoint.plain_http {
        ClientProtocol::Http
    } else {
        ClientProtocol::Https
    };
    Ok(Client::new(ClientConfig {
        protocol,
        accept_invalid_certificates: endpoint.skip_verify,
        extra_root_certificates,
        // In chunks goes what is large: see `push`.
        use_monolithic_push: true,
        connect_timeout: Some(CONNECT_MAX),
        read_timeout: Some(READ_MAX),
        user_agent: "rekindle",
        ..ClientConfig::default()
    }))
}

type Writer = tokio::task::JoinHandle<Result<Ingest, Error>>;

/// Writing and hashing happen on a thread of their own, so that a large image holds nobody up.
fn start_writer(mut ingest: Ingest) -> (mpsc::Sender<bytes::Bytes>, Writer) {
    let (sender, mut chunks) = mpsc::channel::<bytes::Bytes>(CHUNKS_AHEAD);
    let writer = tokio::task::spawn_blocking(move || {
        while let Some(chunk) = chunks.blocking_recv() {
            ingest.write(&chunk)?;
        }
        Ok(ingest)
    });
    (sender, writer)
}

/// An error with its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
