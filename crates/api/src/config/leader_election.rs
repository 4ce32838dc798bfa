//! `config-leader-election`: leases of the controllers where several run. The rules of
//! knative.dev/pkg/leaderelection.

use std::collections::BTreeMap;

use super::data::{Data, Error, Reader, require};
use crate::gotext::{Nanos, parse_uint};

const SECOND: Nanos = 1_000_000_000;
/// Most shares the work may be cut into.
const BUCKETS_MAX: u64 = 10;

/// The settings of leader election. Spans are nanoseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaderElection {
    /// `buckets`.
    pub buckets: u64,
    /// `lease-duration`.
    pub lease_duration: Nanos,
    /// `renew-deadline`.
    pub renew_deadline: Nanos,
    /// `retry-period`.
    pub retry_period: Nanos,
    /// `map-lease-prefix.*`.
    pub lease_prefixes: BTreeMap<String, String>,
}

impl Default for LeaderElection {
    fn default() -> Self {
        Self {
            buckets: 1,
            lease_duration: 60 * SECOND,
            renew_deadline: 40 * SECOND,
            retry_period: 10 * SECOND,
            lease_prefixes: BTreeMap::new(),
        }
    }
}

impl LeaderElection {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-leader-election";

    /// Reads the ConfigMap's data.
    ///
    /// # Errors
    /// A value that cannot be parsed or is out of bounds, in Knative's words.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let mut config = Self::default();
        let reader = Reader(data);
        for (legacy, key, target) in [
            (
                "leaseDuration",
                "lease-duration",
                &mut config.lease_duration,
            ),
            (
                "renewDeadline",
                "renew-deadline",
                &mut config.renew_deadline,
            ),
            ("retryPeriod", "retry-period", &mut config.retry_period),
        ] {
            reader.duration(legacy, target)?;
            reader.duration(key, target)?;
        }
        reader.parsed("buckets", &mut config.buckets, parse_uint)?;
        config.lease_prefixes = data
            .iter()
            .filter_map(|(key, value)| {
                let name = key.strip_prefix("map-lease-prefix.")?;
                Some((name.to_owned(), value.clone()))
            })
            .collect();
        let buckets = config.buckets;
        require((1..=BUCKETS_MAX).contains(&buckets), || {
            format!("buckets: value must be between 1 <= {buckets} <= {BUCKETS_MAX}")
        })?;
        Ok(config)
    }
}
