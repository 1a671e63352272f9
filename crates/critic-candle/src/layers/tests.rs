//! Single operators against golden data from torch.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};

use super::{Activation, Norm, Rope, Rotation};
use crate::{device::ComputeDevice, rows::Rows};

fn golden() -> HashMap<String, Tensor> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reference/ops.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn assert_close(what: &str, got: &Tensor, wanted: &Tensor, tolerance: f32) {
    assert_eq!(got.dims(), wanted.dims(), "{what}");
    let worst = (got - wanted).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    let worst: f32 = worst.to_scalar().unwrap();
    assert!(worst <= tolerance, "{what} differs by {worst:e}");
}

/// `x`, of any shape, as rows; the last dimension becomes the columns.
fn rows(x: &Tensor) -> Rows {
    ComputeDevice::Kernels.rows(&x.flatten_to(x.rank() - 2).unwrap()).unwrap()
}

/// The output of `layer` for `x`, in the shape of `x`.
fn forward(x: &Tensor, layer: impl Fn(&Rows, &mut Rows) -> candle_core::Result<()>) -> Tensor {
    // The buffer starts with NaN, so that values left from before would be noticed.
    let mut y = Rows::Floats { floats: vec![f32::NAN; 7], columns: 7 };
    layer(&rows(x), &mut y).unwrap();
    y.into_tensor().unwrap().reshape(x.shape()).unwrap()
}

#[test]
fn activations() {
    let golden = golden();
    let x = golden["act_in"].reshape((1, golden["act_in"].elem_count())).unwrap();
    for (name, activation) in
        [("gelu_erf", Activation::Gelu), ("gelu_tanh", Activation::GeluTanh), ("silu", Activation::Silu)]
    {
        let mut activated = rows(&x);
        activation.forward(&mut activated).unwrap();
        let got = activated.into_tensor().unwrap().reshape(golden["act_in"].shape()).unwrap();
        assert_close(name, &got, &golden[&format!("act_{name}")], 1e-6);
    }
}

#[test]
fn norms() {
    let golden = golden();
    let (weight, bias, x) = (golden["norm_w"].clone(), golden["norm_b"].clone(), &golden["norm_in"]);
    let layer = Norm { weight: weight.clone(), bias: Some(bias), epsilon: 1e-6, gpu: None };
    let got = forward(x, |x, y| layer.forward(x, y));
    assert_close("layer norm", &got, &golden["norm_layernorm_1e-6"], 2e-6);
    let rms = Norm { weight, bias: None, epsilon: 1e-6, gpu: None };
    let got = forward(x, |x, y| rms.forward(x, y));
    assert_close("RMS norm", &got, &golden["norm_rms_1e-6"], 2e-6);
}

#[test]
fn rotation() {
    let golden = golden();
    for size in [16, 20, 64, 128] {
        let positions: Vec<u32> =
            golden[&format!("rope{size}_pos")].to_dtype(DType::U32).unwrap().to_vec1().unwrap();
        let largest = positions.iter().max().unwrap();
        let rotation_at = |device: ComputeDevice| match Rope::new((size, *largest as usize + 1), 1e6, &device)
            .unwrap()
        {
            Rope::Host { cos, sin, head_size } => Rotation::at(&positions, (&cos, &sin), head_size).unwrap(),
            Rope::Gpu(_) => unreachable!("no GPU was asked for"),
        };
        let x = &golden[&format!("rope{size}_in")]; // [T, D]
        let wanted = &golden[&format!("rope{size}_out")];
        // With the kernel, then with tensors.
        for (mut turned, device) in
            [(rows(x), ComputeDevice::Kernels), (Rows::Tensor(x.clone()), ComputeDevice::Tensors(DType::F32))]
        {
            let rotation = rotation_at(device);
            rotation.apply(&mut turned, 1).unwrap();
            assert_close(&format!("rope of {size}"), &turned.into_tensor().unwrap(), wanted, 1e-4);
        }
    }
}
