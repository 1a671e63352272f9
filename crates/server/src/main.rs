//! The program `gavel`.

use std::process::ExitCode;

/// Buffers of all sizes are taken and given back on many threads: glibc's allocator kept hundreds of megabytes of them, and was slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    gavel::main()
}
