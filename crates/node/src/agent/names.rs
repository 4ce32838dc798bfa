//! What a Pod is called inside: host name, `/etc/hosts`.

use std::fmt::Write;

use k8s_openapi::api::core::v1::Pod;

/// Linux's limit for host names, bytes.
const HOSTNAME_MAX_BYTES: usize = 63;

/// The Pod's host name, one for all its containers: `spec.hostname`, else its name, cut to what
/// the kernel takes. A Pod on the machine's network has the machine's.
pub(crate) fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    if spec.is_some_and(|spec| spec.host_network == Some(true)) {
        let names = rustix::system::uname();
        return names.nodename().to_string_lossy().into_owned();
    }
    let own = spec.and_then(|spec| spec.hostname.clone());
    let name = own
        .or_else(|| pod.metadata.name.clone())
        .unwrap_or_default();
    let cut = name.get(..HOSTNAME_MAX_BYTES).unwrap_or(&name);
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// `/etc/hosts` as the kubelet writes it.
pub(crate) fn hosts(pod: &Pod, pod_ip: &str, cluster_domain: &str) -> String {
    let hostname = hostname(pod);
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    let spec = pod.spec.as_ref();
    let subdomain = spec
        .and_then(|spec| spec.subdomain.as_deref())
        .filter(|sub| !sub.is_empty());
    let _ = match subdomain {
        Some(subdomain) => {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
            let full = format!("{hostname}.{subdomain}.{namespace}.svc.{cluster_domain}");
            writeln!(text, "{pod_ip}\t{full}\t{hostname}")
        }
        None => writeln!(text, "{pod_ip}\t{hostname}"),
    };
    let aliases = spec.and_then(|spec| spec.host_aliases.as_ref());
    for (index, alias) in aliases.into_iter().flatten().enumerate() {
        if index == 0 {
            text.push_str("\n# Entries added by HostAliases.\n");
        }
        let names = alias.hostnames.clone().unwrap_or_default().join("\t");
        let _ = writeln!(text, "{}\t{names}", alias.ip);
    }
    text
}
