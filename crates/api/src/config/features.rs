//! `config-features`: what a Pod template may use beyond the minimum, and optional behaviour. The
//! rules of Knative's `pkg/apis/config/features.go`.

use super::data::{Data, Error};

/// The state of a feature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flag {
    /// On.
    Enabled,
    /// For those who ask for it.
    Allowed,
    /// Off.
    Disabled,
    /// `secure-pod-defaults` alone: on, but root stays possible.
    AllowRootBounded,
}

impl Flag {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Allowed => "Allowed",
            Self::Disabled => "Disabled",
            Self::AllowRootBounded => "AllowRootBounded",
        }
    }

    /// Not `Disabled`.
    pub const fn is_on(self) -> bool {
        !matches!(self, Self::Disabled)
    }

    /// `Enabled`.
    pub const fn is_enabled(self) -> bool {
        matches!(self, Self::Enabled)
    }
}

macro_rules! features {
    ($($field:ident = $key:literal $default:ident;)*) => {
        /// The features and their states.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Features {
            $(#[doc = concat!("`", $key, "`.")] pub $field: Flag,)*
        }

        impl Default for Features {
            fn default() -> Self {
                Self { $($field: Flag::$default,)* }
            }
        }

        impl Features {
            /// Every feature: its key and what it is unless set.
            pub const ALL: &'static [(&'static str, Flag)] = &[$(($key, Flag::$default)),*];

            fn flag(&mut self, key: &str) -> Option<&mut Flag> {
                match key {
                    $($key => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
    };
}

features! {
    multi_container = "multi-container" Enabled;
    multi_container_probing = "multi-container-probing" Disabled;
    add_capabilities = "kubernetes.containerspec-addcapabilities" Disabled;
    affinity = "kubernetes.podspec-affinity" Disabled;
    topology_spread_constraints = "kubernetes.podspec-topologyspreadconstraints" Disabled;
    host_aliases = "kubernetes.podspec-hostaliases" Disabled;
    field_ref = "kubernetes.podspec-fieldref" Disabled;
    node_selector = "kubernetes.podspec-nodeselector" Disabled;
    runtime_class_name = "kubernetes.podspec-runtimeclassname" Disabled;
    security_context = "kubernetes.podspec-securitycontext" Disabled;
    share_process_namespace = "kubernetes.podspec-shareprocessnamespace" Disabled;
    host_ipc = "kubernetes.podspec-hostipc" Disabled;
    host_pid = "kubernetes.podspec-hostpid" Disabled;
    host_network = "kubernetes.podspec-hostnetwork" Disabled;
    priority_class_name = "kubernetes.podspec-priorityclassname" Disabled;
    scheduler_name = "kubernetes.podspec-schedulername" Disabled;
    tolerations = "kubernetes.podspec-tolerations" Disabled;
    empty_dir = "kubernetes.podspec-volumes-emptydir" Enabled;
    host_path = "kubernetes.podspec-volumes-hostpath" Disabled;
    csi = "kubernetes.podspec-volumes-csi" Disabled;
    ephemeral = "kubernetes.podspec-volumes-ephemeral" Disabled;
    image_volume = "kubernetes.podspec-volumes-image" Disabled;
    mount_propagation = "kubernetes.podspec-volumes-mount-propagation" Disabled;
    init_containers = "kubernetes.podspec-init-containers" Disabled;
    persistent_volume_claim = "kubernetes.podspec-persistent-volume-claim" Disabled;
    persistent_volume_write = "kubernetes.podspec-persistent-volume-write" Disabled;
    dns_policy = "kubernetes.podspec-dnspolicy" Disabled;
    dns_config = "kubernetes.podspec-dnsconfig" Disabled;
    queue_proxy_pod_info = "queueproxy.mount-podinfo" Disabled;
    queue_proxy_resource_defaults = "queueproxy.resource-defaults" Disabled;
    secure_pod_defaults = "secure-pod-defaults" Disabled;
    tag_header_routing = "tag-header-based-routing" Disabled;
    autodetect_http2 = "autodetect-http2" Disabled;
}

impl Features {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-features";

    /// Reads the ConfigMap's data. A word that is no state leaves the default.
    ///
    /// # Errors
    /// None today; the shape is that of all ConfigMaps.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let mut features = Self::default();
        for (key, value) in data {
            let known: &[Flag] = if key == "secure-pod-defaults" {
                &[Flag::Enabled, Flag::AllowRootBounded, Flag::Disabled]
            } else {
                &[Flag::Enabled, Flag::Allowed, Flag::Disabled]
            };
            let named = |flag: &&Flag| value.eq_ignore_ascii_case(flag.name());
            let Some(state) = known.iter().copied().find(|flag| named(&flag)) else {
                continue;
            };
            if let Some(flag) = features.flag(key) {
                *flag = state;
            }
        }
        Ok(features)
    }
}
