//! Access to tensors as slices, for `kernels`.

use candle_core::{Result, Storage, Tensor};

/// Calls `read` with the numbers of `tensor`, which is on the CPU in f32, in row-major order.
pub(crate) fn with_floats<R>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        candle_core::bail!("a tensor that is not on the CPU has no slice");
    };
    let floats = storage.as_slice::<f32>()?;
    let start = layout.start_offset();
    Ok(read(&floats[start..start + layout.shape().elem_count()]))
}
