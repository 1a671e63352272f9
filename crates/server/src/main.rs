//! The program `gavel`.

use std::process::ExitCode;

/// Buffers of all sizes are taken and given back on many threads: glibc's allocator kept hundreds of megabytes of them, and was slower.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    gavel::main()
}
