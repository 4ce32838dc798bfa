//! `/etc/resolv.conf`: the node's, read; a Pod's, written.
//!
//! The rules for a Pod are the kubelet's (`pkg/kubelet/network/dns`).

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::api::core::v1::PodDNSConfig;

/// More are refused by the API server and ignored by resolvers.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;

/// A resolver's configuration.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ResolvConf {
    pub nameservers: Vec<IpAddr>,
    pub searches: Vec<String>,
    /// `ndots:5` and the like.
    pub options: Vec<String>,
}

impl ResolvConf {
    /// Reads the file's text. Lines nobody knows are passed over, as resolvers do.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A scope (`fe80::1%eth0`) means nothing elsewhere.
                    conf.nameservers
                        .extend(words.next().and_then(|w| w.parse::<IpAddr>().ok()));
                }
                // The last one counts, as the manual says.
                Some("search" | "domain") => conf.searches = words.map(str::to_owned).collect(),
                Some("options") => conf.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        conf
    }
}

/// The policy of a Pod, as the API spells it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DnsPolicy {
    ClusterFirst,
    Default,
    None,
}

impl DnsPolicy {
    /// The policy of a Pod spec; a Pod on the node's own network gets the cluster's names only on
    /// demand.
    pub fn of(policy: Option<&str>, host_network: bool) -> Self {
        match policy {
            Some("None") => Self::None,
            Some("Default") => Self::Default,
            Some("ClusterFirstWithHostNet") => Self::ClusterFirst,
            _ if host_network => Self::Default,
            _ => Self::ClusterFirst,
        }
    }
}

/// What is the same for all Pods of a node.
#[derive(Clone, Debug)]
pub struct PodResolver {
    /// The node's DNS server, as Pods reach it.
    pub nameserver: Ipv4Addr,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// The node's own configuration.
    pub node: ResolvConf,
}

impl PodResolver {
    /// The text of a Pod's `/etc/resolv.conf`.
    pub fn resolv_conf(
        &self,
        namespace: &str,
        policy: DnsPolicy,
        config: Option<&PodDNSConfig>,
    ) -> String {
        let mut conf = match policy {
            DnsPolicy::ClusterFirst => self.cluster_first(namespace),
            DnsPolicy::Default => self.node_default(),
            DnsPolicy::None => ResolvConf::default(),
        };
        if let Some(config) = config {
            merge(&mut conf, config);
        }
        render(&conf)
    }

    fn cluster_first(&self, namespace: &str) -> ResolvConf {
        let domain = &self.cluster_domain;
        let mut searches = vec![
            format!("{namespace}.svc.{domain}"),
            format!("svc.{domain}"),
            domain.clone(),
        ];
        searches.extend(self.node.searches.iter().cloned());
        ResolvConf {
            nameservers: vec![self.nameserver.into()],
            searches,
            options: vec!["ndots:5".to_owned()],
        }
    }

    /// The node's own configuration. A server on the node's loopback cannot be reached from a Pod;
    /// ours asks it on the Pod's behalf.
    fn node_default(&self) -> ResolvConf {
        let mut conf = self.node.clone();
        if conf.nameservers.is_empty() || conf.nameservers.iter().any(IpAddr::is_loopback) {
            conf.nameservers = vec![self.nameserver.into()];
        }
        conf
    }
}

/// Adds a Pod's own wishes: servers and searches behind, options by name instead.
fn merge(conf: &mut ResolvConf, config: &PodDNSConfig) {
    let servers = config.nameservers.iter().flatten();
    conf.nameservers
        .extend(servers.filter_map(|server| server.parse::<IpAddr>().ok()));
    conf.searches
        .extend(config.searches.iter().flatten().cloned());
    for option in config.options.iter().flatten() {
        let Some(name) = option.name.as_deref() else {
            continue;
        };
        conf.options
            .retain(|old| old.split(':').next() != Some(name));
        conf.options.push(match option.value.as_deref() {
            Some(value) if !value.is_empty() => format!("{name}:{value}"),
            _ => name.to_owned(),
        });
    }
}

fn render(conf: &ResolvConf) -> String {
    let mut text = String::new();
    if !conf.searches.is_empty() {
        let mut searches: Vec<&str> = Vec::new();
        for search in &conf.searches {
            if !searches.contains(&search.as_str()) {
                searches.push(search);
            }
        }
        searches.truncate(SEARCHES_MAX);
        let _ = writeln!(text, "search {}", searches.join(" "));
    }
    let mut servers: Vec<IpAddr> = Vec::new();
    for server in &conf.nameservers {
        if !servers.contains(server) && servers.len() < NAMESERVERS_MAX {
            servers.push(*server);
            let _ = writeln!(text, "nameserver {server}");
        }
    }
    if !conf.options.is_empty() {
        let _ = writeln!(text, "options {}", conf.options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodDNSConfigOption;

    use super::*;

    #[test]
    fn a_pods_file_follows_its_policy() {
        let node =
            "# comment\nnameserver 127.0.0.53\nsearch corp.example\noptions edns0 trust-ad\n";
        let resolver = PodResolver {
            nameserver: Ipv4Addr::new(10, 42, 0, 1),
            cluster_domain: "cluster.local".to_owned(),
            node: ResolvConf::parse(node),
        };
        let check = |policy, config: Option<&PodDNSConfig>, expected: &str| {
            assert_eq!(
                resolver.resolv_conf("team", policy, config),
                expected,
                "{policy:?}"
            );
        };
        let cluster = "search team.svc.cluster.local svc.cluster.local cluster.local corp.example\n\
                       nameserver 10.42.0.1\n";
        check(
            DnsPolicy::ClusterFirst,
            None,
            &format!("{cluster}options ndots:5\n"),
        );
        check(
            DnsPolicy::Default,
            None,
            "search corp.example\nnameserver 10.42.0.1\noptions edns0 trust-ad\n",
        );
        let option = |name: &str, value: Option<&str>| PodDNSConfigOption {
            name: Some(name.to_owned()),
            value: value.map(str::to_owned),
        };
        let config = PodDNSConfig {
            nameservers: Some(vec!["1.1.1.1".to_owned()]),
            searches: Some(vec!["my.example".to_owned()]),
            options: Some(vec![option("ndots", Some("2")), option("edns0", None)]),
        };
        check(
            DnsPolicy::None,
            Some(&config),
            "search my.example\nnameserver 1.1.1.1\noptions ndots:2 edns0\n",
        );
        let expected = cluster.replace("corp.example\n", "corp.example my.example\n");
        check(
            DnsPolicy::ClusterFirst,
            Some(&config),
            &format!("{expected}nameserver 1.1.1.1\noptions ndots:2 edns0\n"),
        );
    }

    #[test]
    fn the_policy_depends_on_the_network() {
        assert_eq!(DnsPolicy::of(None, false), DnsPolicy::ClusterFirst);
        assert_eq!(
            DnsPolicy::of(Some("ClusterFirst"), true),
            DnsPolicy::Default
        );
        assert_eq!(
            DnsPolicy::of(Some("ClusterFirstWithHostNet"), true),
            DnsPolicy::ClusterFirst
        );
    }
}
