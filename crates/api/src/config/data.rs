//! Reading one ConfigMap's data key by key, with the error texts of knative.dev/pkg/configmap.

use std::collections::BTreeMap;

use crate::gotext;

/// The `data` of a ConfigMap.
pub type Data = BTreeMap<String, String>;

/// Why a ConfigMap is refused; the text is Knative's own and names the key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

impl Error {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Reads the values that are present and leaves the defaults of those that are not.
pub(crate) struct Reader<'a>(pub(crate) &'a Data);

impl Reader<'_> {
    pub(crate) fn string(&self, key: &str, target: &mut String) {
        if let Some(raw) = self.0.get(key) {
            raw.clone_into(target);
        }
    }

    pub(crate) fn bool(&self, key: &str, target: &mut bool) -> Result<(), Error> {
        self.parsed(key, target, gotext::parse_bool)
    }

    pub(crate) fn float(&self, key: &str, target: &mut f64) -> Result<(), Error> {
        self.parsed(key, target, gotext::parse_float)
    }

    pub(crate) fn int32(&self, key: &str, target: &mut i32) -> Result<(), Error> {
        self.parsed(key, target, |raw| {
            let value = gotext::parse_int(raw, 32)?;
            Ok(i32::try_from(value).expect("parse_int has checked 32 bits"))
        })
    }

    pub(crate) fn duration(&self, key: &str, target: &mut gotext::Nanos) -> Result<(), Error> {
        self.parsed(key, target, gotext::parse_duration)
    }

    fn parsed<T>(
        &self,
        key: &str,
        target: &mut T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(), Error> {
        if let Some(raw) = self.0.get(key) {
            *target = parse(raw).map_err(|error| {
                Error(format!("failed to parse {}: {error}", gotext::quote(key)))
            })?;
        }
        Ok(())
    }
}
