//! Capabilities: names to bits, the default set, and dropping to a set. The agent computes the
//! set, the process about to run in the container drops to it.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};

/// Linux's names in the order of their numbers, without the prefix `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container has when its security context says nothing: the set container runtimes agree
/// on, without `MKNOD` (no device node it could make would be usable: its file systems are
/// mounted without devices).
const DEFAULT: [&str; 13] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// All capabilities this build knows.
pub const ALL: u64 = (1 << NAMES.len()) - 1;

/// The bit of a capability given with or without `CAP_`, in any case.
pub fn bit(name: &str) -> Option<u64> {
    let name = name.to_ascii_uppercase();
    let short = name.strip_prefix("CAP_").unwrap_or(&name);
    NAMES
        .iter()
        .position(|known| *known == short)
        .map(|number| 1 << number)
}

/// The default set with `add` added and `drop` removed; `ALL` in either means every one. As in
/// Kubernetes a name in both lists is added. The error is the first unknown name.
pub fn set(add: &[String], drop: &[String]) -> Result<u64, String> {
    let is_all = |name: &String| name.eq_ignore_ascii_case("all");
    let mut set = DEFAULT
        .iter()
        .filter_map(|name| bit(name))
        .fold(0, |all, bit| all | bit);
    if add.iter().any(is_all) {
        set = ALL;
    }
    if drop.iter().any(is_all) {
        set = 0;
    }
    for name in drop.iter().filter(|name| !is_all(name)) {
        set &= !bit(name).ok_or_else(|| name.clone())?;
    }
    for name in add.iter().filter(|name| !is_all(name)) {
        set |= bit(name).ok_or_else(|| name.clone())?;
    }
    Ok(set)
}

/// Takes every capability outside `keep` out of the bounding set. Needs `SETPCAP`, so it comes
/// before [`drop_to`].
pub fn bound(keep: u64) -> io::Result<()> {
    for number in 0..NAMES.len() {
        let bit = CapabilitySet::from_bits_retain(1 << number);
        if keep & (1 << number) == 0 && rustix::thread::capability_is_in_bounding_set(bit)? {
            rustix::thread::remove_capability_from_bounding_set(bit)?;
        }
    }
    Ok(())
}

/// Makes `keep` (as far as the launcher has it) the whole of what the process may do; nothing is
/// inheritable, so that a program run by an ordinary user gains none of it.
pub fn drop_to(keep: u64) -> io::Result<()> {
    let held = rustix::thread::capabilities(None)?.permitted;
    let keep = CapabilitySet::from_bits_retain(keep) & held;
    let sets = CapabilitySets {
        effective: keep,
        permitted: keep,
        inheritable: CapabilitySet::empty(),
    };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(set: u64) -> String {
        let held = NAMES
            .iter()
            .enumerate()
            .filter(|(number, _)| set & (1 << number) != 0);
        held.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
    }

    fn check(add: &[&str], drop: &[&str], want: Result<&str, &str>) {
        let own = |list: &[&str]| {
            list.iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let got = set(&own(add), &own(drop)).map(names);
        assert_eq!(got.as_deref().map_err(String::as_str), want);
    }

    #[test]
    fn additions_and_removals() {
        check(&[], &["ALL"], Ok(""));
        check(&["NET_BIND_SERVICE"], &["all"], Ok("NET_BIND_SERVICE"));
        check(&["CAP_SYS_TIME"], &["ALL"], Ok("SYS_TIME"));
        check(&[], &["WALK"], Err("WALK"));
        assert_eq!(set(&["ALL".into()], &[]), Ok(ALL));
        assert_eq!(bit("chown"), Some(1));
    }
}
