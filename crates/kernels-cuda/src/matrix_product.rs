//! Products of many rows by cuBLASLt: y = x W^T, with a bias and GELU in the same pass where they are requested.

use std::{
    collections::{HashMap, hash_map::Entry},
    ffi::c_void,
    mem::size_of,
    ptr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cudarc::{
    cublaslt::{
        result::{self, CublasError},
        sys::{
            self, cublasComputeType_t as Compute, cublasLtEpilogue_t as LtEpilogue,
            cublasLtMatmulDescAttributes_t as Attribute, cublasLtMatmulPreferenceAttributes_t as Preference,
            cublasStatus_t as Status, cudaDataType as Type,
        },
    },
    driver::{CudaSlice, CudaStream, CudaView, CudaViewMut, DevicePtr, DevicePtrMut},
};
use half::bf16;

use crate::error::{Error, Result, full};

/// The size of the library's workspace. NVIDIA recommends 32 MiB for GPUs of compute capability 9.0.
const WORKSPACE_BYTES: usize = 32 << 20;

/// The alignment in bytes of allocated memory, which the library expects of every address.
const ALIGNMENT: u64 = 256;

/// The reduction schemes by which the library may combine parts of a sum: in f32 alone
/// (`CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE`). In place, or in the output's type, it would round them to bf16.
const IN_F32: u32 = 2;

/// What happens to a product before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Epilogue {
    /// It replaces the previous contents.
    Replace,
    /// It is added to the previous contents.
    Add,
    /// The bias is added.
    Bias,
    /// It and the bias are added to the previous contents.
    AddBias,
    /// The bias is added, and GELU, by the tanh approximation, is applied.
    BiasGelu,
}

impl Epilogue {
    fn has_bias(self) -> bool {
        matches!(self, Self::Bias | Self::AddBias | Self::BiasGelu)
    }

    /// Returns the factor of the previous contents.
    fn beta(self) -> f32 {
        if matches!(self, Self::Add | Self::AddBias) { 1.0 } else { 0.0 }
    }

    fn for_library(self) -> LtEpilogue {
        match self {
            Self::Replace | Self::Add => LtEpilogue::CUBLASLT_EPILOGUE_DEFAULT,
            Self::Bias | Self::AddBias => LtEpilogue::CUBLASLT_EPILOGUE_BIAS,
            Self::BiasGelu => LtEpilogue::CUBLASLT_EPILOGUE_GELU_BIAS,
        }
    }
}

/// A product's sizes: rows of x, outputs and inputs of W, the distance between rows of y, and what happens to the
/// product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) output: usize,
    pub(crate) input: usize,
    pub(crate) stride: usize,
    pub(crate) epilogue: Epilogue,
}

/// What is multiplied.
pub(crate) struct Operands<'a> {
    pub(crate) x: CudaView<'a, bf16>,            // [rows, input]
    pub(crate) weight: CudaView<'a, bf16>,       // [output, input]
    pub(crate) bias: Option<CudaView<'a, bf16>>, // [output]
}

/// The library's handle, its workspace and the plans.
pub(crate) struct MatrixProducts {
    handle: sys::cublasLtHandle_t,
    workspace: CudaSlice<u8>,
    stream: Arc<CudaStream>,
    /// The plan of each shape so far, or that it has none: requesting one from the library takes longer than many
    /// products. Used by one thread, see `Gpu`.
    plans: Mutex<HashMap<Shape, Option<Plan>>>,
}

/// How one shape is computed.
struct Plan {
    description: sys::cublasLtMatmulDesc_t,
    weight: sys::cublasLtMatrixLayout_t,
    x: sys::cublasLtMatrixLayout_t,
    y: sys::cublasLtMatrixLayout_t,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

/// At this number of plans all are dropped: prompts have many lengths.
const PLANS: usize = 4096;

// SAFETY: the handle and the plans are pointers to memory of the library, which may be used by any thread, one at a
// time.
#[expect(unsafe_code, reason = "handles are pointers")]
unsafe impl Send for MatrixProducts {}
// SAFETY: everything that changes is behind the lock.
#[expect(unsafe_code, reason = "handles are pointers")]
unsafe impl Sync for MatrixProducts {}

impl MatrixProducts {
    pub(crate) fn new(stream: &Arc<CudaStream>) -> Result<Self> {
        #[expect(unsafe_code, reason = "memory that only the library writes and reads")]
        let workspace =
            unsafe { stream.alloc(WORKSPACE_BYTES) }.map_err(|error| full(error, WORKSPACE_BYTES))?;
        let handle = result::create_handle()?;
        Ok(Self { handle, workspace, stream: Arc::clone(stream), plans: Mutex::default() })
    }

    /// Returns whether the library can compute a shape.
    pub(crate) fn supports(&self, shape: Shape) -> Result<bool> {
        let mut plans = self.lock_plans();
        Ok(self.plan(&mut plans, shape)?.is_some())
    }

    /// Computes y, whose rows of `output` numbers begin `stride` numbers apart. The bias must be given if the
    /// epilogue uses it.
    ///
    /// # Errors
    /// [`Error::Product`] if the library does not support the shape or fails.
    #[expect(unsafe_code, reason = "a call of the library by pointers")]
    pub(crate) fn run(
        &self,
        shape: Shape,
        operands: &Operands<'_>,
        y: &mut CudaViewMut<'_, bf16>,
    ) -> Result<()> {
        shape.check(operands, y.len());
        let mut plans = self.lock_plans();
        let plan = self.plan(&mut plans, shape)?;
        let plan = plan.ok_or(CublasError(Status::CUBLAS_STATUS_NOT_SUPPORTED))?;
        if shape.epilogue.has_bias() {
            let bias = operands.bias.as_ref().expect("a bias for each output");
            plan.set_bias(aligned(bias.device_ptr(&self.stream).0))?;
        }
        let (alpha, beta) = (1.0_f32, shape.epilogue.beta());
        let weight = aligned(operands.weight.device_ptr(&self.stream).0);
        let x = aligned(operands.x.device_ptr(&self.stream).0);
        let y = aligned(y.device_ptr_mut(&self.stream).0);
        let workspace = self.workspace.device_ptr(&self.stream).0;
        // SAFETY: the lengths were compared with the layouts.
        unsafe {
            result::matmul(
                self.handle,
                plan.description,
                ptr::from_ref(&alpha).cast(),
                ptr::from_ref(&beta).cast(),
                weight as *const c_void,
                plan.weight,
                x as *const c_void,
                plan.x,
                y as *const c_void,
                plan.y,
                y as *mut c_void,
                plan.y,
                &plan.algorithm,
                workspace as *mut c_void,
                WORKSPACE_BYTES,
                self.stream.cu_stream().cast(),
            )
        }?;
        Ok(())
    }

    fn lock_plans(&self) -> MutexGuard<'_, HashMap<Shape, Option<Plan>>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the plan of a shape, which is made when it is first needed; `None` if the library has no algorithm for
    /// it.
    fn plan<'a>(
        &self,
        plans: &'a mut HashMap<Shape, Option<Plan>>,
        shape: Shape,
    ) -> Result<Option<&'a Plan>> {
        if plans.len() >= PLANS {
            plans.clear();
        }
        let plan = match plans.entry(shape) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                // Any address that is aligned like those of biases.
                let address = aligned(self.workspace.device_ptr(&self.stream).0);
                place.insert(Plan::find(self.handle, shape, address)?)
            }
        };
        Ok(plan.as_ref())
    }
}

impl Shape {
    /// Checks that the operands and y, of `y_numbers` numbers, are as long as the shape says.
    fn check(&self, operands: &Operands<'_>, y_numbers: usize) {
        assert!(operands.x.len() >= self.rows * self.input, "rows of a product");
        assert!(operands.weight.len() >= self.output * self.input, "weights of a product");
        assert!(
            operands.bias.as_ref().is_none_or(|bias| bias.len() >= self.output),
            "a bias for each output"
        );
        assert!(self.stride >= self.output, "rows of outputs that overlap");
        assert!(y_numbers >= (self.rows - 1) * self.stride + self.output, "outputs of a product");
    }
}

/// Returns `address` if it is aligned as the library expects. With another one, it would read beyond the buffer, and
/// the GPU would be lost.
fn aligned(address: u64) -> u64 {
    assert!(address.is_multiple_of(ALIGNMENT), "numbers of a product that are not aligned");
    address
}

impl Drop for MatrixProducts {
    #[expect(unsafe_code, reason = "a call of the library by pointers")]
    fn drop(&mut self) {
        // SAFETY: the handle is not used any more. There is nothing to do about an error here.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Plan {
    /// Creates the plan of a shape, with an algorithm that adds up parts of sums in f32 if there is one, else with any
    /// algorithm; `None` if there is none. `bias` is an address in place of the bias: the library looks at its
    /// alignment.
    fn find(handle: sys::cublasLtHandle_t, shape: Shape, bias: u64) -> Result<Option<Self>> {
        let mut plan = Self::describe(shape)?;
        if shape.epilogue.has_bias() {
            plan.set_bias(bias)?;
        }
        for reductions in [Some(IN_F32), None] {
            if let Some(algorithm) = plan.choose_algorithm(handle, reductions)? {
                plan.algorithm = algorithm;
                return Ok(Some(plan));
            }
        }
        Ok(None)
    }

    /// Creates the plan of a shape without an algorithm. The library's matrices are column-major: for it, x is
    /// `[input, rows]`, y `[output, rows]`, and W `[input, output]`, to be transposed.
    fn describe(shape: Shape) -> Result<Self> {
        let Shape { rows, output, input, stride, epilogue } = shape;
        let layout = |rows: usize, columns: usize, stride: usize| {
            result::create_matrix_layout(Type::CUDA_R_16BF, rows as u64, columns as u64, stride as i64)
        };
        let plan = Self {
            description: result::create_matmul_desc(Compute::CUBLAS_COMPUTE_32F, Type::CUDA_R_32F)?,
            weight: layout(input, output, input)?,
            x: layout(input, rows, input)?,
            y: layout(output, rows, stride)?,
            algorithm: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
        };
        plan.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &1_i32)?;
        plan.set(Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue.for_library())?;
        Ok(plan)
    }

    /// Returns the library's best algorithm that needs only the given reduction schemes, or any if none are given;
    /// `None` if it has no algorithm.
    #[expect(unsafe_code, reason = "a call of the library by pointers")]
    fn choose_algorithm(
        &self,
        handle: sys::cublasLtHandle_t,
        reductions: Option<u32>,
    ) -> Result<Option<sys::cublasLtMatmulAlgo_t>> {
        let preferences = Preferences::new()?;
        preferences.set(Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &(WORKSPACE_BYTES as u64))?;
        if let Some(reductions) = reductions {
            preferences.set(Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions)?;
        }
        // SAFETY: the pointers are those of this plan and of the preferences, which live until the call returns.
        let found = unsafe {
            result::get_matmul_algo_heuristic(
                handle,
                self.description,
                self.weight,
                self.x,
                self.y,
                self.y,
                preferences.0,
            )
        };
        match found {
            Ok(found) => Ok(Some(found.algo)),
            // Also the bindings' error where the library returned no algorithm.
            Err(CublasError(Status::CUBLAS_STATUS_NOT_SUPPORTED)) => Ok(None),
            Err(error) => Err(Error::Product(error)),
        }
    }

    fn set_bias(&self, address: u64) -> Result<()> {
        self.set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &address)
    }

    #[expect(unsafe_code, reason = "a call of the library by pointers")]
    fn set<T>(&self, attribute: Attribute, value: &T) -> Result<()> {
        // SAFETY: the library copies as many bytes as the size that it is passed.
        let set = unsafe {
            result::set_matmul_desc_attribute(
                self.description,
                attribute,
                ptr::from_ref(value).cast(),
                size_of::<T>(),
            )
        };
        set.map_err(Error::Product)
    }
}

impl Drop for Plan {
    #[expect(unsafe_code, reason = "calls of the library by pointers")]
    fn drop(&mut self) {
        // SAFETY: only this plan uses them. There is nothing to do about an error here.
        unsafe {
            let _ = result::destroy_matmul_desc(self.description);
            for layout in [self.weight, self.x, self.y] {
                let _ = result::destroy_matrix_layout(layout);
            }
        }
    }
}

/// What an algorithm must satisfy.
struct Preferences(sys::cublasLtMatmulPreference_t);

impl Preferences {
    fn new() -> Result<Self> {
        Ok(Self(result::create_matmul_pref()?))
    }

    #[expect(unsafe_code, reason = "a call of the library by pointers")]
    fn set<T>(&self, attribute: Preference, value: &T) -> Result<()> {
        // SAFETY: the library copies as many bytes as the size that it is passed.
        let set = unsafe {
            result::set_matmul_pref_attribute(self.0, attribute, ptr::from_ref(value).cast(), size_of::<T>())
        };
        set.map_err(Error::Product)
    }
}

impl Drop for Preferences {
    #[expect(unsafe_code, reason = "a call of the library by pointers")]
    fn drop(&mut self) {
        // SAFETY: nothing else uses them. There is nothing to do about an error here.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}
