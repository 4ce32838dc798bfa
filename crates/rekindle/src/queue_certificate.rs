//! The certificate of a queue-proxy (`system-internal-tls`): read from the volume its container
//! mounts, as Knative's own reads it, and again when the Secret behind it has changed. Called by
//! `builtins` for each queue-proxy it starts.

use std::time::Duration;

use ::api::certificate::{CERTIFICATE, KEY};
use ::api::networking::SERVING_CERTIFICATE_PATH;
use ::api::route::Identity;
use gateway::OneCertificate;
use k8s_openapi::api::core::v1::Container;
use node::Files;
use node::logs::{LogSink, Stream};

/// How often it is looked whether the files have changed.
const PERIOD: Duration = Duration::from_secs(5);
/// More than that is no certificate (bytes).
const BYTES_MAX: u64 = 1 << 20;
/// Knative's own word for it, which people look for.
const RELOADED: &str = "Certificate and/or key have changed on disk and were reloaded.";

/// Whether the container has a certificate, and so a TLS port.
pub(crate) fn is_mounted(container: &Container) -> bool {
    let mut mounts = container.volume_mounts.iter().flatten();
    mounts.any(|mount| mount.mount_path == SERVING_CERTIFICATE_PATH)
}

/// Keeps a certificate up to date while it lives.
pub(crate) struct Following(tokio::task::JoinHandle<()>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The certificate as it is in the files, and what keeps it so. On the runtime of the caller.
pub(crate) fn follow(files: Files, log: LogSink) -> (OneCertificate, Following) {
    let shown = OneCertificate::default();
    let mut known = read(&files).ok();
    if let Some(identity) = &known {
        shown.set(Some(identity));
        log.line(Stream::Stdout, RELOADED);
    }
    let target = shown.clone();
    let task = tokio::spawn(async move {
        let mut failing = false;
        loop {
            tokio::time::sleep(PERIOD).await;
            match read(&files) {
                Ok(identity) if known.as_ref() != Some(&identity) => {
                    target.set(Some(&identity));
                    log.line(Stream::Stdout, RELOADED);
                    known = Some(identity);
                    failing = false;
                }
                Ok(_) => failing = false,
                Err(error) => {
                    if !failing {
                        let text = format!("failed to load the certificate: {error}");
                        log.line(Stream::Stderr, &text);
                    }
                    failing = true;
                }
            }
        }
    });
    (shown, Following(task))
}

fn read(files: &Files) -> std::io::Result<Identity> {
    let text = |name: &str| {
        let bytes = files.read(&format!("{SERVING_CERTIFICATE_PATH}/{name}"), BYTES_MAX)?;
        String::from_utf8(bytes).map_err(std::io::Error::other)
    };
    Ok(Identity {
        certificate: text(CERTIFICATE)?.into(),
        key: text(KEY)?.into(),
    })
}
