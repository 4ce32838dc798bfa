//! Reading one ConfigMap's data key by key, with the error texts of knative.dev/pkg/configmap.

use std::collections::{BTreeMap, BTreeSet};

use crate::gotext::{self, Nanos, quote};
use crate::quantity::Quantity;

/// The `data` of a ConfigMap.
pub type Data = BTreeMap<String, String>;

/// Why a ConfigMap is refused; the text is Knative's own and names the key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Reads the values that are present and leaves the defaults of those that are not.
pub(super) struct Reader<'a>(pub(super) &'a Data);

impl Reader<'_> {
    pub(super) fn string(&self, key: &str, target: &mut String) {
        if let Some(raw) = self.0.get(key) {
            raw.clone_into(target);
        }
    }

    /// A comma-separated list.
    pub(super) fn strings(&self, key: &str, target: &mut BTreeSet<String>) {
        if let Some(raw) = self.0.get(key) {
            *target = raw.split(',').map(|item| item.trim().to_owned()).collect();
        }
    }

    pub(super) fn bool(&self, key: &str, target: &mut bool) -> Result<(), Error> {
        self.parsed(key, target, gotext::parse_bool)
    }

    pub(super) fn float(&self, key: &str, target: &mut f64) -> Result<(), Error> {
        self.parsed(key, target, gotext::parse_float)
    }

    pub(super) fn int(&self, key: &str, target: &mut i64) -> Result<(), Error> {
        self.parsed(key, target, |raw| gotext::parse_int(raw, 64))
    }

    pub(super) fn int32(&self, key: &str, target: &mut i32) -> Result<(), Error> {
        self.parsed(key, target, |raw| {
            let value = gotext::parse_int(raw, 32)?;
            Ok(i32::try_from(value).expect("parse_int has checked 32 bits"))
        })
    }

    pub(super) fn duration(&self, key: &str, target: &mut Nanos) -> Result<(), Error> {
        self.parsed(key, target, gotext::parse_duration)
    }

    pub(super) fn quantity(&self, key: &str, target: &mut Option<Quantity>) -> Result<(), Error> {
        self.parsed(key, target, |raw| Quantity::parse(raw).map(Some))
    }

    pub(super) fn parsed<T>(
        &self,
        key: &str,
        target: &mut T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(), Error> {
        if let Some(raw) = self.0.get(key) {
            *target = parse(raw)
                .map_err(|error| Error(format!("failed to parse {}: {error}", quote(key))))?;
        }
        Ok(())
    }
}

/// Refuses with `text` unless the condition `holds`.
pub(super) fn require(holds: bool, text: impl FnOnce() -> String) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error(text())) }
}

/// A map of labels, all of which must be there with these values.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Deserialize)]
pub struct Selector {
    /// What must be there.
    #[serde(default)]
    pub selector: BTreeMap<String, String>,
}

impl Selector {
    /// Reads the YAML of a value; an empty value selects all.
    pub(super) fn parse(yaml: &str) -> Result<Self, String> {
        if yaml.trim().is_empty() {
            return Ok(Self::default());
        }
        let selector: Option<Self> = from_yaml(yaml)?;
        Ok(selector.unwrap_or_default())
    }

    /// Whether `labels` has all of it.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// Of the names whose selector matches, the one with most labels, the first of equals.
pub(super) fn most_specific<'a>(
    selectors: &'a BTreeMap<String, Selector>,
    labels: &BTreeMap<String, String>,
) -> Option<&'a str> {
    selectors
        .iter()
        .rev()
        .filter(|(_, selector)| selector.matches(labels))
        .max_by_key(|(_, selector)| selector.selector.len())
        .map(|(name, _)| name.as_str())
}

/// Reads YAML.
pub(super) fn from_yaml<T: serde::de::DeserializeOwned>(yaml: &str) -> Result<T, String> {
    serde_saphyr::from_str(yaml).map_err(|error| format!("error unmarshaling YAML: {error}"))
}
