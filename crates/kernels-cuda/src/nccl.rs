//! Communicators of NCCL, NVIDIA's library for several GPUs.

use std::{
    ffi::{c_int, c_void},
    ptr,
    sync::{Arc, OnceLock},
};

use cudarc::driver::DevicePtrMut;
use libloading::Library;

use crate::{
    error::{Error, Result},
    gpu::Gpu,
    rows::Rows,
};

/// Names of the library. Packages and PyTorch installs have only the second, which the bindings of the other
/// libraries do not know. That is why these few calls are declared here.
const NAMES: [&str; 2] = ["libnccl.so", "libnccl.so.2"];

/// `ncclComm_t`.
type Handle = *mut c_void;

/// `ncclBfloat16`, `ncclSum` and `ncclSuccess`.
const BF16: c_int = 9;
const SUM: c_int = 0;
const SUCCESS: c_int = 0;

/// The functions of the library that are called (NCCL 2, `nccl.h`).
#[derive(Debug)]
struct Calls {
    /// `ncclCommInitAll(comms, count, devices)`
    connect: unsafe extern "C" fn(*mut Handle, c_int, *const c_int) -> c_int,
    /// `ncclAllReduce(from, to, count, type, operation, comm, stream)`
    all_reduce:
        unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Handle, *mut c_void) -> c_int,
    /// `ncclCommAbort(comm)`
    abort: unsafe extern "C" fn(Handle) -> c_int,
}

impl Calls {
    /// Opens the library, which then stays open. Returns `None` if it or one of the functions is missing.
    #[expect(unsafe_code, reason = "opens a library, and takes its functions by their names")]
    fn open() -> Option<Self> {
        // SAFETY: opening the library has no other effect.
        let library = NAMES.iter().find_map(|name| unsafe { Library::new(*name) }.ok())?;
        // SAFETY: these are the types in the library's header.
        let calls = unsafe {
            Self {
                connect: *library.get(b"ncclCommInitAll\0").ok()?,
                all_reduce: *library.get(b"ncclAllReduce\0").ok()?,
                abort: *library.get(b"ncclCommAbort\0").ok()?,
            }
        };
        std::mem::forget(library);
        Some(calls)
    }

    fn known() -> Result<&'static Self> {
        static CALLS: OnceLock<Option<Calls>> = OnceLock::new();
        CALLS.get_or_init(Self::open).as_ref().ok_or(Error::NoNccl)
    }
}

/// The communicator of one GPU. It is aborted when it is dropped: sums that were submitted and not computed do not
/// hold up the GPU.
#[derive(Debug)]
pub(crate) struct Communicator {
    calls: &'static Calls,
    handle: Handle,
}

// SAFETY: a handle may be used by any thread, one at a time.
#[expect(unsafe_code, reason = "handles are pointers")]
unsafe impl Send for Communicator {}

impl Communicator {
    /// Creates a communicator for each GPU, connected to the others.
    #[expect(unsafe_code, reason = "a call of the library by pointers")]
    pub(crate) fn connect(gpus: &[Arc<Gpu>]) -> Result<Vec<Self>> {
        let calls = Calls::known()?;
        let ordinals: Vec<c_int> = gpus.iter().map(|gpu| gpu.ordinal() as c_int).collect();
        let mut handles = vec![ptr::null_mut(); gpus.len()];
        // SAFETY: the library reads as many numbers and writes as many handles as the count that it is passed.
        check(unsafe { (calls.connect)(handles.as_mut_ptr(), gpus.len() as c_int, ordinals.as_ptr()) })?;
        Ok(handles.into_iter().map(|handle| Self { calls, handle }).collect())
    }

    /// Replaces numbers by their sums over all GPUs, in the order of the stream of the rows' GPU.
    #[expect(unsafe_code, reason = "a call of the library by pointers")]
    pub(crate) fn sum(&self, rows: &mut Rows) -> Result<()> {
        let (count, columns) = rows.shape();
        let gpu = Arc::clone(&rows.gpu);
        gpu.bind()?;
        let (numbers, _written) = rows.numbers.device_ptr_mut(gpu.stream());
        let stream = gpu.stream().cu_stream().cast();
        // SAFETY: there are at least as many numbers, which only work of this stream accesses.
        check(unsafe {
            let (from, to) = (numbers as *const c_void, numbers as *mut c_void);
            (self.calls.all_reduce)(from, to, count * columns, BF16, SUM, self.handle, stream)
        })
    }
}

impl Drop for Communicator {
    #[expect(unsafe_code, reason = "a call of the library by pointers")]
    fn drop(&mut self) {
        // SAFETY: the handle is not used any more. There is nothing to do about an error here.
        let _ = unsafe { (self.calls.abort)(self.handle) };
    }
}

fn check(status: c_int) -> Result<()> {
    if status == SUCCESS { Ok(()) } else { Err(Error::Communication { status }) }
}
