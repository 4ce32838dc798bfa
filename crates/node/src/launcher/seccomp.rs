//! The default system call filter. The launcher installs it on itself once; everything it forks
//! inherits it, which saves half a millisecond a container.
//!
//! Calls that the way to exec still needs (mount, pivot_root, setns) are not in the list: the
//! capabilities they ask for are gone by the time the container's program runs.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Calls that fail with `EPERM`: ways into the kernel that container runtimes agree no ordinary
/// program needs.
const FORBIDDEN: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
];

/// `personality` arguments that are harmless (Linux, 32-bit and the query).
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Installs the filter on the calling thread; it cannot be removed again.
pub(super) fn install() -> Result<(), seccompiler::Error> {
    for program in programs()? {
        seccompiler::apply_filter(&program)?;
    }
    Ok(())
}

fn programs() -> Result<[BpfProgram; 2], seccompiler::Error> {
    let eperm = SeccompAction::Errno(errno(libc::EPERM));
    let enosys = SeccompAction::Errno(errno(libc::ENOSYS));
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    // A new user namespace is where most ways up start.
    let user_ns = u64::from(libc::CLONE_NEWUSER.unsigned_abs());
    let with_user_ns = || {
        let masked = SeccompCmpOp::MaskedEq(user_ns);
        let flag = SeccompCondition::new(0, SeccompCmpArgLen::Qword, masked, user_ns)?;
        SeccompRule::new(vec![flag])
    };
    rules.insert(libc::SYS_clone, vec![with_user_ns()?]);
    rules.insert(libc::SYS_unshare, vec![with_user_ns()?]);
    let unusual: Result<Vec<_>, _> = PERSONALITIES
        .iter()
        .map(|value| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, *value))
        .collect();
    rules.insert(libc::SYS_personality, vec![SeccompRule::new(unusual?)?]);
    // Its flags are behind a pointer where a filter cannot look; libraries fall back to clone.
    let hidden = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok([compile(rules, eperm)?, compile(hidden, enosys)?])
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    action: SeccompAction,
) -> Result<BpfProgram, seccompiler::Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?;
    Ok(filter.try_into()?)
}

const fn errno(number: i32) -> u32 {
    number.unsigned_abs()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_filter_compiles_within_the_kernels_limit() {
        for program in super::programs().expect("programs") {
            assert!(program.len() < 4096, "{}", program.len());
        }
    }
}
