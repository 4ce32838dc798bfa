//! Pulling from a real registry (Debian's `docker-registry`), in a network namespace of its own.
//! Skipped where the program is missing.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;

use super::*;
use crate::net::tests::isolated;

const PROGRAM: &str = "/usr/bin/docker-registry";
/// `user` with the password `secret`.
const HTPASSWD: &str = "user:$2y$05$1NUW8H0.KR.u.AFd3I9nJuTJuSLh2KBekV2C2PsOap.41.mFCmwAO\n";
const SECRET: &str = r#"{"auths":{"127.0.0.1:5000":{"username":"user","password":"secret"}}}"#;
const WRONG: &str = r#"{"auths":{"127.0.0.1:5000":{"username":"user","password":"guess"}}}"#;

/// A registry that ends with the test.
struct Registry {
    child: Child,
    auth: RegistryAuth,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    async fn start(directory: &Path, with_auth: bool) -> Self {
        let root = directory.join("registry");
        fs::create_dir_all(&root).expect("a directory");
        let passwords = directory.join("htpasswd");
        fs::write(&passwords, HTPASSWD).expect("write");
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"127.0.0.1:5000\"}}\n",
            root.display()
        );
        if with_auth {
            let path = passwords.display();
            config.push_str(&format!(
                "auth: {{htpasswd: {{realm: test, path: {path}}}}}\n"
            ));
        }
        let file = directory.join("registry.yaml");
        fs::write(&file, config).expect("write");
        let mut command = Command::new(PROGRAM);
        command
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().expect("the registry starts");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000));
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let auth = match with_auth {
            true => RegistryAuth::Basic("user".to_owned(), "secret".to_owned()),
            false => RegistryAuth::Anonymous,
        };
        Self { child, auth }
    }

    /// Pushes an image under a name; the manifest's bytes come back.
    async fn push(&self, name: &str, image: &Builder) -> Vec<u8> {
        let layout = tempfile::tempdir().expect("a directory");
        let digest = image.write_layout(layout.path(), name).expect("an image");
        let blobs = layout.path().join("blobs/sha256");
        let manifest = fs::read(blobs.join(digest.hex())).expect("a manifest");
        let client = client();
        let reference: oci_client::Reference = name.parse().expect("a name");
        client
            .store_auth_if_needed(reference.resolve_registry(), &self.auth)
            .await;
        for blob in fs::read_dir(&blobs).expect("blobs").flatten() {
            let bytes = fs::read(blob.path()).expect("a blob");
            let digest = Digest::of(&bytes);
            client
                .push_blob(&reference, bytes, digest.as_str())
                .await
                .expect("pushed");
        }
        self.push_manifest(name, manifest.clone(), manifest::OCI_MANIFEST)
            .await;
        manifest
    }

    async fn push_manifest(&self, name: &str, bytes: Vec<u8>, media_type: &str) {
        let client = client();
        let reference: oci_client::Reference = name.parse().expect("a name");
        client
            .store_auth_if_needed(reference.resolve_registry(), &self.auth)
            .await;
        let media_type = media_type.parse().expect("a header");
        client
            .push_manifest_raw(&reference, bytes, media_type)
            .await
            .expect("pushed");
    }
}

fn client() -> oci_client::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let protocol = ClientProtocol::Http;
    oci_client::Client::new(ClientConfig {
        protocol,
        ..ClientConfig::default()
    })
}

fn with_registry<F: Future<Output = ()>>(
    with_auth: bool,
    test: impl FnOnce(Fixture, Registry) -> F + Send + 'static,
) {
    if !Path::new(PROGRAM).exists() {
        eprintln!("skipped: needs {PROGRAM}");
        return;
    }
    isolated(move || async move {
        let fixture = Fixture::new();
        let registry = Registry::start(fixture.directory.path(), with_auth).await;
        test(fixture, registry).await;
    });
}

impl Fixture {
    fn puller(&self) -> Puller {
        let registries = Registries::load(self.directory.path()).expect("a configuration");
        Puller::new(self.store.clone(), registries)
    }
}

fn keyring(secret: &str) -> Keyring {
    let mut keyring = Keyring::default();
    if !secret.is_empty() {
        keyring
            .add_docker_config_json(secret.as_bytes())
            .expect("a secret");
    }
    keyring
}

fn silent() -> OnProgress {
    Arc::new(|_| {})
}

async fn pull(puller: &Puller, image: &str, secret: &str, policy: PullPolicy) -> String {
    match puller.pull(image, &keyring(secret), policy, silent()).await {
        Ok(image) => String::from_utf8(fs::read(image.layers[0].join("app")).expect("unpacked"))
            .expect("text"),
        Err(error) => error.to_string(),
    }
}

fn app(text: &str) -> Builder {
    let base = Layer::new().file("base", 0o644, vec![7_u8; 300_000]);
    Builder::new(ImageConfig::default())
        .layer(base)
        .layer(Layer::new().file("app", 0o755, text))
        .compression(Compression::Gzip)
}

const IMAGE: &str = "127.0.0.1:5000/team/app:v1";

#[test]
fn tags_and_digests_are_pulled_as_the_policy_says() {
    with_registry(false, |fixture, registry| async move {
        let first = Digest::of(&registry.push(IMAGE, &app("one")).await);
        let puller = fixture.puller();
        let resolved = puller
            .resolve_digest(IMAGE, &Keyring::default())
            .await
            .expect("resolved");
        assert_eq!(resolved.digest(), Some(&first));
        let never = pull(&puller, IMAGE, "", PullPolicy::Never).await;
        let expected = "is not present with pull policy of Never";
        assert_eq!(never, format!("Container image \"{IMAGE}\" {expected}"));
        assert_eq!(
            pull(&puller, IMAGE, "", PullPolicy::IfNotPresent).await,
            "one"
        );
        registry.push(IMAGE, &app("two")).await;
        assert_eq!(
            pull(&puller, IMAGE, "", PullPolicy::IfNotPresent).await,
            "one"
        );
        assert_eq!(pull(&puller, IMAGE, "", PullPolicy::Always).await, "two");
        let pinned = format!("127.0.0.1:5000/team/app@{first}");
        assert_eq!(
            pull(&puller, &pinned, "", PullPolicy::IfNotPresent).await,
            "one"
        );
        assert!(
            !fixture
                .store
                .list()
                .expect("a list")
                .iter()
                .any(|image| image.loaded)
        );

        let missing = "127.0.0.1:5000/team/other:v1";
        assert_eq!(
            pull(&puller, missing, "", PullPolicy::IfNotPresent).await,
            format!(
                "Failed to pull image \"{missing}\": failed to resolve reference \"{missing}\": \
                 {missing}: not found"
            )
        );
        drop(registry);
        assert_eq!(
            pull(&puller, &pinned, "", PullPolicy::IfNotPresent).await,
            "one"
        );
        let error = pull(&puller, missing, "", PullPolicy::IfNotPresent).await;
        assert!(
            error.contains("failed to do request to 127.0.0.1:5000"),
            "{error}"
        );
        let offline = puller
            .resolve_digest(IMAGE, &Keyring::default())
            .await
            .expect("resolved");
        assert_ne!(offline.digest(), Some(&first), "the one here is the second");
    });
}

#[test]
fn credentials_are_needed_and_found() {
    with_registry(true, |fixture, registry| async move {
        registry.push(IMAGE, &app("private")).await;
        let puller = fixture.puller();
        let denied = format!(
            "Failed to pull image \"{IMAGE}\": failed to resolve reference \"{IMAGE}\": pull \
             access denied for {IMAGE}, repository does not exist or may require authorization"
        );
        assert_eq!(
            pull(&puller, IMAGE, "", PullPolicy::IfNotPresent).await,
            denied
        );
        assert_eq!(
            pull(&puller, IMAGE, WRONG, PullPolicy::IfNotPresent).await,
            denied
        );
        let error = puller
            .resolve_digest(IMAGE, &Keyring::default())
            .await
            .expect_err("denied");
        assert!(
            matches!(
                error,
                Error::Resolve {
                    fault: Fault::Unauthorized,
                    ..
                }
            ),
            "{error}"
        );
        assert!(puller.resolve_digest(IMAGE, &keyring(SECRET)).await.is_ok());
        assert_eq!(
            pull(&puller, IMAGE, SECRET, PullPolicy::IfNotPresent).await,
            "private"
        );
    });
}

#[test]
fn the_nodes_file_gives_credentials_and_mirrors() {
    with_registry(true, |fixture, registry| async move {
        registry
            .push("127.0.0.1:5000/library/app:v1", &app("mirrored"))
            .await;
        let text = "mirrors:\n  docker.io:\n    endpoint: [\"http://127.0.0.1:5000\"]\n\
                    configs:\n  \"127.0.0.1:5000\":\n    \
                    auth: {username: user, password: secret}\n";
        fs::write(fixture.path("registries.yaml"), text).expect("write");
        let puller = fixture.puller();
        assert_eq!(
            pull(&puller, "app:v1", "", PullPolicy::IfNotPresent).await,
            "mirrored"
        );
        assert!(fixture.get("docker.io/library/app:v1").is_some());
    });
}

#[test]
fn an_index_is_pulled_for_this_platform() {
    with_registry(false, |fixture, registry| async move {
        let mut manifests = Vec::new();
        for (tag, architecture) in [("other", "s390x"), ("own", ARCHITECTURE)] {
            let name = format!("127.0.0.1:5000/team/app:{tag}");
            let bytes = registry.push(&name, &app(tag)).await;
            let mut descriptor = store::describe(Digest::of(&bytes), &bytes).expect("a manifest");
            descriptor.platform = Some(manifest::Platform {
                architecture: architecture.to_owned(),
                os: "linux".to_owned(),
                variant: None,
            });
            manifests.push(descriptor);
        }
        let media_type = manifest::OCI_INDEX.to_owned();
        let index = manifest::Index {
            schema_version: 2,
            media_type,
            manifests,
        };
        let index = serde_json::to_vec(&index).expect("json");
        registry
            .push_manifest(IMAGE, index.clone(), manifest::OCI_INDEX)
            .await;
        let puller = fixture.puller();
        assert_eq!(pull(&puller, IMAGE, "", PullPolicy::Always).await, "own");
        let image = fixture.get(IMAGE).expect("is here");
        assert_eq!(
            image.digest,
            Digest::of(&index),
            "the index is what the name stands for"
        );
    });
}

#[test]
fn a_download_is_taken_up_where_it_broke() {
    with_registry(false, |fixture, registry| async move {
        let bytes: Vec<u8> = (0..400_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let image =
            Builder::new(ImageConfig::default()).layer(Layer::new().file("app", 0o644, bytes));
        let manifest = registry.push(IMAGE, &image).await;
        let manifest: manifest::Manifest = serde_json::from_slice(&manifest).expect("a manifest");
        let layer = &manifest.layers[0].digest;
        let stored = fixture.path("registry/docker/registry/v2/blobs/sha256");
        let whole = fs::read(
            stored
                .join(&layer.hex()[..2])
                .join(layer.hex())
                .join("data"),
        );
        let half = whole.expect("the registry's file");
        let part = fixture
            .path("images/ingest")
            .join(format!("part-{}", layer.hex()));
        fs::write(&part, &half[..half.len() / 2]).expect("write");

        let least = Arc::new(Mutex::new(u64::MAX));
        let (heard, layer, half) = (Arc::clone(&least), layer.clone(), half.len() as u64 / 2);
        let progress: OnProgress = Arc::new(move |progress| {
            if let Progress::Blob { digest, bytes, .. } = progress
                && digest == layer
            {
                let mut least = heard.lock().expect("a lock");
                *least = bytes.min(*least);
            }
        });
        let puller = fixture.puller();
        let pulled = puller
            .pull(IMAGE, &Keyring::default(), PullPolicy::Always, progress)
            .await;
        pulled.expect("pulled");
        let least = *least.lock().expect("a lock");
        assert!(least > half && least != u64::MAX, "{least} > {half}");
        assert!(!part.exists());
    });
}

#[test]
fn many_pull_one_image_at_once() {
    with_registry(false, |fixture, registry| async move {
        registry.push(IMAGE, &app("shared")).await;
        let other = "127.0.0.1:5000/team/other:v1";
        registry.push(other, &app("other")).await;
        let puller = fixture.puller();
        let pulls = (0..16).map(|n| {
            let image = if n % 4 == 0 { other } else { IMAGE };
            pull(&puller, image, "", PullPolicy::IfNotPresent)
        });
        let found = futures_util::future::join_all(pulls).await;
        for (n, text) in found.iter().enumerate() {
            assert_eq!(text, if n % 4 == 0 { "other" } else { "shared" });
        }
        assert_eq!(fixture.layer_count(), 3);
    });
}
