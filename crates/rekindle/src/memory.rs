//! The allocator of the process, and how it is set: few arenas, and what is free goes back to the
//! kernel within half a second. A platform that is idle most of the time should not hold what its
//! busiest moment took.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What jemalloc reads before it serves the first allocation: a pointer to a C string. No thread of
/// its own gives memory back, for the launcher has to stay single-threaded.
#[allow(unsafe_code)] // The name is jemalloc's; nothing else has it.
#[unsafe(export_name = "_rjem_malloc_conf")]
static CONFIGURATION: &[u8; 46] = b"narenas:2,dirty_decay_ms:500,muzzy_decay_ms:0\0";
