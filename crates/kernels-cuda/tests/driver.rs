//! What a driver and cuBLASLt refuse, and what a driver does when a GPU is lost, as the emulator does it too.

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
use half::bf16;
use kernels_cuda::{Error, FEW_ROWS, Gpu, Linear, Output, Rows, Weight};
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

/// Kinds of products that an emulated cuBLASLt refuses: all whose reduction schemes are restricted, and those with a
/// bias and GELU.
const RESTRICTED_REDUCTIONS: i32 = 1;
const BIAS_AND_GELU: i32 = 2;

/// Lets the emulated cuBLASLt refuse kinds of products of this thread.
fn refuse(kinds: i32) {
    // SAFETY: it is the emulator, which is open already, and the function sets a number.
    unsafe {
        let library = Library::new("libcublasLt.so").unwrap();
        let refuse: Symbol<'_, unsafe extern "C" fn(i32)> = library.get(b"gavel_refuse").unwrap();
        refuse(kinds);
    }
}

/// Both ways in which the library may say that it has no algorithm, alone and together.
#[test]
fn products_that_the_library_refuses_are_computed_in_another_way() {
    let gpu = emulated::gpu();
    if is_real(&gpu) {
        return;
    }
    let (rows, outputs, inputs) = (FEW_ROWS + 1, 16, 32);
    let numbers = |count: usize, step: usize| -> Vec<bf16> {
        (0..count).map(|index| bf16::from_f32((index * step % 61) as f32 / 30.0 - 1.0)).collect()
    };
    let (weights, x) = (numbers(outputs * inputs, 7), numbers(rows * inputs, 11));
    let bias: Vec<f32> = (0..outputs).map(|index| index as f32 / 8.0 - 1.0).collect();
    let computed = |kinds: i32, output: Output| -> Vec<f32> {
        // Each GPU has plans of its own, so that none is known from before.
        let gpu = Gpu::open(0).unwrap();
        let linear = Linear::new(&gpu, Weight::Bf16(&weights), (outputs, inputs), Some(&bias)).unwrap();
        let (x, mut y) = (Rows::upload(&gpu, &x, inputs).unwrap(), Rows::empty(&gpu).unwrap());
        refuse(kinds);
        let forward = linear.forward(&x, &mut y, output);
        refuse(0);
        forward.unwrap();
        y.download().unwrap()
    };
    for output in [Output::Replace, Output::GeluTanh] {
        let wanted = computed(0, output);
        assert!(wanted.iter().any(|number| number.abs() > 1.0));
        for kinds in [RESTRICTED_REDUCTIONS, BIAS_AND_GELU, RESTRICTED_REDUCTIONS | BIAS_AND_GELU] {
            for (found, wanted) in computed(kinds, output).iter().zip(&wanted) {
                // GELU of a sum that was rounded before.
                assert!(
                    (found - wanted).abs() <= 0.02 * wanted.abs().max(1.0),
                    "{kinds}: {found} for {wanted}"
                );
            }
        }
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
