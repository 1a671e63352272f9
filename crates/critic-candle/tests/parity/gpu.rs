//! The model on a GPU compared with the reference, within the differences of torch's own 16-bit arithmetic.

use critic::{Backend, Batch};
use critic_candle::{Checkpoint, Device, Options, Source, WeightForm};

use crate::{
    change::change,
    copy::Copy,
    emulated,
    golden::{cases, path},
    runner::{Sequence, decode, encode_raw, logits_of},
};

/// Whether the tests run on a real GPU instead of an emulated one.
fn is_real() -> bool {
    std::env::var_os("GAVEL_REAL_GPU").is_some()
}

/// The most tokens of a tested prompt; fewer on an emulated GPU, which is slow.
fn longest() -> usize {
    if is_real() { 2500 } else { 1500 }
}

fn on_gpu(model: &str, form: WeightForm) -> Checkpoint {
    let _open = emulated::gpu();
    let source = Source::Folder(path(&format!("models/{model}")));
    let options = Options {
        device: Device::Cuda(0),
        weights: form,
        cache_bytes: Some(64 << 20),
        ..Options::new(source)
    };
    Checkpoint::load(&options).unwrap()
}

#[test]
fn a_gpu_is_as_near_to_the_reference_as_sixteen_bits_can_be() {
    for model in ["tiny56", "tiny56-native", "geo384"] {
        let (mut checkpoint, reference) =
            (on_gpu(model, WeightForm::Stored), model.trim_end_matches("-native"));
        let found = change(&mut checkpoint, reference, ..=longest());
        let near = found.worst > 0.0 && found.worst < 0.5 && found.mean() < 0.05;
        assert!(near && found.unchanged_share() > 0.9, "{model}: {found:?}");
        eprintln!("{model}: {found:?}");
        // For longer prompts, no bound is known yet for the differences of 16-bit arithmetic.
        if is_real() {
            let longer = change(&mut checkpoint, reference, longest() + 1..);
            eprintln!("{model}, longer prompts: {longer:?}");
        }
    }
}

#[test]
fn quantised_weights_change_as_much_on_a_gpu_as_on_the_processor() {
    for (form, worst, mean, unchanged) in [(WeightForm::Q8, 1.0, 0.12, 0.85), (WeightForm::Q4, 9.0, 0.9, 0.5)]
    {
        let change = change(&mut on_gpu("tiny56", form), "tiny56", ..=longest());
        let small = change.worst > 0.0 && change.worst < worst && change.mean() < mean;
        assert!(small && change.unchanged_share() > unchanged, "{form:?}: {change:?}");
        eprintln!("{form:?}: {change:?}");
    }
}

/// A step of single tokens runs without a graph at first, is captured as a graph the second time, and runs as that
/// graph later.
#[test]
fn steps_that_run_as_graphs_have_the_bits_of_those_that_do_not() {
    let case = cases().into_iter().find(|case| case.model == "tiny56" && case.kind == "single").unwrap();
    let answer = |checkpoint: &mut Checkpoint| {
        let encoded = encode_raw(checkpoint.processor.as_ref(), &case);
        let mut sequence = Sequence::new(encoded, 0, 1);
        let prompt = Batch { chunks: vec![sequence.chunk(4096)] };
        let first = logits_of(checkpoint.backend.forward(&prompt)).remove(0);
        sequence.advance(sequence.chunk(4096).tokens.len());
        decode(&mut checkpoint.backend, &mut sequence, first, 12)
    };
    let mut checkpoint = on_gpu("tiny56", WeightForm::Stored);
    let first = answer(&mut checkpoint);
    for _ in 0..2 {
        assert_eq!(answer(&mut checkpoint), first);
    }
}

/// A decoder for whose sizes there are no kernels is refused before its weights are read, on a single GPU too.
#[test]
fn sizes_that_no_kernel_can_process_are_refused_by_their_keys() {
    let _open = emulated::gpu();
    for (key, value, wanted) in [
        ("head_dim", 136, "head_dim is 136; expected at most 128 on a GPU"),
        ("head_dim", 20, "head_dim is 20; expected a multiple of 8 on a GPU"),
        ("hidden_size", 60, "hidden_size is 60; expected a multiple of 8 on a GPU"),
        ("intermediate_size", 172, "intermediate_size is 172; expected a multiple of 8 on a GPU"),
        ("num_attention_heads", 34, "num_attention_heads is 34; expected at most 16 for each"),
    ] {
        let copy = Copy::of("tiny56");
        copy.edit_json("config.json", |config| {
            config["text_config"]["head_dim"] = 16.into();
            config["text_config"][key] = value.into();
        });
        let source = Source::Folder(copy.path().into());
        let refused = Checkpoint::load(&Options { device: Device::Cuda(0), ..Options::new(source) });
        let refused = refused.err().unwrap().to_string();
        assert!(refused.contains(wanted), "{refused}");
    }
}
