//! GPUs for tests: the machine's own if this program has kernels for it, else the emulator's.

#![expect(unsafe_code, reason = "opens a library")]

use std::{path::Path, process::Command, sync::Arc};

use kernels_cuda::Gpu;

/// Opens the first GPU: the machine's own if it can be opened, else the emulator's. With `GAVEL_REAL_GPU` set, only
/// the machine's own is opened. The emulator's libraries are found by their names wherever they are, since they are
/// open already.
pub(crate) fn gpu() -> Arc<Gpu> {
    if std::env::var_os("GAVEL_REAL_GPU").is_some() {
        let gpu = Gpu::open(0).unwrap();
        eprintln!("on {}", gpu.name().unwrap());
        return gpu;
    }
    if cfg!(feature = "cuda")
        && let Ok(gpu) = Gpu::open(0)
    {
        return gpu;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulator");
    // Other crates include this file, too.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels-cuda/emulator/build");
    let status = Command::new(script).arg(&folder).status().unwrap();
    assert!(status.success(), "the emulator does not compile");
    for name in ["libcuda.so", "libcublasLt.so", "libnccl.so"] {
        // SAFETY: it is ours, and does nothing when it is opened. It is never closed.
        std::mem::forget(unsafe { libloading::Library::new(folder.join(name)) }.unwrap());
    }
    Gpu::open(0).unwrap()
}
