//! `config-logging`: how much the components log. The rules of knative.dev/pkg/logging.

use std::collections::BTreeMap;

use super::data::{Data, Error};

const LEVELS: [&str; 7] = ["debug", "info", "warn", "error", "dpanic", "panic", "fatal"];

/// The settings of logging.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Logging {
    /// `zap-logger-config`, JSON.
    pub zap_logger_config: String,
    /// `loglevel.COMPONENT`, lower case.
    pub levels: BTreeMap<String, String>,
}

impl Logging {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-logging";

    /// Reads the ConfigMap's data.
    ///
    /// # Errors
    /// A level that is none.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let mut levels = BTreeMap::new();
        for (key, level) in data {
            let Some(component) = key.strip_prefix("loglevel.").filter(|c| !c.is_empty()) else {
                continue;
            };
            if level.is_empty() {
                continue;
            }
            let lower = level.to_ascii_lowercase();
            if !LEVELS.contains(&lower.as_str()) {
                return Err(Error(format!("invalid logging level: {level}")));
            }
            levels.insert(component.to_owned(), lower);
        }
        let zap_logger_config = data.get("zap-logger-config").cloned().unwrap_or_default();
        Ok(Self {
            zap_logger_config,
            levels,
        })
    }
}
