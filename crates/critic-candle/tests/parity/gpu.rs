//! The model on a GPU, beside the reference: within what torch's own arithmetic in 16 bits differs by.

use critic::{Backend, Batch};
use critic_candle::{Checkpoint, Device, Options, Source, WeightForm};

use crate::{
    change::change,
    emulated,
    golden::{cases, path},
    runner::{Sequence, decode, encode_raw},
};

/// Prompts on an emulated GPU, which is slow.
const LONGEST: usize = 1500;

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
        let change =
            change(&mut on_gpu(model, WeightForm::Stored), model.trim_end_matches("-native"), LONGEST);
        let near = change.worst > 0.0 && change.worst < 0.5 && change.mean() < 0.05;
        assert!(near && change.unchanged_share() > 0.9, "{model}: {change:?}");
        eprintln!("{model}: {change:?}");
    }
}

#[test]
fn quantised_weights_change_as_much_on_a_gpu_as_on_the_processor() {
    for (form, worst, mean, unchanged) in [(WeightForm::Q8, 1.0, 0.12, 0.85), (WeightForm::Q4, 9.0, 0.9, 0.5)]
    {
        let change = change(&mut on_gpu("tiny56", form), "tiny56", LONGEST);
        let small = change.worst > 0.0 && change.worst < worst && change.mean() < mean;
        assert!(small && change.unchanged_share() > unchanged, "{form:?}: {change:?}");
        eprintln!("{form:?}: {change:?}");
    }
}

/// The first time a step of single tokens comes up it runs as it is, the second time it is captured, then it is run again.
#[test]
fn steps_that_run_as_graphs_have_the_bits_of_those_that_do_not() {
    let case = cases().into_iter().find(|case| case.model == "tiny56" && case.kind == "single").unwrap();
    let answer = |checkpoint: &mut Checkpoint| {
        let encoded = encode_raw(checkpoint.processor.as_ref(), &case);
        let mut sequence = Sequence::new(encoded, 0, 1);
        let first =
            checkpoint.backend.forward(&Batch { chunks: vec![sequence.chunk(4096)] }).unwrap().remove(0);
        sequence.advance(sequence.chunk(4096).tokens.len());
        decode(&mut checkpoint.backend, &mut sequence, first, 12)
    };
    let mut checkpoint = on_gpu("tiny56", WeightForm::Stored);
    let first = answer(&mut checkpoint);
    for _ in 0..2 {
        assert_eq!(answer(&mut checkpoint), first);
    }
}
