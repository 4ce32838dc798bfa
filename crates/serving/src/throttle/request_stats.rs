//! Requests in flight averaged by time, and requests counted, between two reports (networking
//! `pkg/http/stats/request.go`). Driven by `gateway`, which stamps the time.

use stdx::Instant;

/// What happened between two reports.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct RequestReport {
    /// Requests in flight, averaged by time.
    pub average_concurrency: f64,
    /// The part that came through an activator.
    pub average_proxied_concurrency: f64,
    /// Requests that arrived.
    pub request_count: f64,
    /// The part that came through an activator.
    pub proxied_count: f64,
}

impl RequestReport {
    /// Nothing ran and nothing arrived.
    pub fn is_idle(&self) -> bool {
        self.average_concurrency == 0.0 && self.request_count == 0.0
    }
}

/// The running sums.
#[derive(Clone, Debug, Default)]
pub struct RequestStats {
    concurrency: u32,
    proxied_concurrency: u32,
    /// Seconds times requests since the last report.
    area: f64,
    proxied_area: f64,
    count: u64,
    proxied_count: u64,
    changed_at: Instant,
    reported_at: Instant,
}

impl RequestStats {
    /// Sums that start at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            changed_at: now,
            reported_at: now,
            ..Self::default()
        }
    }

    /// A request came in; `proxied` when it came through an activator.
    pub fn start(&mut self, now: Instant, proxied: bool) {
        self.advance(now);
        self.concurrency += 1;
        self.count += 1;
        if proxied {
            self.proxied_concurrency += 1;
            self.proxied_count += 1;
        }
    }

    /// A request that was started with the same `proxied` is over.
    pub fn end(&mut self, now: Instant, proxied: bool) {
        self.advance(now);
        self.concurrency = self.concurrency.saturating_sub(1);
        if proxied {
            self.proxied_concurrency = self.proxied_concurrency.saturating_sub(1);
        }
    }

    /// Requests running at this moment.
    pub const fn concurrency(&self) -> u32 {
        self.concurrency
    }

    /// The averages since the last report, and a fresh start. A report over no time at all has
    /// the momentary concurrency for its average.
    pub fn report(&mut self, now: Instant) -> RequestReport {
        self.advance(now);
        let seconds = now.saturating_since(self.reported_at).as_secs_f64();
        let average = |area: f64, momentary: u32| {
            if seconds > 0.0 {
                area / seconds
            } else {
                f64::from(momentary)
            }
        };
        let report = RequestReport {
            average_concurrency: average(self.area, self.concurrency),
            average_proxied_concurrency: average(self.proxied_area, self.proxied_concurrency),
            request_count: self.count as f64,
            proxied_count: self.proxied_count as f64,
        };
        (self.area, self.proxied_area) = (0.0, 0.0);
        (self.count, self.proxied_count) = (0, 0);
        self.reported_at = now;
        report
    }

    /// What the report of this second will come to if nothing more happens in it.
    pub fn so_far(&self, now: Instant) -> RequestReport {
        let mut here = self.clone();
        here.advance(now);
        RequestReport {
            average_concurrency: here.area,
            average_proxied_concurrency: here.proxied_area,
            request_count: here.count as f64,
            proxied_count: here.proxied_count as f64,
        }
    }

    fn advance(&mut self, now: Instant) {
        let seconds = now.saturating_since(self.changed_at).as_secs_f64();
        self.area += seconds * f64::from(self.concurrency);
        self.proxied_area += seconds * f64::from(self.proxied_concurrency);
        self.changed_at = self.changed_at.max(now);
    }
}
