//! The limits of one container and how each version of the interface spells them.

use serde::{Deserialize, Serialize};

use super::Version;

/// The period of the CPU quota, microseconds (the kubelet's default).
const CPU_PERIOD_US: u64 = 100_000;

/// What a container may use; `None` is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// CPU request in thousandths of a core; decides the share under contention.
    pub cpu_request_milli: Option<u64>,
    /// CPU limit in thousandths of a core.
    pub cpu_limit_milli: Option<u64>,
    /// Memory limit in bytes.
    pub memory_bytes: Option<u64>,
    /// The most processes and threads.
    pub pids: Option<u64>,
}

impl Limits {
    /// Version 1 shares, from 1,024 per core, never under the kernel's minimum.
    fn shares(milli: u64) -> u64 {
        (milli * 1024 / 1000).clamp(2, 262_144)
    }

    /// Version 2 weight for the same request: the formula of KEP-2254.
    fn weight(milli: u64) -> u64 {
        1 + ((Self::shares(milli) - 2) * 9999) / 262_142
    }

    /// The quota of one period, microseconds; the kernel takes no less than a millisecond.
    fn quota_us(milli: u64) -> u64 {
        (milli * CPU_PERIOD_US / 1000).max(1000)
    }

    /// The interface files to write and their values, in order.
    pub(super) fn files(&self, version: Version) -> Vec<(&'static str, String)> {
        let mut files = Vec::new();
        let v2 = version == Version::V2;
        if let Some(milli) = self.cpu_request_milli {
            files.push(match v2 {
                true => ("cpu.weight", Self::weight(milli).to_string()),
                false => ("cpu.shares", Self::shares(milli).to_string()),
            });
        }
        if let Some(milli) = self.cpu_limit_milli {
            let quota = Self::quota_us(milli);
            files.push(match v2 {
                true => ("cpu.max", format!("{quota} {CPU_PERIOD_US}")),
                false => ("cpu.cfs_quota_us", quota.to_string()),
            });
        }
        if let Some(bytes) = self.memory_bytes {
            let file = if v2 {
                "memory.max"
            } else {
                "memory.limit_in_bytes"
            };
            files.push((file, bytes.to_string()));
        }
        if let Some(pids) = self.pids {
            files.push(("pids.max", pids.to_string()));
        }
        files
    }
}
