//! Values that are not finite affect only the request that produced them, not later sequences in the same blocks.

use candle_core::{Device as Host, Tensor};
use critic::{Backend, Batch, StepOutput};
use critic_candle::{Checkpoint, Device, Options, Precision, Source, WeightForm};

use crate::{
    copy::Copy,
    emulated,
    golden::case,
    runner::{Sequence, decode, encode_raw, logits_of},
};

const PROJECTOR: &str = "multi_modal_projector.linear_2.weight";

/// A checkpoint with finite weights whose features of images are not finite.
fn sick(device: Device, precision: Option<Precision>, weights: WeightForm) -> Checkpoint {
    let copy = Copy::of("tiny56");
    copy.edit_weights(|mut tensors| {
        let shape = tensors[PROJECTOR].shape().clone();
        tensors.insert(PROJECTOR.into(), Tensor::full(3e38f32, shape, &Host::Cpu).unwrap());
        tensors
    });
    let options = Options {
        device,
        precision,
        weights,
        cache_bytes: Some(64 << 20),
        ..Options::new(Source::Folder(copy.path().into()))
    };
    Checkpoint::load(&options).unwrap()
}

/// The sequence of a case, in the cache's first blocks.
fn sequence(checkpoint: &Checkpoint, name: &str) -> Sequence {
    Sequence::new(encode_raw(checkpoint.processor.as_ref(), &case("tiny56", name)), 0, 1)
}

/// The rows of logits of a text prompt and of eight tokens that continue it.
fn answer(checkpoint: &mut Checkpoint) -> Vec<Vec<f32>> {
    let mut text = sequence(checkpoint, "text_only");
    let prompt = text.chunk(4096);
    let length = prompt.tokens.len();
    let first = logits_of(checkpoint.backend.forward(&Batch { chunks: vec![prompt] })).remove(0);
    text.advance(length);
    decode(&mut checkpoint.backend, &mut text, first, 8)
}

fn check(checkpoint: &mut Checkpoint) {
    let before = answer(checkpoint);
    assert!(before.iter().flatten().all(|logit| logit.is_finite()));
    for _ in 0..2 {
        let image = sequence(checkpoint, "square").chunk(4096);
        let outputs = checkpoint.backend.forward(&Batch { chunks: vec![image] }).unwrap();
        assert!(!outputs.iter().all(StepOutput::is_finite), "{outputs:?}");
        checkpoint.backend.forget_features();
        // This runs in the blocks that the image's step wrote into, of which the last is filled token by token.
        assert_eq!(answer(checkpoint), before);
    }
}

#[test]
fn no_blocks_hand_on_what_is_no_number_on_the_processor() {
    for precision in [Precision::F32, Precision::Bf16] {
        check(&mut sick(Device::Cpu, Some(precision), WeightForm::Stored));
    }
    check(&mut sick(Device::Cpu, None, WeightForm::Q8));
}

#[test]
fn no_blocks_hand_on_what_is_no_number_on_a_gpu() {
    let _open = emulated::gpu();
    check(&mut sick(Device::Cuda(0), None, WeightForm::Stored));
}
