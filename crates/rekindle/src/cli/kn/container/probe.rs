//! The grammar of `--probe-liveness` and `--probe-readiness`, and of their options.

use anyhow::{Context, Result, bail};
use api::probe::{HANDLERS, TIMES};
use serde_json::{Value, json};

/// Writes a probe and its options into a field of a container.
pub(super) fn set(field: &mut Value, probe: Option<&str>, options: Option<&str>) -> Result<()> {
    if let Some(probe) = probe {
        let (name, handler) = handler(probe)?;
        if let Some(fields) = field.as_object_mut() {
            fields.retain(|name, _| !HANDLERS.contains(&name.as_str()));
        }
        field[name] = handler;
    }
    for option in options.into_iter().flat_map(|options| options.split(',')) {
        let parsed = option.split_once('=').and_then(|(name, value)| {
            let name = TIMES
                .iter()
                .find(|known| known.eq_ignore_ascii_case(name))?;
            Some((*name, value.parse::<u32>().ok()?))
        });
        let (name, value) = parsed.with_context(|| {
            let known = TIMES.join(", ");
            format!("{option:?} is no option of a probe: NAME=NUMBER, where NAME is one of {known}")
        })?;
        field[name] = json!(value);
    }
    Ok(())
}

fn handler(probe: &str) -> Result<(&'static str, Value)> {
    let (kind, rest) = probe.split_once(':').unwrap_or((probe, ""));
    let parts: Vec<&str> = rest.split(':').collect();
    let made = match (kind.to_ascii_lowercase().as_str(), &parts[..]) {
        (scheme @ ("http" | "https"), [host, port, path]) => {
            let mut get = at(host, port);
            get["path"] = json!(path);
            if scheme == "https" {
                get["scheme"] = json!("HTTPS");
            }
            ("httpGet", get)
        }
        ("tcp", [host, port]) => ("tcpSocket", at(host, port)),
        ("exec", _) if !rest.is_empty() => {
            let command: Vec<&str> = rest.split(',').collect();
            ("exec", json!({"command": command}))
        }
        _ => bail!(
            "{probe:?} is no probe: http:HOST:PORT:PATH, https:HOST:PORT:PATH, tcp:HOST:PORT or \
             exec:WORD,WORD; HOST and PORT may be empty"
        ),
    };
    Ok(made)
}

/// Host and port, a number or a name; what is empty is left to the server.
fn at(host: &str, port: &str) -> Value {
    let mut place = json!({});
    if !host.is_empty() {
        place["host"] = json!(host);
    }
    match port.parse::<u16>() {
        Ok(port) => place["port"] = json!(port),
        Err(_) if port.is_empty() => {}
        Err(_) => place["port"] = json!(port),
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_and_their_options() {
        for (probe, expected) in [
            (
                "http::8080:/ok",
                json!({"httpGet": {"port": 8080, "path": "/ok"}}),
            ),
            (
                "https:host:web:/",
                json!({"httpGet": {"host": "host", "port": "web", "path": "/", "scheme": "HTTPS"}}),
            ),
            ("tcp::", json!({"tcpSocket": {}})),
            ("exec:cat,/ok", json!({"exec": {"command": ["cat", "/ok"]}})),
        ] {
            let mut field = json!({"grpc": {}});
            set(&mut field, Some(probe), None).unwrap();
            assert_eq!(field, expected, "{probe}");
        }
        let mut field = json!({"tcpSocket": {}});
        set(&mut field, None, Some("periodseconds=3,FailureThreshold=2")).unwrap();
        let expected = json!({"tcpSocket": {}, "periodSeconds": 3, "failureThreshold": 2});
        assert_eq!(field, expected);
        for bad in ["http:8080", "udp::1", "exec:"] {
            assert!(set(&mut field, Some(bad), None).is_err(), "{bad}");
        }
        for bad in ["Period=1", "PeriodSeconds=x", "PeriodSeconds"] {
            assert!(set(&mut field, None, Some(bad)).is_err(), "{bad}");
        }
    }
}
