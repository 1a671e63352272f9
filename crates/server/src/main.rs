//! The program `gavel`.

/// Buffers of all sizes are allocated and freed on many threads: glibc's allocator retained hundreds of megabytes of
/// them, and was slower.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    gavel::main()
}
