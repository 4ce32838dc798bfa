//! The applications the conformance tests run: one binary under many names, as Knative's test images
//! are many binaries of one shape. The name it is started by (`/ko-app/NAME`) says which it is.
//!
//! They listen on `$PORT` or 8080, speak HTTP/1.1 and HTTP/2 with prior knowledge, and end on
//! SIGTERM after what is under way.

#![allow(clippy::print_stdout)] // What an application says is its log.

mod grpc;
mod load;
mod probes;
mod proxy;
mod serve;
mod snapshot;
mod texts;
mod websocket;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let name = std::env::args().next().unwrap_or_default();
    let name = Path::new(&name).file_name().unwrap_or_default();
    match name.to_str().unwrap_or_default() {
        "failing" => failing(),
        "readiness" if std::env::args().nth(1).as_deref() == Some("probe") => probes::exec(),
        name => run(name),
    }
}

/// Ends by itself, with a word on why.
fn failing() -> ExitCode {
    println!("Crashed...");
    ExitCode::from(5)
}

fn run(name: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads can be started");
    runtime.block_on(async {
        match name {
            "helloworld" | "helloworld-userport" => serve::always(texts::HELLO_WORLD).await,
            "hellohttp2" => serve::http2_only(texts::HELLO_HTTP2).await,
            "pizzaplanetv1" => serve::always(texts::PIZZA_PLANET_1).await,
            "pizzaplanetv2" => serve::always(texts::PIZZA_PLANET_2).await,
            "sidecarcontainer" => serve::always_on(8882, texts::SIDECAR).await,
            "servingcontainer" => proxy::to_sidecar().await,
            "httpproxy" => proxy::to_target().await,
            "runtime" => snapshot::serve().await,
            "envvars" | "workingdir" => snapshot::serve().await,
            "hellovolume" => texts::volume().await,
            "emptydir" | "volumes" => texts::empty_dir().await,
            "timeout" => load::timeout().await,
            "autoscale" => load::autoscale().await,
            "singlethreaded" => load::single_threaded().await,
            "readiness" => probes::serve().await,
            "healthprobes" => grpc::health().await,
            "grpc-ping" => grpc::ping().await,
            "wsserver" | "wsserver-hostname" => websocket::serve(name == "wsserver-hostname").await,
            _ => {
                println!("there is no test application {name:?}");
                return ExitCode::FAILURE;
            }
        }
        ExitCode::SUCCESS
    })
}
