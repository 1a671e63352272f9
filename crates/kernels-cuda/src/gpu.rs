//! A GPU: its memory, its kernels by name, and the one stream in which everything happens in order.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use cudarc::{
    driver::{
        CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DeviceRepr, LaunchArgs, LaunchConfig,
        PinnedHostSlice, ValidAsZeroBits, result,
        sys::{
            self, CUdevice_attribute as Attribute, CUfunction_attribute as FunctionAttribute,
            CUmemPool_attribute as PoolAttribute,
        },
    },
    nvrtc::Ptx,
};

use crate::{
    error::{Error, Result, full},
    linear::Scratch,
    matrix_product::MatrixProducts,
};

/// A file of kernels, compiled.
struct Image {
    name: &'static str,
    bytes: &'static [u8],
}

const IMAGES: &[Image] = include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// Shared memory that a kernel has without being asked about.
const USUAL_SHARED_BYTES: u32 = 48 << 10;

/// A GPU.
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    modules: HashMap<&'static str, Arc<CudaModule>>,
    /// Kernels that were asked for, by name. One thread asks, so that nobody ever waits; the lock lets the GPU be handed
    /// from the thread that loads to the one that runs.
    functions: Mutex<HashMap<&'static str, CudaFunction>>,
    /// Whether the stream is being captured. Used by one thread, see above.
    capturing: AtomicBool,
    pub(crate) products: MatrixProducts,
    /// What products with quantised weights work in, while there are any.
    pub(crate) scratch: Mutex<Weak<Scratch>>,
}

/// Where a kernel is: its file and its name.
pub(crate) type KernelName = (&'static str, &'static str);

/// How many threads run a kernel: blocks, threads of each, and bytes of shared memory for each block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) blocks: (u32, u32, u32),
    pub(crate) threads: u32,
    pub(crate) shared_bytes: u32,
}

impl Grid {
    /// `blocks` blocks of `threads` threads without dynamic shared memory.
    pub(crate) fn new(blocks: (u32, u32, u32), threads: u32) -> Self {
        Self { blocks, threads, shared_bytes: 0 }
    }
}

/// Whether this program has kernels, and there are a GPU and the libraries to run them.
#[expect(unsafe_code, reason = "looks for libraries")]
pub fn is_ready() -> bool {
    // SAFETY: opening these libraries does nothing else.
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
    /// [`Error`] when there is no driver, no such GPU, or nothing to run on it.
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
        // The default stream cannot be captured as a graph.
        let stream = context.new_stream()?;
        // SAFETY: all work is in this one stream, so that nothing need wait for anything of another.
        unsafe { context.disable_event_tracking() };
        keep_freed_memory(&context)?;
        let mut modules = HashMap::new();
        for image in IMAGES {
            let module =
                context.load_module(Ptx::from_binary(image.bytes.to_vec())).map_err(Error::NoKernels)?;
            modules.insert(image.name, module);
        }
        let products = MatrixProducts::new(&stream)?;
        Ok(Arc::new(Self {
            context,
            stream,
            modules,
            functions: Mutex::default(),
            capturing: AtomicBool::new(false),
            products,
            scratch: Mutex::default(),
        }))
    }

    /// What the GPU is called.
    ///
    /// # Errors
    /// What the driver says.
    pub fn name(&self) -> Result<String> {
        Ok(self.context.name()?)
    }

    /// Bytes of memory that are free, and all of them.
    ///
    /// # Errors
    /// What the driver says.
    pub fn memory(&self) -> Result<(usize, usize)> {
        Ok(self.context.mem_get_info()?)
    }

    /// How many multiprocessors it has.
    ///
    /// # Errors
    /// What the driver says.
    pub fn multiprocessors(&self) -> Result<usize> {
        let count = self.context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Waits until everything that was asked for is done.
    ///
    /// # Errors
    /// What went wrong in any of it.
    pub fn wait(&self) -> Result<()> {
        Ok(self.stream.synchronize()?)
    }

    /// Makes it the GPU that this thread asks.
    #[cfg(feature = "nccl")]
    pub(crate) fn bind(&self) -> Result<()> {
        Ok(self.context.bind_to_thread()?)
    }

    /// Lets those of `GPUs` that can read and write each other's memory do so with what this one allocates: NCCL takes it that they
    /// can, and memory of a pool is its own GPU's alone unless somebody says so.
    ///
    /// # Errors
    /// What the driver says.
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
            // SAFETY: the devices are those of contexts, the pool is this one's own, and the driver copies one description.
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

    /// Its number.
    #[cfg(feature = "nccl")]
    pub(crate) fn ordinal(&self) -> usize {
        self.context.ordinal()
    }

    /// The stream in which everything happens.
    pub(crate) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// Notes that what is asked for from now on is captured, or no more.
    pub(crate) fn set_capturing(&self, capturing: bool) {
        self.capturing.store(capturing, Relaxed);
    }

    /// The driver would make memory that is asked for now a part of the graph, and copies from the host, too, whose source is gone
    /// when the graph runs.
    fn refuse_while_capturing(&self) -> Result<()> {
        if self.capturing.load(Relaxed) { Err(Error::Capturing) } else { Ok(()) }
    }

    /// Memory for `count` numbers, at least one, all of which are to be written before they are read.
    #[expect(unsafe_code, reason = "memory that nobody has written")]
    pub(crate) fn memory_for<T: DeviceRepr>(&self, count: usize) -> Result<CudaSlice<T>> {
        self.refuse_while_capturing()?;
        // SAFETY: any bits are numbers of the types that are asked for; who asks writes before it reads.
        unsafe { self.stream.alloc(count.max(1)) }.map_err(|error| full(error, count * size_of::<T>()))
    }

    /// The same, all zero.
    pub(crate) fn zeros<T: DeviceRepr + ValidAsZeroBits>(&self, count: usize) -> Result<CudaSlice<T>> {
        self.refuse_while_capturing()?;
        self.stream.alloc_zeros(count.max(1)).map_err(|error| full(error, count * size_of::<T>()))
    }

    /// A copy on the GPU.
    pub(crate) fn upload<T: DeviceRepr>(&self, values: &[T]) -> Result<CudaSlice<T>> {
        let mut copy = self.memory_for(values.len())?;
        if !values.is_empty() {
            self.stream.memcpy_htod(values, &mut copy)?;
        }
        Ok(copy)
    }

    /// Memory of the host for `count` numbers, to and from which a GPU copies at full speed.
    #[expect(unsafe_code, reason = "memory that nobody has written")]
    pub(crate) fn pinned<T: DeviceRepr>(&self, count: usize) -> Result<PinnedHostSlice<T>> {
        // SAFETY: any bits are numbers of the types that are asked for; who asks writes before it reads.
        Ok(unsafe { self.context.alloc_pinned_with_flags(count.max(1), 0) }?)
    }

    /// A kernel, which may use as much shared memory as `grid` says: the same whenever it is asked for.
    pub(crate) fn kernel(&self, (file, name): KernelName, grid: Grid) -> Result<CudaFunction> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(name) {
            return Ok(function.clone());
        }
        let function = self.modules[file].load_function(name).map_err(Error::NoKernels)?;
        if grid.shared_bytes > USUAL_SHARED_BYTES {
            function.set_attribute(
                FunctionAttribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                grid.shared_bytes as i32,
            )?;
        }
        functions.insert(name, function.clone());
        Ok(function)
    }

    /// Room for the arguments of a kernel.
    pub(crate) fn arguments<'a>(&'a self, kernel: &'a CudaFunction) -> LaunchArgs<'a> {
        self.stream.launch_builder(kernel)
    }

    /// Runs a kernel after everything that was asked for before.
    ///
    /// Who calls this has compared the arguments with the kernel's own list, and their lengths with what it reads and
    /// writes; that cannot be left to a compiler, and the tests of each kernel are there for it.
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

/// Lets what was freed stay with this process: a step allocates what the last one freed, and would wait for the driver's own
/// memory each time.
#[expect(unsafe_code, reason = "calls of the driver by pointers")]
fn keep_freed_memory(context: &CudaContext) -> Result<()> {
    if context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? == 0 {
        return Ok(()); // some virtual GPUs
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
