//! The first process of a namespace that the containers of a Pod share
//! (`shareProcessNamespace`): it does nothing but live, and lets the kernel clear away the
//! processes whose parents have ended.

use super::sys;

/// The life of the process, from the fork on. Ends when it is killed, or with the launcher.
pub(super) fn pause() -> ! {
    let dies_with_parent = rustix::process::Signal::KILL;
    if rustix::process::set_parent_process_death_signal(Some(dies_with_parent)).is_err() {
        sys::exit_now(1);
    }
    sys::close_from(0);
    sys::reset_signals();
    sys::ignore_children();
    let _ = rustix::thread::set_name(c"pause");
    loop {
        sys::wait_for_signal();
    }
}
