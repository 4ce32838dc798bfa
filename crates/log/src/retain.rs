//! What may be dropped: pure decisions over the facts of segments. `log.rs` acts on them.

/// How long records are kept. The default keeps what some consumer has not passed, and nothing
/// else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Passed records no older than this stay for replay, in milliseconds.
    pub passed_ms: u64,
    /// Passed records stay for replay while the log is no larger than this, in bytes.
    /// A segment goes when both limits let it go.
    pub passed_bytes: u64,
    /// Records older than this go even if a consumer has not passed them.
    pub age_ms_max: Option<u64>,
    /// The oldest records go, passed or not, while the log is larger than this, in bytes.
    pub bytes_max: Option<u64>,
}

/// One segment as retention sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The offset behind its last record.
    pub(crate) end: u64,
    /// The arrival of its last record.
    pub(crate) last_ms: u64,
    pub(crate) bytes: u64,
}

/// How many of the oldest of `segments` (rising, the one being written last) may go, when every
/// consumer has passed everything in front of `passed`.
pub(crate) fn droppable(
    segments: &[Facts],
    passed: u64,
    now_ms: u64,
    retention: &Retention,
) -> usize {
    let mut bytes: u64 = segments.iter().map(|s| s.bytes).sum();
    let mut count = 0;
    for segment in segments {
        let age_ms = now_ms.saturating_sub(segment.last_ms);
        let replayable = age_ms <= retention.passed_ms && retention.passed_ms > 0
            || bytes <= retention.passed_bytes;
        let expired = retention.age_ms_max.is_some_and(|max| age_ms > max)
            || retention.bytes_max.is_some_and(|max| bytes > max);
        if !(expired || segment.end <= passed && !replayable) {
            break;
        }
        bytes -= segment.bytes;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three segments of 10 records and 100 bytes each, the last records at 1 s, 2 s and 3 s.
    fn check(passed: u64, now_ms: u64, retention: Retention, want: usize) {
        let segments = [(10, 1_000), (20, 2_000), (30, 3_000)].map(|(end, last_ms)| Facts {
            end,
            last_ms,
            bytes: 100,
        });
        let got = droppable(&segments, passed, now_ms, &retention);
        assert_eq!(
            got, want,
            "passed {passed} at {now_ms} ms with {retention:?}"
        );
    }

    #[test]
    fn whole_segments_go_when_all_have_passed_them() {
        let none = Retention::default();
        for (passed, want) in [(0, 0), (9, 0), (10, 1), (19, 1), (25, 2), (30, 3)] {
            check(passed, 3_000, none, want);
        }
    }

    #[test]
    fn passed_records_stay_for_replay() {
        let for_ms = |passed_ms| Retention {
            passed_ms,
            ..Retention::default()
        };
        check(30, 3_500, for_ms(2_000), 1);
        check(30, 3_500, for_ms(10_000), 0);
        check(30, 9_000, for_ms(2_000), 3);
        let for_bytes = |passed_bytes| Retention {
            passed_bytes,
            ..Retention::default()
        };
        check(30, 9_000, for_bytes(200), 1);
        check(30, 9_000, for_bytes(300), 0);
        check(30, 9_000, for_bytes(50), 3);
    }

    #[test]
    fn limits_take_what_nobody_has_passed() {
        let age = Retention {
            age_ms_max: Some(1_500),
            ..Retention::default()
        };
        check(0, 2_500, age, 0);
        check(0, 3_000, age, 1);
        let size = Retention {
            bytes_max: Some(150),
            ..Retention::default()
        };
        check(0, 3_000, size, 2);
    }
}
