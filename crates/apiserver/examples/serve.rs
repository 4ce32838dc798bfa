//! The API server alone, for kubectl: `cargo run -p apiserver --example serve -- DIR [PORT]`.
//! Writes `DIR/kubeconfig` and serves until it is interrupted. Every Pod is this process: exec runs
//! commands beside it, port-forward leads to its loopback.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::process::Stdio;
use std::sync::Arc;

use apiserver::{
    ApiServer, Config, ContainerUsage, Duplex, ExecOptions, LogOptions, PodBackend, PodError,
    PodUsage, Process,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).init();
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: serve DIR [PORT]")?;
    let port: u16 = args.next().map_or(Ok(0), |port| port.parse())?;
    let server = ApiServer::open(Config::new(&dir)).await?;
    server.set_pods(Arc::new(Here));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("https://{}", listener.local_addr()?);
    let path = std::path::Path::new(&dir).join("kubeconfig");
    std::fs::write(&path, server.kubeconfig(&url))?;
    println!("export KUBECONFIG={}", path.display());
    let interrupted = async {
        // Without the handler the process ends on the signal all the same.
        drop(tokio::signal::ctrl_c().await);
    };
    server.serve(listener, interrupted).await?;
    Ok(())
}

/// A node whose only machine is the one it runs on.
struct Here;

impl PodBackend for Here {
    fn log<'a>(
        &'a self,
        pod: (&'a str, &'a str),
        options: LogOptions,
    ) -> BoxFuture<'a, Result<BoxStream<'static, std::io::Result<Bytes>>, PodError>> {
        let line = format!("{}/{} {options:?}\n", pod.0, pod.1);
        Box::pin(async { Ok(stream::iter([Ok(Bytes::from(line))]).boxed()) })
    }

    fn exec<'a>(
        &'a self,
        _pod: (&'a str, &'a str),
        options: ExecOptions,
    ) -> BoxFuture<'a, Result<Process, PodError>> {
        Box::pin(async move { run(&options) })
    }

    fn attach<'a>(
        &'a self,
        _pod: (&'a str, &'a str),
        options: ExecOptions,
    ) -> BoxFuture<'a, Result<Process, PodError>> {
        let options = ExecOptions {
            command: vec!["cat".to_owned()],
            ..options
        };
        Box::pin(async move { run(&options) })
    }

    fn port_forward<'a>(
        &'a self,
        _pod: (&'a str, &'a str),
        port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Duplex>, PodError>> {
        Box::pin(async move {
            match tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
                Ok(stream) => Ok(Box::new(stream) as Box<dyn Duplex>),
                Err(error) => Err(failed(&error)),
            }
        })
    }

    fn usage(&self) -> BoxFuture<'_, Vec<PodUsage>> {
        let container = ContainerUsage {
            name: "c".to_owned(),
            cpu_nanocores: 12_000_000,
            memory_bytes: 30 << 20,
        };
        let pod = PodUsage {
            namespace: "default".to_owned(),
            name: "p".to_owned(),
            window: std::time::Duration::from_secs(1),
            containers: vec![container],
        };
        Box::pin(std::future::ready(vec![pod]))
    }
}

fn failed(error: &std::io::Error) -> PodError {
    PodError {
        code: 500,
        message: error.to_string(),
    }
}

fn run(options: &ExecOptions) -> Result<Process, PodError> {
    let (program, args) = options.command.split_first().ok_or_else(|| PodError {
        code: 400,
        message: "no command".to_owned(),
    })?;
    let mut child = tokio::process::Command::new(program)
        .args(args)
        .stdin(if options.stdin {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (exited, exit) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let status = child.wait().await;
        let code = status.map(|status| status.code().unwrap_or(-1));
        drop(exited.send(code.map_err(|error| error.to_string())));
    });
    Ok(Process {
        stdin: stdin.map(|stdin| Box::pin(stdin) as _),
        stdout: stdout.map(|stdout| Box::pin(stdout) as _),
        stderr: stderr.map(|stderr| Box::pin(stderr) as _),
        resize: None,
        exit,
    })
}
