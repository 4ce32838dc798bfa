//! The memory of the process. Its allocator, and how it is set: few arenas, and what is free goes
//! back to the kernel within two seconds. And its own code, most of which only the start runs. A
//! platform that is idle most of the time should not hold what its busiest moment took.

use std::ffi::{CStr, c_void};
use std::io;
use std::ptr::null_mut;
use std::time::Duration;

use rustix::mm::{Advice, madvise};
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What jemalloc reads before it serves the first allocation: a pointer to a C string. No thread of
/// its own gives memory back, for the launcher has to stay single-threaded.
#[allow(unsafe_code)] // The name is jemalloc's; nothing else has it.
#[unsafe(export_name = "_rjem_malloc_conf")]
static CONFIGURATION: &[u8; 46] = b"narenas:2,dirty_decay_ms:500,muzzy_decay_ms:0\0";

/// How often free pages are looked for: an allocator that is not asked for anything does not look.
const LOOK: Duration = Duration::from_secs(1);
/// jemalloc's command that looks in all arenas (`MALLCTL_ARENAS_ALL`).
const GIVE_BACK: &CStr = c"arena.4096.decay";

/// Gives back what is free and has been for [half a second](CONFIGURATION), for as long as the
/// process lives. Without it the pages of a busy moment stay until the next one.
pub(crate) async fn give_back_free() {
    loop {
        tokio::time::sleep(LOOK).await;
        if let Err(error) = look() {
            tracing::debug!(%error, "free memory is not given back");
            return;
        }
    }
}

#[allow(unsafe_code)] // jemalloc is asked by a call of C.
fn look() -> io::Result<()> {
    // SAFETY: the command takes nothing and gives nothing.
    let error = unsafe {
        tikv_jemalloc_sys::mallctl(GIVE_BACK.as_ptr(), null_mut(), null_mut(), null_mut(), 0)
    };
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

// What the linker says of the program in memory: its beginning, and the end of its code.
#[allow(unsafe_code)] // Only addresses, see below.
unsafe extern "C" {
    static __executable_start: u8;
    static etext: u8;
}

/// Takes the program's code and constants out of this process' memory; what runs again comes back
/// page by page, from the file or from where the kernel keeps it anyway. To be called once,
/// when the start is over: what is given back again and again may have left the kernel's cache by
/// the time a request from zero needs it.
#[allow(unsafe_code)] // See the reason below.
pub(crate) fn give_back_program() -> io::Result<()> {
    let (start, end) = (&raw const __executable_start, &raw const etext);
    let page = rustix::param::page_size();
    let (first, last) = (start.addr() & !(page - 1), end.addr() & !(page - 1));
    // SAFETY: the segments up to the end of the code are private mappings of a file that nothing
    // writes to (relocations are in the segments behind), so that each page reads the same again.
    unsafe {
        madvise(
            start.cast_mut().cast::<c_void>().with_addr(first),
            last - first,
            Advice::LinuxDontNeed,
        )
    }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    /// KiB of this program's code in memory.
    fn resident() -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("smaps");
        let code = maps.lines().skip_while(|line| !line.contains(" r-xp "));
        let mut rss = code.filter_map(|line| line.strip_prefix("Rss:"));
        let rss = rss.next().expect("the size of the first code");
        rss.trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number")
    }

    /// KiB of everything that is in memory and of no file.
    fn anonymous() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let size = line.expect("the size").trim().trim_end_matches(" kB");
        size.parse().expect("a number")
    }

    #[test]
    fn what_is_free_goes_back_though_nobody_allocates() {
        const PIECES: u64 = 64 << 10;
        let pieces: Vec<Box<[u8; 1024]>> = (0..PIECES).map(|_| Box::new([1; 1024])).collect();
        let full = anonymous();
        drop(pieces);
        std::thread::sleep(std::time::Duration::from_millis(600));
        super::look().expect("the command is known");
        std::thread::sleep(std::time::Duration::from_millis(600));
        super::look().expect("the command is known");
        let after = anonymous();
        assert!(after + PIECES / 2 < full, "{after} KiB of {full}");
    }

    #[test]
    fn the_program_goes_on_without_its_pages() {
        let before = resident();
        super::give_back_program().expect("madvise");
        let after = resident();
        assert!(after < before, "{after} KiB of {before}");
    }
}
