//! What a driver refuses, and what it does when a GPU is lost, as the emulator does it too.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
#![expect(unsafe_code, reason = "calls of the driver and of the emulator")]

mod emulated;

use cudarc::{
    driver::{
        CudaContext, LaunchConfig,
        sys::{CUfunction_attribute as Attribute, CUresult},
    },
    nvrtc::Ptx,
};
use kernels_cuda::{Error, Gpu};
use libloading::{Library, Symbol};

const SHARED_BYTES: Attribute = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;

/// Whether the machine's own GPU is used: it cannot be lost by a call, and its kernels are in no image of this test.
fn is_real(gpu: &Gpu) -> bool {
    gpu.name().unwrap() != "emulated GPU"
}

/// Makes all further work of an emulated GPU fail.
fn lose(ordinal: i32) {
    // SAFETY: it is the emulator, which is open already, and the function sets a flag.
    unsafe {
        let library = Library::new("libcuda.so").unwrap();
        let lose: Symbol<'_, unsafe extern "C" fn(i32)> = library.get(b"gavel_lose_gpu").unwrap();
        lose(ordinal);
    }
}

#[test]
fn a_gpu_opens_whatever_became_of_another_one() {
    let gpu = emulated::gpu();
    if is_real(&gpu) {
        return;
    }
    let other = Gpu::open(1).unwrap();
    lose(1);
    assert!(other.wait().is_err(), "it is lost");
    drop((gpu, other));
    Gpu::open(0).unwrap();
    assert!(matches!(Gpu::open(1), Err(Error::Driver(_))), "it is still lost");
}

/// A block has 48 KiB of dynamic shared memory, and more only if the kernel asked for it: on the smallest GPUs up to 99
/// KiB. Kernels that are refused read no arguments.
#[test]
fn a_block_gets_no_more_shared_memory_than_its_kernel_asked_for() {
    let gpu = emulated::gpu();
    if is_real(&gpu) {
        return;
    }
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let module = context.load_module(Ptx::from_binary(b"none\0".to_vec())).unwrap();
    let kernel = module.load_function("attend_split_128").unwrap();
    let launch = |bytes| {
        let config = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (128, 1, 1), shared_mem_bytes: bytes };
        // SAFETY: it is refused before its arguments are looked at.
        unsafe { stream.launch_builder(&kernel).launch(config) }.map(|_| ()).map_err(|error| error.0)
    };
    let refused = Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(launch((48 << 10) + 1), refused);
    assert!(kernel.set_attribute(SHARED_BYTES, (99 << 10) + 1).is_err());
    assert_eq!(launch((48 << 10) + 1), refused);
    kernel.set_attribute(SHARED_BYTES, 64 << 10).unwrap();
    assert_eq!(launch((64 << 10) + 1), refused);
}
