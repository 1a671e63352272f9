//! Communicators of NVIDIA's library for several cards.

use std::{ffi::c_int, ptr, sync::Arc};

use cudarc::{
    driver::DevicePtrMut,
    nccl::{
        result::{self, NcclError},
        sys,
    },
};

use crate::{
    error::{Error, Result},
    gpu::Gpu,
    rows::Rows,
};

/// One card's. It is aborted when it goes: what it was asked for and has not done does not hold up the card.
#[derive(Debug)]
pub(crate) struct Communicator(sys::ncclComm_t);

// SAFETY: a handle may be used by any thread, one at a time.
#[expect(unsafe_code, reason = "handles are pointers")]
unsafe impl Send for Communicator {}

impl Communicator {
    /// One for each card, connected.
    #[expect(unsafe_code, reason = "looks for a library, and calls it by pointers")]
    pub(crate) fn among(cards: &[Arc<Gpu>]) -> Result<Vec<Self>> {
        // SAFETY: opening the library does nothing else.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::NoNccl);
        }
        let ordinals: Vec<c_int> = cards.iter().map(|card| card.ordinal() as c_int).collect();
        let mut handles = vec![ptr::null_mut(); cards.len()];
        // SAFETY: the library reads as many numbers and writes as many handles as it is told that there are.
        unsafe { result::comm_init_all(handles.as_mut_ptr(), cards.len() as c_int, ordinals.as_ptr()) }
            .map_err(|error| failed(&error))?;
        Ok(handles.into_iter().map(Self).collect())
    }

    /// Replaces numbers by their sums over all cards, in the order of the stream of the rows' card.
    #[expect(unsafe_code, reason = "a call of the library by pointers")]
    pub(crate) fn sum(&self, rows: &mut Rows) -> Result<()> {
        let (count, columns) = rows.shape();
        let gpu = Arc::clone(&rows.gpu);
        gpu.bind()?;
        let (numbers, _written) = rows.numbers.device_ptr_mut(gpu.stream());
        // SAFETY: there are at least as many numbers, which the stream's work alone touches.
        unsafe {
            result::all_reduce(
                numbers as *const _,
                numbers as *mut _,
                count * columns,
                sys::ncclDataType_t::ncclBfloat16,
                sys::ncclRedOp_t::ncclSum,
                self.0,
                gpu.stream().cu_stream().cast(),
            )
        }
        .map_err(|error| failed(&error))?;
        Ok(())
    }
}

impl Drop for Communicator {
    #[expect(unsafe_code, reason = "a call of the library by pointers")]
    fn drop(&mut self) {
        // SAFETY: nobody has the handle any more. What the library says when it goes helps nobody.
        let _ = unsafe { result::comm_abort(self.0) };
    }
}

fn failed(error: &NcclError) -> Error {
    Error::Communication { reason: format!("{:?}", error.0) }
}
