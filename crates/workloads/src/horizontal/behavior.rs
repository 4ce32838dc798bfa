//! How fast a HorizontalPodAutoscaler may follow its metrics: stabilisation windows and scaling
//! policies of `spec.behavior`, with Kubernetes' defaults.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;
use stdx::Instant;

/// The default time a lower recommendation must last.
const SCALE_DOWN_WINDOW: Duration = Duration::from_secs(300);
/// The period the default policies are about.
const PERIOD: Duration = Duration::from_secs(15);
/// The longest window and period that Kubernetes admits: what is older is forgotten.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// `spec.behavior`.
pub(super) struct Behavior {
    up: Rules,
    down: Rules,
}

struct Rules {
    window: Duration,
    select: Select,
    policies: Vec<Policy>,
}

#[derive(Clone, Copy, PartialEq)]
enum Select {
    /// The policy that allows the most change.
    Max,
    /// The policy that allows the least.
    Min,
    Disabled,
}

struct Policy {
    amount: Amount,
    period: Duration,
}

#[derive(Clone, Copy)]
enum Amount {
    Pods(i32),
    Percent(i32),
}

impl Behavior {
    pub(super) fn of(object: &Value) -> Self {
        let behavior = &object["spec"]["behavior"];
        let each = |amount| Policy {
            amount,
            period: PERIOD,
        };
        let up = vec![each(Amount::Pods(4)), each(Amount::Percent(100))];
        let down = vec![each(Amount::Percent(100))];
        Self {
            up: Rules::of(&behavior["scaleUp"], Duration::ZERO, up),
            down: Rules::of(&behavior["scaleDown"], SCALE_DOWN_WINDOW, down),
        }
    }
}

impl Rules {
    fn of(rules: &Value, window: Duration, policies: Vec<Policy>) -> Self {
        let seconds = |value: &Value| value.as_u64().map(Duration::from_secs);
        let given = rules["policies"].as_array().filter(|all| !all.is_empty());
        let policy = |policy: &Value| {
            let value = i32::try_from(policy["value"].as_i64()?).ok()?;
            let amount = match policy["type"].as_str()? {
                "Pods" => Amount::Pods(value),
                "Percent" => Amount::Percent(value),
                _ => return None,
            };
            let period = seconds(&policy["periodSeconds"])?;
            Some(Policy { amount, period })
        };
        Self {
            window: seconds(&rules["stabilizationWindowSeconds"]).unwrap_or(window),
            select: match rules["selectPolicy"].as_str() {
                Some("Min") => Select::Min,
                Some("Disabled") => Select::Disabled,
                _ => Select::Max,
            },
            policies: given.map_or(policies, |all| all.iter().filter_map(policy).collect()),
        }
    }
}

/// What was recommended and done lately.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// Recommendations, oldest first.
    recommended: VecDeque<(Instant, i32)>,
    /// Replicas added (positive) and removed (negative), oldest first.
    changes: VecDeque<(Instant, i32)>,
}

impl History {
    /// Remembers that replicas were added or removed.
    pub(super) fn changed(&mut self, now: Instant, difference: i32) {
        forget(&mut self.changes, now);
        self.changes.push_back((now, difference));
    }

    /// The recommendation with the swings of the last windows taken out: up no further than all
    /// recommendations of the window agree on, down no further than any of them.
    pub(super) fn stabilized(
        &mut self,
        now: Instant,
        behavior: &Behavior,
        current: i32,
        proposed: i32,
    ) -> i32 {
        forget(&mut self.recommended, now);
        let within = |window: Duration| {
            let recent = self.recommended.iter();
            let recent = recent.filter(move |(at, _)| now - *at < window);
            recent.map(|(_, value)| *value).chain([proposed])
        };
        let up = within(behavior.up.window).min().unwrap_or(proposed);
        let down = within(behavior.down.window).max().unwrap_or(proposed);
        self.recommended.push_back((now, proposed));
        current.max(up).min(down)
    }

    /// The recommendation as far as the policies let it be followed at once.
    pub(super) fn rate_limited(
        &self,
        now: Instant,
        behavior: &Behavior,
        current: i32,
        stable: i32,
    ) -> i32 {
        if stable > current {
            let limit = self.limit(now, &behavior.up, current, 1);
            return stable.min(limit.max(current));
        }
        if stable < current {
            let limit = self.limit(now, &behavior.down, current, -1);
            return stable.max(limit.min(current));
        }
        stable
    }

    /// How far the policies of one direction (1 or -1) let the size go from where their periods
    /// began.
    fn limit(&self, now: Instant, rules: &Rules, current: i32, direction: i32) -> i32 {
        if rules.select == Select::Disabled {
            return current;
        }
        let limits = rules.policies.iter().map(|policy| {
            let recent = self.changes.iter();
            let recent = recent.filter(|(at, _)| now - *at < policy.period);
            let start = recent.fold(current, |size, (_, change)| size.saturating_sub(*change));
            match policy.amount {
                Amount::Pods(pods) => start.saturating_add(direction.saturating_mul(pods)),
                Amount::Percent(percent) => part(start, 100 + direction * percent, direction > 0),
            }
        });
        let farthest = (direction > 0) == (rules.select == Select::Max);
        let limit = match farthest {
            true => limits.max(),
            false => limits.min(),
        };
        limit.unwrap_or(current)
    }
}

/// `percent` of `size`, rounded up when growing and down when shrinking.
fn part(size: i32, percent: i32, up: bool) -> i32 {
    let hundredths = i64::from(size) * i64::from(percent.max(0));
    let rest = if up { 99 } else { 0 };
    i32::try_from((hundredths + rest) / 100).unwrap_or(i32::MAX)
}

fn forget(past: &mut VecDeque<(Instant, i32)>, now: Instant) {
    past.retain(|(at, _)| now - *at < REMEMBERED);
}
