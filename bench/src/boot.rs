//! The boot of an image's application without any platform: from the start of its process in the
//! image's files to the first byte of its answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use system::Image;
use tempfile::TempDir;

/// Longest wait for an answer.
const BOOT_MAX: Duration = Duration::from_secs(30);
/// Between two attempts to connect: as often as queue-proxy tries.
const PAUSE: Duration = Duration::from_micros(250);

/// The files of an image, unpacked.
pub(crate) struct Directory {
    root: TempDir,
    entrypoint: Vec<String>,
}

/// A process, ended with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Directory {
    /// Unpacks `image`.
    pub(crate) fn of(image: &Image) -> Result<Self> {
        let root = tempfile::tempdir()?;
        if let Some(base) = &image.base {
            let mut layer = tar::Archive::new(fs::File::open(base)?);
            layer.set_preserve_permissions(true);
            layer.unpack(root.path()).context("unpack the base")?;
        }
        for (path, mode, content) in &image.files {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().context("a file in a directory")?)?;
            fs::write(&file, content)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(*mode))?;
        }
        let entrypoint = image.entrypoint.clone();
        Ok(Self { root, entrypoint })
    }

    /// Starts the application and waits for its answer.
    pub(crate) fn boot(&self) -> Result<Duration> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new("chroot");
        command
            .arg(self.root.path())
            .args(&self.entrypoint)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("PORT", address.port().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let start = Instant::now();
        let _running = Running(command.spawn().context("run chroot")?);
        loop {
            match first_byte(address) {
                Ok(()) => return Ok(start.elapsed()),
                Err(error) if start.elapsed() > BOOT_MAX => {
                    return Err(error).context("the application does not answer");
                }
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }
}

fn first_byte(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    ensure!(start.ends_with(b" 200"), "not a 200: {start:?}");
    Ok(())
}
