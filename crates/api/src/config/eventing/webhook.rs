//! What `config.webhook.eventing.knative.dev` refuses: an edited `_example` block, and data that
//! does not parse. Called by admission.

use serde_json::Value;

use super::{BrokerDefaults, ChannelDefaults, Features, Mapping, Ping, Sugar};
use crate::config::data::{Reader, from_yaml};
use crate::config::webhook::check_example;
use crate::config::{Data, Error, LeaderElection, Logging, Observability, data_of};
use crate::object::ObjectExt;

/// Whether ConfigMap `object` of Knative Eventing's namespace may be stored.
///
/// # Errors
/// Knative's text of what is wrong.
pub fn validate(object: &Value) -> Result<(), Error> {
    let data = data_of(object);
    check_example(object, &data)?;
    match object.name() {
        BrokerDefaults::NAME => BrokerDefaults::parse(&data).map(drop),
        ChannelDefaults::NAME => ChannelDefaults::parse(&data).map(drop),
        Features::NAME => Features::parse(&data).map(drop),
        Mapping::NAME => Mapping::parse(&data).map(drop),
        Ping::NAME => Ping::parse(&data).map(drop),
        Sugar::NAME => Sugar::parse(&data).map(drop),
        LeaderElection::NAME => LeaderElection::parse(&data).map(drop),
        Logging::NAME => Logging::parse(&data).map(drop),
        Observability::NAME => {
            let mut reports = false;
            Reader(&data).bool("sink-event-error-reporting.enable", &mut reports)?;
            Observability::parse(&data).map(drop)
        }
        "config-br-default-channel" => channel_template(&data),
        "config-tracing" => tracing(&data),
        "config-imc-event-dispatcher" => {
            let mut number = 0;
            let reader = Reader(&data);
            reader.int("MaxIdleConnections", &mut number)?;
            reader.int("MaxIdleConnectionsPerHost", &mut number)
        }
        _ => Ok(()),
    }
}

fn channel_template(data: &Data) -> Result<(), Error> {
    let Some(text) = data.get("channel-template-spec") else {
        return Ok(());
    };
    let template: Value = from_yaml(text).map_err(Error)?;
    let missing = ["apiVersion", "kind"]
        .into_iter()
        .find(|field| !template[*field].is_string());
    missing.map_or(Ok(()), |field| {
        Err(Error(format!(
            "channel-template-spec: missing field(s): {field}"
        )))
    })
}

fn tracing(data: &Data) -> Result<(), Error> {
    let reader = Reader(data);
    let mut rate = 0.0;
    reader.bool("debug", &mut false)?;
    reader.float("sample-rate", &mut rate)?;
    if (0.0..=1.0).contains(&rate) {
        Ok(())
    } else {
        Err(Error(format!(
            "sample-rate = {rate} must be in [0, 1] range"
        )))
    }
}
