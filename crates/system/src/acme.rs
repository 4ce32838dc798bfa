//! A small authority that speaks ACME (RFC 8555) over TLS in an instance's network namespace:
//! accounts, orders, the challenge http-01, certificates. It checks nonces and signatures, and looks
//! at the gateway itself whether a name leads there.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::load::enter;

/// The authority; ends when the test does.
#[derive(Debug)]
pub struct Acme {
    /// The URL of its directory.
    pub directory: String,
    /// The certificate by which its server and what it signs is trusted, as PEM.
    pub root: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    base: String,
    gateway: SocketAddr,
    root: String,
    key: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    serial: usize,
    nonces: BTreeSet<String>,
    accounts: BTreeMap<String, Value>,
    orders: BTreeMap<usize, Order>,
    /// What was asked of whom, for a test that wants to know.
    looked_at: Vec<String>,
}

#[derive(Debug, Default)]
struct Order {
    /// Names and what has become of them.
    names: Vec<(String, &'static str)>,
    certificate: Option<String>,
}

/// An answer: status, content type, further header, body.
struct Answer(u16, &'static str, Option<(&'static str, String)>, String);

impl Answer {
    fn json(status: u16, value: &Value) -> Self {
        Self(status, "application/json", None, value.to_string())
    }

    fn at(self, location: String) -> Self {
        Self(self.0, self.1, Some(("location", location)), self.3)
    }
}

impl Acme {
    /// Starts one in `netns` that looks at the gateway at `gateway`.
    pub(crate) fn start(netns: PathBuf, gateway: SocketAddr) -> Result<Self> {
        let (send, started) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let begun = begin(&netns, gateway);
            let (shared, listener, tls) = match begun {
                Ok(begun) => begun,
                Err(error) => return drop(send.send(Err(error))),
            };
            drop(send.send(Ok(Arc::clone(&shared))));
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.expect("a runtime of one thread");
            runtime.block_on(serve(shared, listener, tls));
        });
        let shared = started.recv().context("the authority has ended")??;
        Ok(Self {
            directory: format!("{}/directory", shared.base),
            root: shared.root.clone(),
            shared,
        })
    }

    /// The URLs it has looked at.
    pub fn looked_at(&self) -> Vec<String> {
        self.shared.state().looked_at.clone()
    }
}

fn begin(
    netns: &std::path::Path,
    gateway: SocketAddr,
) -> Result<(Arc<Shared>, StdListener, TlsAcceptor)> {
    enter(netns)?;
    let listener = StdListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()])?;
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate()?;
    let root = params.self_signed(&key)?;
    let key_pem = key.serialize_pem();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&root.pem(), key)?;
    let server_key = rcgen::KeyPair::generate()?;
    let server = rcgen::CertificateParams::new(["localhost".to_owned()])?;
    let server = server.signed_by(&server_key, &issuer)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(server.der().to_vec())],
            PrivateKeyDer::try_from(server_key.serialize_der()).map_err(anyhow::Error::msg)?,
        )?;
    let shared = Arc::new(Shared {
        base: format!("https://localhost:{}", listener.local_addr()?.port()),
        gateway,
        root: root.pem(),
        key: key_pem,
        state: Mutex::default(),
    });
    Ok((shared, listener, TlsAcceptor::from(Arc::new(config))))
}

async fn serve(shared: Arc<Shared>, listener: StdListener, tls: TlsAcceptor) {
    let listener = TcpListener::from_std(listener).expect("a non-blocking listener");
    while let Ok((stream, _)) = listener.accept().await {
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(shared.answer(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let answered = self.route(request).await;
        let Answer(status, kind, header, body) = answered.unwrap_or_else(|error| {
            let problem = json!({
                "type": "urn:ietf:params:acme:error:malformed", "detail": format!("{error:#}"),
            });
            Answer::json(400, &problem)
        });
        let mut response = Response::builder()
            .status(status)
            .header("content-type", kind)
            .header("replay-nonce", self.state().nonce());
        if let Some((name, value)) = header {
            response = response.header(name, value);
        }
        response
            .body(Full::new(body.into()))
            .expect("valid headers")
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Answer> {
        let path = request.uri().path().to_owned();
        if path == "/directory" {
            let url = |name: &str| format!("{}/{name}", self.base);
            let directory = json!({
                "newNonce": url("nonce"), "newAccount": url("account"), "newOrder": url("order"),
                "revokeCert": url("revoke"), "keyChange": url("key"),
            });
            return Ok(Answer::json(200, &directory));
        }
        if request.method() != Method::POST {
            return Ok(Answer(200, "text/plain", None, String::new()));
        }
        let body = request.into_body().collect().await?.to_bytes();
        let (jwk, payload) = self.verify(&path, &body)?;
        let mut parts = path.trim_start_matches('/').split('/');
        let (verb, id) = (parts.next().unwrap_or_default(), parts.next());
        let id = id.map(str::parse::<usize>).transpose()?;
        let at = parts
            .next()
            .map(str::parse::<usize>)
            .transpose()?
            .unwrap_or(0);
        match (verb, id) {
            ("account", None) => {
                let mut state = self.state();
                state.serial += 1;
                let url = format!("{}/account/{}", self.base, state.serial);
                state.accounts.insert(url.clone(), jwk);
                Ok(Answer::json(201, &json!({"status": "valid"})).at(url))
            }
            ("order", None) => self.place(&payload),
            ("order", Some(id)) => self.order(id, 200),
            ("authz", Some(id)) => self.authorization(id, at),
            ("challenge", Some(id)) => self.look(id, at, &jwk).await,
            ("finalize", Some(id)) => self.sign(id, &payload),
            ("certificate", Some(id)) => {
                let state = self.state();
                let order = state.orders.get(&id).context("no such order")?;
                let pem = order.certificate.clone().context("nothing is signed")?;
                Ok(Answer(200, "application/pem-certificate-chain", None, pem))
            }
            _ => bail!("nothing at {path}"),
        }
    }

    /// The key and the payload of a signed request (RFC 8555 section 6.2).
    fn verify(&self, path: &str, body: &[u8]) -> Result<(Value, Value)> {
        let body: Value = serde_json::from_slice(body)?;
        let text = |key: &str| body[key].as_str().unwrap_or_default();
        let decoded = |key: &str| URL_SAFE_NO_PAD.decode(text(key));
        let protected: Value = serde_json::from_slice(&decoded("protected")?)?;
        let url = format!("{}{path}", self.base);
        ensure!(protected["url"] == url, "signed for another URL");
        let nonce = protected["nonce"].as_str().unwrap_or_default();
        let mut state = self.state();
        ensure!(state.nonces.remove(nonce), "not a nonce of ours");
        let jwk = match protected["kid"].as_str() {
            Some(account) => state
                .accounts
                .get(account)
                .context("no such account")?
                .clone(),
            None => protected["jwk"].clone(),
        };
        drop(state);
        let coordinate = |key: &str| URL_SAFE_NO_PAD.decode(jwk[key].as_str().unwrap_or_default());
        let point = [vec![4], coordinate("x")?, coordinate("y")?].concat();
        let message = format!("{}.{}", text("protected"), text("payload"));
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(message.as_bytes(), &decoded("signature")?)
            .ok()
            .context("the signature is another's")?;
        let payload = decoded("payload")?;
        let payload = if payload.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&payload)?
        };
        Ok((jwk, payload))
    }

    fn place(&self, payload: &Value) -> Result<Answer> {
        let identifiers = payload["identifiers"]
            .as_array()
            .context("no identifiers")?;
        let names = identifiers.iter().filter_map(|one| one["value"].as_str());
        let names = names.map(|name| (name.to_owned(), "pending")).collect();
        let mut state = self.state();
        state.serial += 1;
        let id = state.serial;
        let order = Order {
            names,
            certificate: None,
        };
        state.orders.insert(id, order);
        drop(state);
        Ok(self.order(id, 201)?.at(format!("{}/order/{id}", self.base)))
    }

    fn order(&self, id: usize, status: u16) -> Result<Answer> {
        let state = self.state();
        let order = state.orders.get(&id).context("no such order")?;
        let mut statuses = order.names.iter().map(|(_, status)| *status);
        let stands = if order.certificate.is_some() {
            "valid"
        } else if statuses.clone().any(|status| status == "invalid") {
            "invalid"
        } else if statuses.all(|status| status == "valid") {
            "ready"
        } else {
            "pending"
        };
        let base = &self.base;
        let authorizations = (0..order.names.len()).map(|at| format!("{base}/authz/{id}/{at}"));
        let identifiers = order
            .names
            .iter()
            .map(|(name, _)| json!({"type": "dns", "value": name}));
        let mut value = json!({
            "status": stands,
            "identifiers": identifiers.collect::<Value>(),
            "authorizations": authorizations.collect::<Vec<_>>(),
            "finalize": format!("{base}/finalize/{id}"),
        });
        if order.certificate.is_some() {
            value["certificate"] = json!(format!("{base}/certificate/{id}"));
        }
        Ok(Answer::json(status, &value))
    }

    fn authorization(&self, id: usize, at: usize) -> Result<Answer> {
        let state = self.state();
        let order = state.orders.get(&id).context("no such order")?;
        let (name, status) = order.names.get(at).context("no such name")?;
        let mut challenge = json!({
            "type": "http-01",
            "url": format!("{}/challenge/{id}/{at}", self.base),
            "token": token(id, at),
            "status": status,
        });
        if *status == "invalid" {
            challenge["error"] = json!({
                "type": "urn:ietf:params:acme:error:unauthorized", "detail": "the wrong answer",
            });
        }
        let value = json!({
            "status": status,
            "identifier": {"type": "dns", "value": name},
            "challenges": [challenge],
        });
        Ok(Answer::json(200, &value))
    }

    /// Looks whether the name leads to somebody who knows the account's key.
    async fn look(&self, id: usize, at: usize, jwk: &Value) -> Result<Answer> {
        let name = {
            let state = self.state();
            let order = state.orders.get(&id).context("no such order")?;
            order.names.get(at).context("no such name")?.0.clone()
        };
        let canonical = format!(
            "{{\"crv\":{},\"kty\":{},\"x\":{},\"y\":{}}}",
            jwk["crv"], jwk["kty"], jwk["x"], jwk["y"]
        );
        let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(canonical));
        let token = token(id, at);
        let path = format!("/.well-known/acme-challenge/{token}");
        let seen = fetch(self.gateway, &name, &path).await;
        let good = seen.is_ok_and(|seen| seen == format!("{token}.{thumbprint}"));
        let mut state = self.state();
        state.looked_at.push(format!("http://{name}{path}"));
        let order = state.orders.get_mut(&id).context("no such order")?;
        order.names[at].1 = if good { "valid" } else { "invalid" };
        drop(state);
        let url = format!("{}/challenge/{id}/{at}", self.base);
        let value = json!({"type": "http-01", "url": url, "token": token, "status": "processing"});
        Ok(Answer::json(200, &value))
    }

    fn sign(&self, id: usize, payload: &Value) -> Result<Answer> {
        let csr = URL_SAFE_NO_PAD.decode(payload["csr"].as_str().unwrap_or_default())?;
        let csr = rcgen::CertificateSigningRequestParams::from_der(&csr.into())?;
        let key = rcgen::KeyPair::from_pem(&self.key)?;
        let issuer = rcgen::Issuer::from_ca_cert_pem(&self.root, key)?;
        let signed = csr.signed_by(&issuer)?;
        let mut state = self.state();
        let order = state.orders.get_mut(&id).context("no such order")?;
        ensure!(
            order.names.iter().all(|(_, status)| *status == "valid"),
            "not all names have been seen"
        );
        order.certificate = Some(format!("{}{}", signed.pem(), self.root));
        drop(state);
        self.order(id, 200)
    }
}

impl State {
    fn nonce(&mut self) -> String {
        self.serial += 1;
        let nonce = URL_SAFE_NO_PAD.encode(format!("nonce {}", self.serial));
        self.nonces.insert(nonce.clone());
        nonce
    }
}

fn token(id: usize, at: usize) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{id} {at}")))
}

/// GET of `path` of `host` at `gateway`.
async fn fetch(gateway: SocketAddr, host: &str, path: &str) -> Result<String> {
    let stream = TcpStream::connect(gateway).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", host)
        .body(Full::<Bytes>::default())?;
    let response = sender.send_request(request).await?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec())?)
}
