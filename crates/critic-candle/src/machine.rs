//! Measures the limits of the machine, with which the speed of models is compared.

use kernels::{Isa, limits};
use kernels_cuda::Gpu;

use crate::{error::LoadError, load::Device};

/// Floats of a buffer larger than any CPU cache: half a gigabyte.
const FLOATS: usize = 128 << 20;

/// Measures, with all threads, the memory bandwidth of reading and the operations on 32-bit floats, both in 10^9
/// per second. Takes about a second.
fn machine_limits() -> (f64, f64) {
    let isa = Isa::best();
    let memory = vec![1.0; FLOATS];
    (limits::reading(isa, &memory), limits::arithmetic(isa))
}

/// The name of a device and its limits: bytes read from memory and operations, both in 10^9 per second. Operations
/// are on 32-bit floats on the CPU, and those of matrix products in bf16 on a GPU.
///
/// # Errors
/// [`LoadError::Gpu`] when there is no such GPU, or it fails.
pub fn device_limits(device: Device) -> Result<(String, (f64, f64)), LoadError> {
    match device {
        Device::Cpu => Ok(("the processor".to_owned(), machine_limits())),
        Device::Cuda(ordinal) => {
            let gpu = Gpu::open(ordinal)?;
            Ok((gpu.name()?, gpu.limits()?))
        }
    }
}
