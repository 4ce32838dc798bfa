//! Making room: images nobody uses go when the disk is nearly full, the longest unused first.
//!
//! The thresholds are the kubelet's. Images brought by hand never go by themselves: nobody could
//! pull them again.

use std::time::Duration;

use super::digest::Digest;
use super::error::Error;
use super::store::ImageStore;

/// When to make room and how much (`imageGCHighThresholdPercent` and its like).
#[derive(Clone, Copy, Debug)]
pub struct GcPolicy {
    /// Nothing is done below this use of the disk, in percent.
    pub high_percent: u8,
    /// Down to which use of the disk images are removed, in percent.
    pub low_percent: u8,
    /// Images used within this time stay.
    pub age_min: Duration,
}

impl Default for GcPolicy {
    fn default() -> Self {
        Self {
            high_percent: 85,
            low_percent: 80,
            age_min: Duration::from_secs(120),
        }
    }
}

/// How often the kubelet looks (`ImageGCPeriod`).
pub const GC_PERIOD: Duration = Duration::from_secs(300);

/// Makes room in the store now and then, for as long as the task lives.
pub async fn collect(store: ImageStore, policy: GcPolicy, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        let store = store.clone();
        match tokio::task::spawn_blocking(move || store.gc(policy)).await {
            Ok(Ok(removed)) if removed.is_empty() => {}
            Ok(Ok(removed)) => tracing::info!(?removed, "images nobody uses went to make room"),
            Ok(Err(error)) => tracing::warn!(%error, "no room could be made for images"),
            Err(error) => tracing::warn!(%error, "making room for images ended early"),
        }
    }
}

impl ImageStore {
    /// Removes unused images if the disk is too full; returns the names that went. Blocks for as
    /// long as the removal of their files takes.
    pub fn gc(&self, policy: GcPolicy) -> Result<Vec<String>, Error> {
        self.gc_by(policy, || {
            let disk = rustix::fs::statvfs(self.root())
                .map_err(|error| Error::file("look at", self.root())(error.into()))?;
            let used = disk.f_blocks.saturating_sub(disk.f_bavail);
            Ok(u8::try_from(used * 100 / disk.f_blocks.max(1)).unwrap_or(100))
        })
    }

    /// `used_percent` measures the disk.
    pub(super) fn gc_by(
        &self,
        policy: GcPolicy,
        used_percent: impl Fn() -> Result<u8, Error>,
    ) -> Result<Vec<String>, Error> {
        let mut removed = Vec::new();
        if used_percent()? < policy.high_percent {
            return Ok(removed);
        }
        // What builds have left can be made again.
        if self.trim_cache(0, policy.age_min) > 0 {
            self.prune()?;
            self.drop_cache_mounts()?;
            if used_percent()? <= policy.low_percent {
                return Ok(removed);
            }
        }
        for target in self.unused(policy.age_min)? {
            removed.extend(self.forget(&target)?);
            self.prune()?;
            if used_percent()? <= policy.low_percent {
                return Ok(removed);
            }
        }
        tracing::warn!(
            removed = removed.len(),
            "the disk stays full: all other images are in use"
        );
        Ok(removed)
    }

    /// Targets with names that may go, the longest unused first.
    fn unused(&self, age_min: Duration) -> Result<Vec<Digest>, Error> {
        let in_use = self.in_use();
        let names = self.names()?;
        let mut found: Vec<(Duration, Digest)> = Vec::new();
        for named in names.values() {
            let digest = &named.target.digest;
            let loaded = names
                .values()
                .any(|n| n.loaded && n.target.digest == *digest);
            let idle = self.idle(digest);
            let known = found.iter().any(|(_, other)| other == digest);
            if !loaded && !known && !in_use.contains(digest) && idle >= age_min {
                found.push((idle, digest.clone()));
            }
        }
        found.sort_by(|one, other| other.cmp(one));
        Ok(found.into_iter().map(|(_, digest)| digest).collect())
    }
}
