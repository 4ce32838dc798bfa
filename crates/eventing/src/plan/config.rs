//! What plans read of Eventing's ConfigMaps. A missing or unreadable entry reads as the default of
//! a fresh installation: bad values are refused by admission, so there is nobody to tell here.

use std::sync::Arc;

use api::world::{CONFIG_MAP, World};
use serde_json::Value;

/// The namespace of Eventing's own objects.
pub const SYSTEM_NAMESPACE: &str = "knative-eventing";

/// One ConfigMap of the system namespace, absent or not.
pub(super) struct Config(Option<Arc<Value>>);

impl Config {
    /// Reads ConfigMap `name`.
    pub(super) fn read(world: &World, name: &str) -> Self {
        Self(world.get(CONFIG_MAP, SYSTEM_NAMESPACE, name))
    }

    /// An entry; empty is absent.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        let text = self.0.as_ref()?["data"].get(key)?.as_str()?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// Whether a feature is on.
    fn is_enabled(&self, key: &str) -> bool {
        self.text(key)
            .is_some_and(|text| text.eq_ignore_ascii_case("enabled"))
    }
}

/// Whether addressables are reached by TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Encryption {
    /// Plain HTTP alone.
    Disabled,
    /// Both; HTTPS is named first.
    Permissive,
    /// HTTPS alone.
    Strict,
}

/// Who may send where no EventPolicy applies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Authorization {
    AllowAll,
    DenyAll,
    AllowSameNamespace,
}

impl Authorization {
    /// As the ConfigMap spells it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::AllowAll => "allow-all",
            Self::DenyAll => "deny-all",
            Self::AllowSameNamespace => "allow-same-namespace",
        }
    }
}

/// `config-features`, as far as plans care.
pub(super) struct Features {
    config: Config,
}

impl Features {
    pub(super) fn read(world: &World) -> Self {
        Self {
            config: Config::read(world, "config-features"),
        }
    }

    /// Tokens are sent and asked for.
    pub(super) fn oidc(&self) -> bool {
        self.config.is_enabled("authentication-oidc")
    }

    /// `brokerRef` and channel references may cross namespaces.
    pub(super) fn cross_namespace(&self) -> bool {
        self.config.is_enabled("cross-namespace-event-links")
    }

    /// `config-kreference-mapping` counts.
    pub(super) fn mapping(&self) -> bool {
        self.config.is_enabled("kreference-mapping")
    }

    pub(super) fn encryption(&self) -> Encryption {
        match self.config.text("transport-encryption") {
            Some(text) if text.eq_ignore_ascii_case("strict") => Encryption::Strict,
            Some(text) if text.eq_ignore_ascii_case("permissive") => Encryption::Permissive,
            _ => Encryption::Disabled,
        }
    }

    pub(super) fn authorization(&self) -> Authorization {
        match self.config.text("default-authorization-mode") {
            Some(text) if text.eq_ignore_ascii_case("allow-all") => Authorization::AllowAll,
            Some(text) if text.eq_ignore_ascii_case("deny-all") => Authorization::DenyAll,
            _ => Authorization::AllowSameNamespace,
        }
    }
}
