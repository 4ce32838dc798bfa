//! Applications that answer a fixed text, or what lies in a volume.

use super::serve;
use std::path::PathBuf;

use http::StatusCode;

pub(crate) const HELLO_WORLD: &str = "Hello World! How about some tasty noodles?";
pub(crate) const HELLO_HTTP2: &str = "Hello, New World! How about donuts and coffee?";
pub(crate) const PIZZA_PLANET_1: &str = "What a spaceport!";
pub(crate) const PIZZA_PLANET_2: &str = "Re-energize yourself with a slice of pepperoni!";
pub(crate) const SIDECAR: &str = "Yay!! multi-container works";
const EMPTY_DIR: &str = "From file in empty dir!";

/// The content of `$VOLUME_PATH` (a file or the only file of a directory), read at each request.
pub(crate) async fn volume() {
    let path = std::env::var("VOLUME_PATH").unwrap_or_else(|_| "/hello".to_owned());
    serve::on(serve::port(), move |request| {
        let asked = request.uri().path().trim_start_matches('/').to_owned();
        let path = PathBuf::from(&path).join(asked);
        async move {
            match std::fs::read(&path) {
                Ok(content) => serve::ok(content),
                Err(error) => {
                    let said = format!("{}: {error}\n", path.display());
                    serve::text(StatusCode::NOT_FOUND, said)
                }
            }
        }
    })
    .await;
}

/// Writes a file below `$DATA_PATH` (`/data`) and answers what it reads back, unless there is one.
pub(crate) async fn empty_dir() {
    let data = std::env::var("DATA_PATH").unwrap_or_else(|_| "/data".to_owned());
    let file = PathBuf::from(data).join("testfile");
    let skip = std::env::var("SKIP_DATA_WRITE").is_ok();
    if !skip && let Err(error) = std::fs::write(&file, EMPTY_DIR) {
        println!("write {}: {error}", file.display());
    }
    // As an init container it is done.
    if std::env::var("SKIP_DATA_SERVE").is_ok() {
        return;
    }
    serve::on(serve::port(), move |_| {
        let read = std::fs::read(&file);
        async move {
            match read {
                Ok(content) => serve::ok(content),
                Err(error) => serve::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            }
        }
    })
    .await;
}
