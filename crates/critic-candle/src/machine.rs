//! What the machine can do at most, so that what the models do has something to stand beside.

use kernels::{Isa, limits};
use kernels_cuda::Gpu;

use crate::{error::LoadError, load::Device};

/// Floats that no cache holds: half a gigabyte.
const FLOATS: usize = 128 << 20;

/// Measures, with all threads, the bytes that are read from memory and the operations on 32-bit floats that are done each
/// second, both in 10^9. Takes about a second.
fn machine_limits() -> (f64, f64) {
    let isa = Isa::best();
    let memory = vec![1.0; FLOATS];
    (limits::reading(isa, &memory), limits::arithmetic(isa))
}

/// The same of what a model computes on, and what it is called; a GPU's operations are those of products in bf16.
///
/// # Errors
/// [`LoadError`] when there is no such GPU, or it fails.
pub fn device_limits(device: Device) -> Result<(String, (f64, f64)), LoadError> {
    match device {
        Device::Cpu => Ok(("the processor".to_owned(), machine_limits())),
        Device::Cuda(ordinal) => {
            let gpu = Gpu::open(ordinal)?;
            Ok((gpu.name()?, gpu.limits()?))
        }
    }
}
