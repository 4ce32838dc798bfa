//! `config-ping-defaults`: how much data a PingSource may carry. The rules of Knative's
//! `pkg/apis/sources/config`.

use crate::config::data::{Data, Error, Reader};

/// The settings of PingSources.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ping {
    /// `data-max-size`, bytes; below zero there is no limit.
    pub data_max: i64,
}

impl Default for Ping {
    fn default() -> Self {
        Self { data_max: -1 }
    }
}

impl Ping {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-ping-defaults";

    /// Reads the ConfigMap's data.
    ///
    /// # Errors
    /// A value that is no number.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let mut config = Self::default();
        let reader = Reader(data);
        reader.int("dataMaxSize", &mut config.data_max)?;
        reader.int("data-max-size", &mut config.data_max)?;
        Ok(config)
    }
}
