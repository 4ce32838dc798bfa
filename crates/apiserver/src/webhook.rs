//! Admission and conversion webhooks.

use serde_json::Value;

use crate::core::Core;
use crate::hooks::Operation;
use crate::status::Result;
use crate::write::Call;

/// Calls webhooks over HTTPS.
#[derive(Default)]
pub(crate) struct Client;

impl Client {
    /// A webhook configuration changed.
    pub(crate) fn invalidate(&self) {}

    /// Lets the mutating webhooks change an object.
    #[expect(clippy::unused_async)]
    pub(crate) async fn mutate(
        &self,
        _call: &Call<'_>,
        _operation: Operation,
        object: Value,
        _old: &Value,
    ) -> Result<Value> {
        Ok(object)
    }

    /// Lets the validating webhooks judge an object.
    #[expect(clippy::unused_async)]
    pub(crate) async fn validate(
        &self,
        _call: &Call<'_>,
        _operation: Operation,
        _object: &Value,
        _old: &Value,
    ) -> Result<()> {
        Ok(())
    }

    /// Converts an object by its definition's webhook.
    #[expect(clippy::unused_async)]
    pub(crate) async fn convert(
        &self,
        _core: &Core,
        _webhook: &Value,
        _object: Value,
        _api_version: &str,
    ) -> Result<Value, String> {
        Err("conversion webhooks are not served yet".to_owned())
    }
}
