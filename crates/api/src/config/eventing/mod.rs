//! The ConfigMaps of Knative Eventing, in their own namespace. Same shape as Serving's: `NAME`,
//! `Default` (what a fresh installation holds) and `parse`. [`validate`] is the rule of
//! `config.webhook.eventing.knative.dev`, [`stock`] what a fresh installation holds.
//!
//! `config-leader-election`, `config-logging` and `config-observability` are shared with Serving
//! in form; their parsers are in the parent.

pub mod broker_defaults;
pub mod channel_defaults;
pub mod features;
pub mod mapping;
pub mod ping;
mod stock;
pub mod sugar;
mod webhook;

pub use broker_defaults::BrokerDefaults;
pub use channel_defaults::ChannelDefaults;
pub use features::Features;
pub use mapping::Mapping;
pub use ping::Ping;
pub use stock::stock;
pub use sugar::Sugar;
pub use webhook::validate;

use super::{Data, Error};

/// The namespace of Knative Eventing's own objects.
pub const SYSTEM_NAMESPACE: &str = "knative-eventing";

/// All that admission reads.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Eventing {
    /// `config-br-defaults`.
    pub broker_defaults: BrokerDefaults,
    /// `default-ch-webhook`.
    pub channel_defaults: ChannelDefaults,
    /// `config-features`.
    pub features: Features,
    /// `config-ping-defaults`.
    pub ping: Ping,
}

impl Eventing {
    /// Takes over ConfigMap `name` of [`SYSTEM_NAMESPACE`] with `data`; one of another name is
    /// ignored. After an error the former settings stay.
    ///
    /// # Errors
    /// What is wrong with it, in Knative's words.
    pub fn apply(&mut self, name: &str, data: &Data) -> Result<(), Error> {
        match name {
            BrokerDefaults::NAME => self.broker_defaults = BrokerDefaults::parse(data)?,
            ChannelDefaults::NAME => self.channel_defaults = ChannelDefaults::parse(data)?,
            Features::NAME => self.features = Features::parse(data)?,
            Ping::NAME => self.ping = Ping::parse(data)?,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
