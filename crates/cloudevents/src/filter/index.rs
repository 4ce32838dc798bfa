//! All filters of one broker at once: an event is tested only against those that one of its
//! attributes speaks for.
//!
//! A filter that needs an attribute to have an exact value is filed under that value, one that is
//! true for any of several values under each. The rest are tested with every event.

use std::collections::{BTreeMap, BTreeSet};

use super::{Filter, How, Node, lookup};
use crate::Event;
use crate::cesql;

/// Filters by subscriber `K`. Iteration and results are in the order of `K`.
#[derive(Clone, Debug)]
pub struct Index<K> {
    filters: BTreeMap<K, (Filter, Vec<Anchor>)>,
    /// Attribute → value → who.
    filed: BTreeMap<String, BTreeMap<String, BTreeSet<K>>>,
    unfiled: BTreeSet<K>,
}

/// An attribute and the value without which a filter cannot match.
type Anchor = (String, String);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self {
            filters: BTreeMap::new(),
            filed: BTreeMap::new(),
            unfiled: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Clone> Index<K> {
    /// Adds a subscriber or gives it another filter.
    pub fn add(&mut self, subscriber: K, filter: Filter) {
        self.remove(&subscriber);
        let anchors = filter
            .root
            .as_ref()
            .and_then(|root| self.anchors(root))
            .unwrap_or_default();
        for (name, value) in &anchors {
            let values = self.filed.entry(name.clone()).or_default();
            let who = values.entry(value.clone()).or_default();
            who.insert(subscriber.clone());
        }
        if anchors.is_empty() {
            self.unfiled.insert(subscriber.clone());
        }
        self.filters.insert(subscriber, (filter, anchors));
    }

    /// Removes a subscriber; an unknown one is no error.
    pub fn remove(&mut self, subscriber: &K) {
        let Some((_, anchors)) = self.filters.remove(subscriber) else {
            return;
        };
        self.unfiled.remove(subscriber);
        for (name, value) in anchors {
            let Some(values) = self.filed.get_mut(&name) else {
                continue;
            };
            if let Some(who) = values.get_mut(&value) {
                who.remove(subscriber);
                if who.is_empty() {
                    values.remove(&value);
                }
            }
            if values.is_empty() {
                self.filed.remove(&name);
            }
        }
    }

    /// Who wants the event.
    pub fn matching(&self, event: &Event) -> Vec<&K> {
        let mut found: Vec<&K> = self.candidates(event);
        found.sort_unstable();
        found.dedup();
        found.retain(|subscriber| {
            let filter = self.filters.get(*subscriber);
            filter.is_some_and(|(filter, _)| filter.matches(event))
        });
        found
    }

    /// Whose filters are tested for this event; some may appear twice.
    fn candidates(&self, event: &Event) -> Vec<&K> {
        let mut found: Vec<&K> = self.unfiled.iter().collect();
        for (name, values) in &self.filed {
            let who = lookup(event, name).and_then(|value| values.get(&*value));
            found.extend(who.into_iter().flatten());
        }
        found
    }

    /// How many subscribers there are.
    pub fn len(&self) -> usize {
        self.filters.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Values one of which an event must have for `node` to be true; `None` when that cannot be
    /// said. Of several possibilities the one that the fewest subscribers share.
    fn anchors(&self, node: &Node) -> Option<Vec<Anchor>> {
        match node {
            Node::Attribute {
                name,
                how: How::Exact,
                text,
            } => Some(vec![(name.clone(), text.clone())]),
            Node::All(nodes) => self.best(nodes.iter().map(|node| self.anchors(node))),
            Node::Any(nodes) => {
                let each: Option<Vec<_>> = nodes.iter().map(|node| self.anchors(node)).collect();
                each.map(|each| each.into_iter().flatten().collect())
            }
            Node::Cesql(expression) => self.cesql_anchors(expression.node()),
            Node::Not(_) | Node::Attribute { .. } => None,
        }
    }

    fn cesql_anchors(&self, node: &cesql::Node) -> Option<Vec<Anchor>> {
        use crate::cesql::{Comparison, Node as Sql, Value};
        match node {
            Sql::Compare(Comparison::Equal, left, right) => match (&**left, &**right) {
                (Sql::Attribute(name), Sql::Literal(Value::String(text)))
                    if means_the_same(name) =>
                {
                    Some(vec![(name.clone(), text.clone().into_owned())])
                }
                _ => None,
            },
            Sql::And(row) => self.best(row.iter().map(|node| self.cesql_anchors(node))),
            Sql::Or(row) => {
                let each: Option<Vec<_>> =
                    row.iter().map(|node| self.cesql_anchors(node)).collect();
                each.map(|each| each.into_iter().flatten().collect())
            }
            Sql::In(of, set) => {
                let Sql::Attribute(name) = &**of else {
                    return None;
                };
                // A boolean or an integer of the event would be compared as such.
                let value = |element: &cesql::Node| match element {
                    Sql::Literal(Value::String(text)) => {
                        Some((name.clone(), text.clone().into_owned()))
                    }
                    _ => None,
                };
                is_text(name).then(|| set.iter().map(value).collect())?
            }
            _ => None,
        }
    }

    fn best(&self, choices: impl Iterator<Item = Option<Vec<Anchor>>>) -> Option<Vec<Anchor>> {
        choices.flatten().min_by_key(|anchors| {
            let shared = |(name, value): &Anchor| {
                let values = self.filed.get(name)?;
                Some(values.get(value)?.len())
            };
            anchors
                .iter()
                .map(|anchor| shared(anchor).unwrap_or(0) + 1)
                .sum::<usize>()
        })
    }
}

/// Whether CESQL and the other filters read the same under this name: they differ in the form of
/// times and in what stands for the schema.
fn means_the_same(name: &str) -> bool {
    !["time", "dataschema", "schemaurl", "datamediatype"].contains(&name)
}

/// Attributes that are strings in every event.
fn is_text(name: &str) -> bool {
    ["id", "source", "type", "subject", "datacontenttype"].contains(&name)
}
