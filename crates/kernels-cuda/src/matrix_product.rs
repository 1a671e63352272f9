//! Products of many rows by cuBLASLt: y = x W^T, with a bias and GELU in the same pass where they are requested.

use std::{
    collections::{HashMap, hash_map::Entry},
    ffi::c_void,
    mem::size_of,
    ptr,
    sync::{Arc, Mutex, PoisonError},
};

use cudarc::{
    cublaslt::{
        result,
        sys::{
            self, cublasComputeType_t as Compute, cublasLtEpilogue_t as Epilogue,
            cublasLtMatmulDescAttributes_t as Attribute, cublasLtMatmulPreferenceAttributes_t as Preference,
            cudaDataType as Type,
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

/// How the library may combine parts of a sum: in f32 alone (`CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE`). In place, or
/// in the output's type, it would round them to bf16.
const REDUCTIONS: u32 = 2;

/// What happens to a product before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum After {
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

/// A product's sizes: rows of x, outputs and inputs of W, the distance between rows of y, and what happens to the
/// product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) output: usize,
    pub(crate) input: usize,
    pub(crate) stride: usize,
    pub(crate) after: After,
}

/// The library's handle, its workspace and the plans.
pub(crate) struct MatrixProducts {
    handle: sys::cublasLtHandle_t,
    workspace: CudaSlice<u8>,
    stream: Arc<CudaStream>,
    /// The plan of each shape so far: requesting one from the library takes longer than many products. Used by one
    /// thread, see `Gpu`.
    plans: Mutex<HashMap<Shape, Plan>>,
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

    /// Computes y, whose rows of `output` numbers begin `stride` numbers apart, from x `[rows, input]`, the weight
    /// `[output, input]` and the bias `[output]`, which must be given if `shape.after` uses it.
    #[expect(unsafe_code, reason = "a call of the library by pointers")]
    pub(crate) fn run(
        &self,
        shape: Shape,
        (x, weight, bias): (&CudaView<'_, bf16>, &CudaView<'_, bf16>, Option<&CudaView<'_, bf16>>),
        y: &mut CudaViewMut<'_, bf16>,
    ) -> Result<()> {
        assert!(x.len() >= shape.rows * shape.input, "rows of a product");
        assert!(weight.len() >= shape.output * shape.input, "weights of a product");
        assert!(shape.stride >= shape.output, "rows of outputs that overlap");
        assert!(y.len() >= (shape.rows - 1) * shape.stride + shape.output, "outputs of a product");
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= PLANS {
            plans.clear();
        }
        let plan = match plans.entry(shape) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Plan::new(self.handle, shape)?),
        };
        if matches!(shape.after, After::Bias | After::AddBias | After::BiasGelu) {
            let bias = bias.filter(|bias| bias.len() >= shape.output).expect("a bias for each output");
            let address = aligned(bias.device_ptr(&self.stream).0);
            plan.set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &address)?;
        }
        let (alpha, beta) =
            (1.0_f32, if matches!(shape.after, After::Add | After::AddBias) { 1.0_f32 } else { 0.0 });
        let (weight, x) = (aligned(weight.device_ptr(&self.stream).0), aligned(x.device_ptr(&self.stream).0));
        let (y, workspace) =
            (aligned(y.device_ptr_mut(&self.stream).0), self.workspace.device_ptr(&self.stream).0);
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
    /// Creates the plan of a shape. The library's matrices are column-major: for it, x is `[input, rows]`, y
    /// `[output, rows]`, and W `[input, output]`, to be transposed.
    #[expect(unsafe_code, reason = "calls of the library by pointers")]
    fn new(handle: sys::cublasLtHandle_t, shape: Shape) -> Result<Self> {
        let Shape { rows, output, input, stride, after } = shape;
        let layout = |rows: usize, columns: usize, stride: usize| {
            result::create_matrix_layout(Type::CUDA_R_16BF, rows as u64, columns as u64, stride as i64)
        };
        let mut plan = Self {
            description: result::create_matmul_desc(Compute::CUBLAS_COMPUTE_32F, Type::CUDA_R_32F)?,
            weight: layout(input, output, input)?,
            x: layout(input, rows, input)?,
            y: layout(output, rows, stride)?,
            algorithm: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
        };
        plan.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &1_i32)?;
        let epilogue = match after {
            After::Replace | After::Add => Epilogue::CUBLASLT_EPILOGUE_DEFAULT,
            After::Bias | After::AddBias => Epilogue::CUBLASLT_EPILOGUE_BIAS,
            After::BiasGelu => Epilogue::CUBLASLT_EPILOGUE_GELU_BIAS,
        };
        plan.set(Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
        let preference = result::create_matmul_pref()?;
        // SAFETY: the pointers are those of this plan; the preference is destroyed in any case.
        let found = unsafe {
            let bytes = WORKSPACE_BYTES as u64;
            result::set_matmul_pref_attribute(
                preference,
                Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                ptr::from_ref(&bytes).cast(),
                size_of::<u64>(),
            )
            .and_then(|()| {
                result::set_matmul_pref_attribute(
                    preference,
                    Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                    ptr::from_ref(&REDUCTIONS).cast(),
                    size_of::<u32>(),
                )
            })
            .and_then(|()| {
                result::get_matmul_algo_heuristic(
                    handle,
                    plan.description,
                    plan.weight,
                    plan.x,
                    plan.y,
                    plan.y,
                    preference,
                )
            })
        };
        // SAFETY: nothing else uses the preference.
        unsafe { result::destroy_matmul_pref(preference) }?;
        plan.algorithm = found?.algo;
        Ok(plan)
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
