//! Conditions as Knative's `ConditionSet` manages them: one happy condition (`Ready`) that follows
//! the ones it depends on. Used by every plan that writes a status.

use jiff::Timestamp;
use serde_json::{Value, json};

/// `status` of a condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold and will not by itself.
    False,
    /// It is not known yet.
    Unknown,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

/// One entry of `status.conditions`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// Its type, for example `Ready`.
    pub kind: String,
    /// Whether it holds.
    pub status: Status,
    /// CamelCase; empty is left out.
    pub reason: String,
    /// For people; empty is left out.
    pub message: String,
    /// `Info` for conditions `Ready` does not depend on; empty otherwise.
    pub severity: String,
    /// RFC 3339 in whole seconds: when the other fields last changed.
    pub since: String,
}

impl Condition {
    fn parse(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Self {
            kind: text("type"),
            status: Status::parse(value["status"].as_str().unwrap_or_default()),
            reason: text("reason"),
            message: text("message"),
            severity: text("severity"),
            since: text("lastTransitionTime"),
        }
    }

    fn render(&self) -> Value {
        let mut value = json!({
            "type": self.kind,
            "status": self.status.as_str(),
            "lastTransitionTime": self.since,
        });
        for (key, text) in [
            ("reason", &self.reason),
            ("message", &self.message),
            ("severity", &self.severity),
        ] {
            if !text.is_empty() {
                value[key] = json!(text);
            }
        }
        value
    }

    /// Equal apart from the time.
    fn says_the_same(&self, other: &Self) -> bool {
        self.status == other.status
            && self.reason == other.reason
            && self.message == other.message
            && self.severity == other.severity
    }

    /// Whether it holds.
    pub fn is_true(&self) -> bool {
        self.status == Status::True
    }

    /// Whether it does not hold.
    pub fn is_false(&self) -> bool {
        self.status == Status::False
    }

    /// Whether that is open.
    pub fn is_unknown(&self) -> bool {
        self.status == Status::Unknown
    }
}

/// Reads one condition off an object.
pub fn get(object: &Value, kind: &str) -> Option<Condition> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)
        .map(Condition::parse)
}

/// Whether condition `kind` of the object is `True`.
pub fn is_true(object: &Value, kind: &str) -> bool {
    status(object, kind) == Some("True")
}

/// Whether condition `kind` of the object is `False`.
pub fn is_false(object: &Value, kind: &str) -> bool {
    status(object, kind) == Some("False")
}

/// Whether the object's controller has seen its newest spec and found it `Ready`.
pub fn is_ready(object: &Value) -> bool {
    is_observed(object) && is_true(object, "Ready")
}

/// Whether `status.observedGeneration` has caught up with the object.
pub fn is_observed(object: &Value) -> bool {
    let seen = object["status"]["observedGeneration"].as_i64();
    seen == object["metadata"]["generation"].as_i64()
}

fn status<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)?["status"]
        .as_str()
}

/// Formats a time as Kubernetes writes it: RFC 3339, UTC, whole seconds.
pub fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The condition types of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    /// The one that sums up, `Ready` as a rule.
    pub happy: &'static str,
    /// Those it follows.
    pub dependents: &'static [&'static str],
}

impl Set {
    /// A set that ends in `Ready`.
    pub const fn living(dependents: &'static [&'static str]) -> Self {
        Self {
            happy: "Ready",
            dependents,
        }
    }

    fn is_terminal(&self, kind: &str) -> bool {
        kind == self.happy || self.dependents.contains(&kind)
    }
}

/// The conditions of one object while its status is being worked out.
#[derive(Debug)]
pub struct Conditions {
    set: Set,
    now: String,
    before: Vec<Condition>,
    list: Vec<Condition>,
}

impl Conditions {
    /// Takes up the conditions of `object`. What is missing starts as `Unknown`, and so does
    /// `Ready` when the object has a generation that was not observed yet.
    pub fn of(object: &Value, set: Set, now: Timestamp) -> Self {
        let before: Vec<_> = object["status"]["conditions"]
            .as_array()
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .map(Condition::parse)
            .collect();
        let mut this = Self {
            set,
            now: rfc3339(now),
            list: before.clone(),
            before,
        };
        let happy = this.get(set.happy).is_some_and(Condition::is_true);
        for kind in set.dependents {
            if this.get(kind).is_none() {
                let status = if happy { Status::True } else { Status::Unknown };
                this.put(kind, status, "", "");
            }
        }
        if this.get(set.happy).is_none() {
            this.put(set.happy, Status::Unknown, "", "");
        } else if !is_observed(object) {
            let text = "unsuccessfully observed a new generation";
            this.put(set.happy, Status::Unknown, "NewObservedGenFailure", text);
        }
        this
    }

    /// The condition `kind` as it is now.
    pub fn get(&self, kind: &str) -> Option<&Condition> {
        self.list.iter().find(|condition| condition.kind == kind)
    }

    /// Whether `kind` is `True` now.
    pub fn is_true(&self, kind: &str) -> bool {
        self.get(kind).is_some_and(Condition::is_true)
    }

    /// Whether `kind` is `False` now.
    pub fn is_false(&self, kind: &str) -> bool {
        self.get(kind).is_some_and(Condition::is_false)
    }

    /// `kind` holds; `Ready` follows if nothing else stands against it.
    pub fn mark_true(&mut self, kind: &str) {
        self.mark_true_because(kind, "", "");
    }

    /// `kind` holds, with a reason worth saying.
    pub fn mark_true_because(&mut self, kind: &str, reason: &str, message: &str) {
        self.put(kind, Status::True, reason, message);
        self.recompute(kind);
    }

    /// It is open whether `kind` holds.
    pub fn mark_unknown(&mut self, kind: &str, reason: &str, message: &str) {
        self.put(kind, Status::Unknown, reason, message);
        let dependents = self.set.dependents;
        if let Some(failed) = dependents
            .iter()
            .find_map(|kind| self.get(kind).filter(|c| c.is_false()))
            .cloned()
        {
            if !self.is_false(self.set.happy) {
                let (reason, message) = (&failed.reason, &failed.message);
                self.put(self.set.happy, Status::False, reason, message);
            }
        } else if dependents.contains(&kind) {
            self.put(self.set.happy, Status::Unknown, reason, message);
        }
    }

    /// `kind` does not hold, and if `Ready` depends on it, neither does that.
    pub fn mark_false(&mut self, kind: &str, reason: &str, message: &str) {
        self.put(kind, Status::False, reason, message);
        if self.set.dependents.contains(&kind) {
            self.put(self.set.happy, Status::False, reason, message);
        }
    }

    /// Copies what a child says about itself: `True` as `True`, the rest with reason and message.
    pub fn mirror(&mut self, kind: &str, child: &Condition) {
        match child.status {
            Status::True => self.mark_true(kind),
            Status::False => self.mark_false(kind, &child.reason, &child.message),
            Status::Unknown => self.mark_unknown(kind, &child.reason, &child.message),
        }
    }

    /// Removes a condition the kind has no more.
    pub fn clear(&mut self, kind: &str) {
        self.list.retain(|condition| condition.kind != kind);
    }

    /// `status.conditions`, sorted by type.
    pub fn render(mut self) -> Value {
        self.list.sort_by(|a, b| a.kind.cmp(&b.kind));
        self.list.iter().map(Condition::render).collect()
    }

    fn recompute(&mut self, changed: &str) {
        let by_status = |status: Status| {
            let mut unhappy: Vec<_> = self
                .set
                .dependents
                .iter()
                .filter_map(|kind| self.get(kind))
                .filter(|condition| condition.status == status)
                .collect();
            // The latest word first; the sort is stable, so ties keep the set's order.
            unhappy.sort_by(|a, b| b.since.cmp(&a.since));
            unhappy.first().map(|&condition| condition.clone())
        };
        if let Some(c) = by_status(Status::False).or_else(|| by_status(Status::Unknown)) {
            self.put(self.set.happy, c.status, &c.reason, &c.message);
        } else if changed != self.set.happy && !self.set.dependents.is_empty() {
            self.put(self.set.happy, Status::True, "", "");
        }
    }

    fn put(&mut self, kind: &str, status: Status, reason: &str, message: &str) {
        let terminal = self.set.is_terminal(kind);
        let mut new = Condition {
            kind: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.to_owned(),
            severity: if terminal { "" } else { "Info" }.to_owned(),
            since: self.now.clone(),
        };
        // A condition that ends up as it began keeps its time, whatever it went through here.
        if let Some(old) = self.before.iter().find(|c| c.kind == kind)
            && old.says_the_same(&new)
            && !old.since.is_empty()
        {
            new.since.clone_from(&old.since);
        }
        match self.list.iter_mut().find(|c| c.kind == kind) {
            Some(slot) => *slot = new,
            None => self.list.push(new),
        }
    }
}

#[cfg(test)]
mod tests;
