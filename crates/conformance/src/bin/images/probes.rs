//! An application whose health can be delayed (`READY_DELAY`, `LISTEN_DELAY`: seconds, as `10s`) and
//! taken away (`/start-failing`).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use super::{serve, texts};

fn delay(variable: &str) -> Option<Duration> {
    let text = std::env::var(variable).ok()?;
    let seconds = text.trim_end_matches('s').parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[derive(Default)]
struct Health {
    sick: AtomicBool,
    asked: AtomicU64,
}

/// The application itself.
pub(crate) async fn serve() {
    let health = Arc::new(Health::default());
    if let Some(delay) = delay("READY_DELAY") {
        health.sick.store(true, Ordering::SeqCst);
        let health = Arc::clone(&health);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            health.sick.store(false, Ordering::SeqCst);
        });
    }
    if let Some(delay) = delay("LISTEN_DELAY") {
        tokio::time::sleep(delay).await;
    }
    if let Ok(port) = std::env::var("HEALTHCHECK_PORT") {
        let port = port.parse().expect("HEALTHCHECK_PORT is a number");
        let health = Arc::clone(&health);
        tokio::spawn(serve::on(port, move |request| {
            let answer = answer(request.uri().path(), "", &health);
            async move { answer }
        }));
    }
    serve::on(serve::port(), move |request| {
        let query = request.uri().query().unwrap_or_default();
        let answer = answer(request.uri().path(), query, &health);
        async move { answer }
    })
    .await;
}

fn answer(path: &str, query: &str, health: &Health) -> serve::Answer {
    let sick = || serve::text(StatusCode::INTERNAL_SERVER_ERROR, "not healthy\n");
    let is_sick = health.sick.load(Ordering::SeqCst);
    match path {
        "/start-failing" => {
            health.sick.store(true, Ordering::SeqCst);
            serve::ok("will now fail readiness")
        }
        "/healthz/readiness" | "/readiness" if is_sick => sick(),
        "/healthz/liveness" | "/liveness" if is_sick => sick(),
        "/healthz/liveness" | "/liveness" => {
            let count = health.asked.fetch_add(1, Ordering::SeqCst) + 1;
            serve::ok(count.to_string())
        }
        "/healthz/livenessCounter" => serve::ok(health.asked.load(Ordering::SeqCst).to_string()),
        "/query" if query != "probe=ok" => {
            serve::text(StatusCode::INTERNAL_SERVER_ERROR, "no query\n")
        }
        _ => serve::ok(texts::HELLO_WORLD),
    }
}

/// `readiness probe`, run inside the container: asks the application next door.
pub(crate) fn exec() -> ExitCode {
    let asked = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", serve::port()))?;
        let request =
            "GET /healthz/readiness HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    match asked() {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => ExitCode::SUCCESS,
        said => {
            println!("{said:?}");
            ExitCode::FAILURE
        }
    }
}
