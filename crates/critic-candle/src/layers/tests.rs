//! Single operators against their goldens from torch.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};

use super::{Activation, LayerNorm, RmsNorm, Rope};

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

#[test]
fn activations() {
    let golden = golden();
    for (name, activation) in
        [("gelu_erf", Activation::Gelu), ("gelu_tanh", Activation::GeluTanh), ("silu", Activation::Silu)]
    {
        let got = activation.forward(&golden["act_in"]).unwrap();
        assert_close(name, &got, &golden[&format!("act_{name}")], 1e-6);
    }
}

#[test]
fn norms() {
    let golden = golden();
    let (weight, bias, x) = (golden["norm_w"].clone(), golden["norm_b"].clone(), &golden["norm_in"]);
    let layer = LayerNorm { weight: weight.clone(), bias, epsilon: 1e-6 };
    assert_close("layer norm", &layer.forward(x).unwrap(), &golden["norm_layernorm_1e-6"], 2e-6);
    let rms = RmsNorm { weight, epsilon: 1e-6 };
    assert_close("RMS norm", &rms.forward(x).unwrap(), &golden["norm_rms_1e-6"], 2e-6);
}

#[test]
fn rotation() {
    let golden = golden();
    for size in [16, 20, 64, 128] {
        let positions = golden[&format!("rope{size}_pos")].to_dtype(DType::U32).unwrap();
        let largest = positions.to_vec1::<u32>().unwrap().into_iter().max().unwrap();
        let rope = Rope::new((size, largest as usize + 1), 1e6, &Device::Cpu, DType::F32).unwrap();
        let x = golden[&format!("rope{size}_in")].unsqueeze(1).unwrap(); // [T, 1 head, D]
        let got = Rope::apply(&x, &rope.rows(&positions).unwrap()).unwrap().squeeze(1).unwrap();
        assert_close(&format!("rope of {size}"), &got, &golden[&format!("rope{size}_out")], 1e-4);
    }
}
