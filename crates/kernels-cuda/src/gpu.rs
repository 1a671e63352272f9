//! A GPU: its memory, its kernels by name, and the one stream in which all work runs in order.

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use cudarc::{
    driver::{
        CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DevicePtrMut, DeviceRepr, LaunchArgs,
        LaunchConfig, PinnedHostSlice, ValidAsZeroBits, result,
        sys::{
            self, CUdevice_attribute as Attribute, CUfunction_attribute as FunctionAttribute,
            CUmemPool_attribute as PoolAttribute,
        },
    },
    nvrtc::Ptx,
};

use crate::{
    error::{Error, Result, full, not_loaded},
    linear::Scratch,
    matrix_product::MatrixProducts,
};

/// A compiled file of kernels.
struct Image {
    name: &'static str,
    bytes: &'static [u8],
}

static IMAGES: &[Image] = include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// The streams of GPUs that were opened, unless they were closed and have finished.
static STREAMS: Mutex<Vec<Arc<CudaStream>>> = Mutex::new(Vec::new());

/// Dynamic shared memory that a kernel may use without raising its limit.
const USUAL_SHARED_BYTES: u32 = 48 << 10;

/// The largest copies from the host after which a call need not wait: drivers take over so many bytes before they
/// return. Of more bytes in memory that is not pinned, NVIDIA's "API synchronization behavior" says only that the
/// call might be synchronous.
const TAKEN_OVER_BYTES: usize = 64 << 10;

/// A GPU.
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    modules: HashMap<&'static str, Arc<CudaModule>>,
    /// Kernels that were loaded, by name. One thread submits all work, so that the lock is never contended; it lets
    /// the GPU be passed from the thread that loads to the one that runs.
    functions: Mutex<HashMap<&'static str, CudaFunction>>,
    /// Whether the stream is being captured. Used by one thread, see above.
    capturing: AtomicBool,
    pub(crate) products: MatrixProducts,
    /// Working memory of products with quantised weights, while there are any.
    pub(crate) scratch: Mutex<Weak<Scratch>>,
    /// Bytes that were free once it was open.
    free_when_opened: usize,
}

/// A kernel's file and its name.
pub(crate) type KernelName = (&'static str, &'static str);

/// The launch configuration of a kernel: blocks, threads of each, and bytes of dynamic shared memory for each block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) blocks: (u32, u32, u32),
    pub(crate) threads: u32,
    pub(crate) shared_bytes: u32,
}

impl Grid {
    /// Creates a grid of `blocks` blocks of `threads` threads without dynamic shared memory.
    pub(crate) fn new(blocks: (u32, u32, u32), threads: u32) -> Self {
        Self { blocks, threads, shared_bytes: 0 }
    }
}

/// Returns whether this program has kernels, and the machine has a GPU and the libraries to run them.
#[expect(unsafe_code, reason = "looks for libraries")]
pub fn is_ready() -> bool {
    // SAFETY: opening these libraries has no other effect.
    let has_libraries = || unsafe { sys::is_culib_present() && cudarc::cublaslt::sys::is_culib_present() };
    cfg!(feature = "cuda") && has_libraries() && CudaContext::device_count().is_ok_and(|count| count > 0)
}

impl fmt::Debug for Gpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gpu").field("ordinal", &self.context.ordinal()).finish_non_exhaustive()
    }
}

impl Gpu {
    /// Opens GPU `ordinal`.
    ///
    /// # Errors
    /// [`Error::NoDriver`] or [`Error::NoProducts`] if a library is missing, [`Error::NoGpu`] if there is no such
    /// GPU, [`Error::TooOld`] or [`Error::NoKernels`] if it cannot run the kernels, [`Error::OutOfMemory`] if its
    /// memory does not suffice, [`Error::Driver`] or [`Error::Product`] for other failures of the driver or of
    /// cuBLASLt.
    #[expect(unsafe_code, reason = "looks for a library; switches off what several streams would need")]
    pub fn open(ordinal: usize) -> Result<Arc<Self>> {
        // The bindings panic where a library is missing.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::NoDriver);
        }
        if !unsafe { cudarc::cublaslt::sys::is_culib_present() } {
            return Err(Error::NoProducts);
        }
        let count = usize::try_from(CudaContext::device_count()?).unwrap_or_default();
        if ordinal >= count {
            return Err(Error::NoGpu { ordinal, count });
        }
        let context = CudaContext::new(ordinal)?;
        let capability = context.compute_capability()?;
        if capability.0 < 8 {
            return Err(Error::TooOld { name: context.name()?, capability });
        }
        // The driver's context is kept until the process ends, even if this GPU is closed and opened again. Otherwise
        // the last owner would destroy it, and cuBLASLt, which keeps state there, is not guaranteed to work in a
        // second one.
        mem::forget(Arc::clone(&context));
        // SAFETY: all work is in one stream, so that nothing has to wait for another stream.
        unsafe { context.disable_event_tracking() };
        // The default stream cannot be captured as a graph.
        let stream = context.new_stream()?;
        keep_freed_memory(&context)?;
        // The pool is kept with the context: memory freed while the GPU was open before would otherwise not count as
        // free.
        finish_closed_streams(&context)?;
        give_back_freed_memory(&context)?;
        STREAMS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&stream));
        let mut modules = HashMap::new();
        for image in IMAGES {
            let module = context.load_module(Ptx::from_binary(image.bytes.to_vec()));
            modules.insert(image.name, module.map_err(|error| not_loaded(error, image.bytes.len()))?);
        }
        let products = MatrixProducts::new(&stream)?;
        let (free_when_opened, _) = context.mem_get_info()?;
        Ok(Arc::new(Self {
            context,
            stream,
            modules,
            functions: Mutex::default(),
            capturing: AtomicBool::new(false),
            products,
            scratch: Mutex::default(),
            free_when_opened,
        }))
    }

    /// Returns the name of the GPU.
    ///
    /// # Errors
    /// [`Error::Driver`] if the driver fails.
    pub fn name(&self) -> Result<String> {
        Ok(self.context.name()?)
    }

    /// Returns the bytes of free memory and of all memory.
    ///
    /// # Errors
    /// [`Error::Driver`] if the driver fails.
    pub fn memory(&self) -> Result<(usize, usize)> {
        Ok(self.context.mem_get_info()?)
    }

    /// Returns the bytes of memory that were free once the GPU was open: all but what the driver's context, the
    /// kernels, the workspace of cuBLASLt and other processes take.
    pub fn free_when_opened(&self) -> usize {
        self.free_when_opened
    }

    /// Waits until all work is done, and returns freed memory to the driver. Otherwise it is kept, and does not count
    /// as free.
    pub(crate) fn give_back_freed_memory(&self) -> Result<()> {
        self.wait()?;
        give_back_freed_memory(&self.context)
    }

    /// Returns the bytes of shared memory of a multiprocessor, for all its blocks.
    pub(crate) fn shared_bytes(&self) -> Result<usize> {
        let bytes =
            self.context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR)?;
        Ok(usize::try_from(bytes).unwrap_or_default())
    }

    /// Returns the number of multiprocessors.
    ///
    /// # Errors
    /// [`Error::Driver`] if the driver fails.
    pub fn multiprocessors(&self) -> Result<usize> {
        let count = self.context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Waits until all submitted work is done.
    ///
    /// # Errors
    /// [`Error::Driver`] if any of it failed.
    pub fn wait(&self) -> Result<()> {
        Ok(self.stream.synchronize()?)
    }

    /// Returns the time that the GPU takes for what `work` submits: it lies between two events.
    ///
    /// # Errors
    /// The errors of `work`; [`Error::Driver`] if this or earlier work failed.
    pub fn elapsed(&self, work: impl FnOnce() -> Result<()>) -> Result<Duration> {
        // Without flags, the bindings create events that have no time.
        let event = || self.stream.record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT));
        let start = event()?;
        work()?;
        let milliseconds = start.elapsed_ms(&event()?)?;
        Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3))
    }

    /// Makes it the current GPU of the calling thread.
    #[cfg(feature = "nccl")]
    pub(crate) fn bind(&self) -> Result<()> {
        Ok(self.context.bind_to_thread()?)
    }

    /// Lets those of `gpus` that can access this one's memory read and write what it allocates: NCCL assumes that
    /// they can, but memory of a pool is accessible to its own GPU alone by default.
    ///
    /// # Errors
    /// [`Error::Driver`] if the driver fails.
    #[expect(unsafe_code, reason = "calls of the driver by pointers")]
    pub(crate) fn open_memory_to(&self, gpus: &[Arc<Self>]) -> Result<()> {
        let device = self.context.cu_device();
        for other in gpus.iter().map(|gpu| gpu.context.cu_device()).filter(|other| *other != device) {
            let mut can = 0;
            let access = sys::CUmemAccessDesc {
                location: sys::CUmemLocation {
                    type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE,
                    id: other,
                },
                flags: sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
            };
            // SAFETY: the devices are those of contexts, the pool belongs to this one, and the driver copies one
            // description.
            unsafe {
                sys::cuDeviceCanAccessPeer(&raw mut can, other, device).result()?;
                if can != 0 {
                    let pool = result::device::get_default_mem_pool(device)?;
                    sys::cuMemPoolSetAccess(pool, &raw const access, 1).result()?;
                }
            }
        }
        Ok(())
    }

    /// Returns the ordinal of the GPU.
    #[cfg(feature = "nccl")]
    pub(crate) fn ordinal(&self) -> usize {
        self.context.ordinal()
    }

    /// Returns the stream in which all work runs.
    pub(crate) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// Notes whether work that is submitted from now on is captured.
    pub(crate) fn set_capturing(&self, capturing: bool) {
        self.capturing.store(capturing, Relaxed);
    }

    /// Fails while a graph is captured: the driver would make allocations a part of the graph, and also copies from
    /// the host, whose source is gone when the graph runs.
    fn refuse_while_capturing(&self) -> Result<()> {
        if self.capturing.load(Relaxed) { Err(Error::Capturing) } else { Ok(()) }
    }

    /// Allocates memory for `count` numbers, at least one, all of which must be written before they are read.
    #[expect(unsafe_code, reason = "memory that nobody has written")]
    pub(crate) fn memory_for<T: DeviceRepr>(&self, count: usize) -> Result<CudaSlice<T>> {
        self.refuse_while_capturing()?;
        // SAFETY: any bits are valid numbers of the types that are used, and callers write before they read.
        unsafe { self.stream.alloc(count.max(1)) }.map_err(|error| full(error, count * size_of::<T>()))
    }

    /// Allocates memory for `count` numbers, at least one, all of which are 0.
    pub(crate) fn zeros<T: DeviceRepr + ValidAsZeroBits>(&self, count: usize) -> Result<CudaSlice<T>> {
        self.refuse_while_capturing()?;
        self.stream.alloc_zeros(count.max(1)).map_err(|error| full(error, count * size_of::<T>()))
    }

    /// Copies `values` to the GPU. When it returns they have been read.
    pub(crate) fn upload<T: DeviceRepr>(&self, values: &[T]) -> Result<CudaSlice<T>> {
        let mut copy = self.memory_for(values.len())?;
        self.overwrite(&mut copy, values)?;
        Ok(copy)
    }

    /// Overwrites the beginning of `place` by `values`, which have been read when it returns.
    pub(crate) fn overwrite<T: DeviceRepr>(
        &self,
        place: &mut impl DevicePtrMut<T>,
        values: &[T],
    ) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        self.stream.memcpy_htod(values, place)?;
        if size_of_val(values) > TAKEN_OVER_BYTES { self.wait() } else { Ok(()) }
    }

    /// Allocates host memory for `count` numbers, to and from which a GPU copies at full speed.
    #[expect(unsafe_code, reason = "memory that nobody has written")]
    pub(crate) fn pinned<T: DeviceRepr>(&self, count: usize) -> Result<PinnedHostSlice<T>> {
        // SAFETY: any bits are valid numbers of the types that are used, and callers write before they read.
        Ok(unsafe { self.context.alloc_pinned_with_flags(count.max(1), 0) }?)
    }

    /// Returns a kernel that may use as much shared memory as `grid` has, which must be the same at each call for it.
    pub(crate) fn kernel(&self, (file, name): KernelName, grid: Grid) -> Result<CudaFunction> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(name) {
            return Ok(function.clone());
        }
        let function = self.modules[file].load_function(name);
        let function = function.map_err(|error| not_loaded(error, image_bytes(file)))?;
        if grid.shared_bytes > USUAL_SHARED_BYTES {
            function.set_attribute(
                FunctionAttribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                grid.shared_bytes as i32,
            )?;
        }
        functions.insert(name, function.clone());
        Ok(function)
    }

    /// Returns an empty list of arguments for a kernel.
    pub(crate) fn arguments<'a>(&'a self, kernel: &'a CudaFunction) -> LaunchArgs<'a> {
        self.stream.launch_builder(kernel)
    }

    /// Runs a kernel after all work that was submitted before. An empty grid is no work.
    ///
    /// Callers must match the arguments with the kernel's parameters, and their lengths with what it reads and
    /// writes. A compiler cannot check that, so the tests of each kernel do.
    #[expect(unsafe_code, reason = "a kernel's arguments are not known to the compiler")]
    pub(crate) fn run(&self, mut arguments: LaunchArgs<'_>, grid: Grid) -> Result<()> {
        let (x, y, z) = grid.blocks;
        if x == 0 || y == 0 || z == 0 {
            return Ok(());
        }
        let config = LaunchConfig {
            grid_dim: grid.blocks,
            block_dim: (grid.threads, 1, 1),
            shared_mem_bytes: grid.shared_bytes,
        };
        // SAFETY: see above.
        unsafe { arguments.launch(config) }?;
        Ok(())
    }
}

/// Returns the size of a compiled file of kernels.
fn image_bytes(name: &str) -> usize {
    IMAGES.iter().find(|image| image.name == name).map_or(0, |image| image.bytes.len())
}

/// Returns whether memory comes from a pool, which may keep freed memory. It does not on some virtual GPUs.
fn has_pool(context: &CudaContext) -> Result<bool> {
    Ok(context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? != 0)
}

/// Keeps freed memory in this process: a step allocates what the last one freed, and would otherwise wait for the
/// driver to allocate it each time.
#[expect(unsafe_code, reason = "calls of the driver by pointers")]
fn keep_freed_memory(context: &CudaContext) -> Result<()> {
    if !has_pool(context)? {
        return Ok(());
    }
    let mut all = u64::MAX;
    // SAFETY: the device is this context's, the pool its own, and the driver copies the number.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device())?;
        let attribute = PoolAttribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        result::mem_pool::set_attribute(pool, attribute, std::ptr::from_mut(&mut all).cast())?;
    }
    Ok(())
}

/// Waits for the streams in which the GPU of `context` ran while it was open before: memory is freed in the order of a
/// stream, so the pool has it when the stream has finished. The whole context cannot be waited for, since another
/// thread may be capturing a graph there. Streams of other GPUs are not waited for: these may be busy or have failed.
fn finish_closed_streams(context: &CudaContext) -> Result<()> {
    let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
    let is_closed = |stream: &Arc<CudaStream>| {
        // All memory holds a reference to its stream, so that only this list has one when all of it was freed.
        Arc::strong_count(stream) == 1 && stream.context().ordinal() == context.ordinal()
    };
    let (closed, others): (Vec<_>, Vec<_>) = mem::take(&mut *streams).into_iter().partition(is_closed);
    *streams = others;
    drop(streams);
    Ok(closed.iter().try_for_each(|stream| stream.synchronize())?)
}

/// Returns freed memory to the driver, as far as the streams have finished with it.
#[expect(unsafe_code, reason = "calls of the driver by pointers")]
fn give_back_freed_memory(context: &CudaContext) -> Result<()> {
    if !has_pool(context)? {
        return Ok(());
    }
    // SAFETY: the device is this context's, and the pool its own.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device())?;
        result::mem_pool::trim_to(pool, 0)?;
    }
    Ok(())
}
