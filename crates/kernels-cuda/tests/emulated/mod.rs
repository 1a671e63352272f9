//! GPUs to test on: the machine's own where this program has kernels for it, and the processor's imitation elsewhere.

#![expect(unsafe_code, reason = "opens a library")]

use std::{path::Path, process::Command, sync::Arc};

use kernels_cuda::Gpu;

/// Opens the first one, and where `GAVEL_REAL_GPU` is set no other. Libraries that are open already are found by their names,
/// wherever they are.
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
    // Other crates test on it, too.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels-cuda/emulator/build");
    let status = Command::new(script).arg(&folder).status().unwrap();
    assert!(status.success(), "the emulator does not compile");
    for name in ["libcuda.so", "libcublasLt.so", "libnccl.so"] {
        // SAFETY: it is ours, and does nothing when it is opened. It is never closed.
        std::mem::forget(unsafe { libloading::Library::new(folder.join(name)) }.unwrap());
    }
    Gpu::open(0).unwrap()
}
