//! Decoders that are split over ranks, compared with the reference.

use candle_core::Tensor;
use critic::{Backend, Batch, Critic, Encoded, Logits, TokenId, Wants};
use critic_candle::{Checkpoint, GgufForm, Options, Precision, Source, WeightForm, convert, load};

use crate::{
    cases::check_greedy,
    copy::Copy,
    golden::{Golden, assert_close, case, cases, path},
    runner::{Sequence, argmax, encode_raw, log_softmax, logits_of},
};

/// The reference's tolerance for log-probabilities of prompts.
const PROMPT_LOGPROBS: f32 = 2e-4;

fn options(model: &str) -> Options {
    Options::new(Source::Folder(path(&format!("models/{model}"))))
}

fn split(options: &Options, ranks: usize) -> Critic {
    load(&Options { ranks, ..options.clone() }).unwrap()
}

/// Runs a prompt in chunks of `step` tokens, then decodes greedily. Returns the logits after each chunk but the
/// last, with the position of the chunk's last token, and 32 rows of logits from the end of the prompt on.
fn run(backend: &mut dyn Backend, encoded: Encoded, step: usize) -> (Vec<(usize, Logits)>, Vec<Logits>) {
    let mut sequence = Sequence::new(encoded, 0, 1);
    let (mut prompt, mut end) = (Vec::new(), 0);
    while !sequence.is_prefilled() {
        let mut chunk = sequence.chunk(step);
        chunk.wants = Wants::Logits;
        end += chunk.tokens.len();
        sequence.advance(chunk.tokens.len());
        let logits = logits_of(backend.forward(&Batch { chunks: vec![chunk] })).remove(0);
        prompt.push((end - 1, logits));
    }
    let mut rows = vec![prompt.pop().unwrap().1];
    while rows.len() < 32 {
        sequence.push(TokenId(argmax(&rows[rows.len() - 1]) as u32));
        rows.push(logits_of(backend.forward(&Batch { chunks: vec![sequence.chunk(1)] })).remove(0));
        sequence.advance(1);
    }
    (prompt, rows)
}

/// The logits after one of the reference's prompts.
fn answer(checkpoint: &Checkpoint, critic: &mut Critic) -> Vec<f32> {
    let encoded = encode_raw(checkpoint.processor.as_ref(), &case("tiny56", "square"));
    let prompt = Batch { chunks: vec![Sequence::new(encoded, 0, 1).chunk(4096)] };
    logits_of(critic.backend.forward(&prompt)).remove(0)
}

/// Checks all cases of `model` on `critic`; `checkpoint` encodes the prompts.
fn check(model: &str, critic: &mut Critic, checkpoint: &Checkpoint) {
    let mut ran = 0;
    for case in cases().iter().filter(|case| case.model == model && case.kind == "single") {
        let (golden, what) = (Golden::open(&case.file), format!("{model}/{}", case.name));
        let encoded = encode_raw(checkpoint.processor.as_ref(), case);
        let (prompt, greedy) = run(critic.backend.as_mut(), encoded, 61);
        let (ids, wanted) = (golden.integers("input_ids"), golden.floats("prompt_logprobs"));
        let (found, wanted): (Vec<f32>, Vec<f32>) = prompt
            .iter()
            .map(|(place, row)| (log_softmax(row)[ids[place + 1] as usize], wanted[*place]))
            .unzip();
        assert_close(&format!("{what}: prompt_logprobs"), &found, &wanted, PROMPT_LOGPROBS);
        check_greedy(&what, &greedy, &golden);
        ran += 1;
    }
    assert!(ran >= 7, "only {ran} cases of {model}");
}

#[test]
fn two_ranks_equal_the_reference() {
    for model in ["tiny56", "geo384"] {
        let options = options(model);
        check(model, &mut split(&options, 2), &Checkpoint::load(&options).unwrap());
    }
}

/// A checkpoint with each of the reference's two key heads twice: the same decoder, with four key heads for four
/// ranks.
fn with_four_key_heads() -> Copy {
    let copy = Copy::of("tiny56");
    copy.edit_json("config.json", |config| config["text_config"]["num_key_value_heads"] = 4.into());
    copy.edit_weights(|tensors| {
        let doubled = |(name, tensor): (String, Tensor)| {
            let of_keys =
                name.contains("language_model") && (name.contains("k_proj") || name.contains("v_proj"));
            if !of_keys {
                return (name, tensor);
            }
            let heads = tensor.chunk(2, 0).unwrap();
            (name, Tensor::cat(&[&heads[0], &heads[0], &heads[1], &heads[1]], 0).unwrap())
        };
        tensors.into_iter().map(doubled).collect()
    });
    copy
}

#[test]
fn four_ranks_equal_the_reference() {
    let copy = with_four_key_heads();
    let options = Options::new(Source::Folder(copy.path().into()));
    check("tiny56", &mut split(&options, 4), &Checkpoint::load(&options).unwrap());
}

/// The output projection has 64 inputs: each of two parts is one block, each of four would be half a block.
#[test]
fn weights_in_blocks_are_split_between_blocks_or_not_at_all() {
    let copy = with_four_key_heads();
    let options = Options::new(Source::Folder(copy.path().into()));
    convert(&options.source, &copy.path().join("text.gguf"), GgufForm::Q8_0).unwrap();
    copy.edit_weights(|mut tensors| {
        tensors.retain(|name, _| !name.starts_with("language_model"));
        tensors
    });
    let checkpoint = Checkpoint::load(&options).unwrap();
    let first = |mut critic: Critic| log_softmax(&answer(&checkpoint, &mut critic));
    let (two, one) = (first(split(&options, 2)), first(split(&options, 1)));
    assert_close("two ranks", &two, &one, 0.5);
    let refused = load(&Options { ranks: 4, ..options.clone() }).err().unwrap().to_string();
    assert!(refused.contains("blocks of 32") && refused.contains("attn_output"), "{refused}");
}

#[test]
fn sums_over_ranks_have_the_same_bits_however_a_prompt_is_cut() {
    let options = options("tiny56");
    let (checkpoint, mut critic) = (Checkpoint::load(&options).unwrap(), split(&options, 2));
    let mut bits = |step| {
        let encoded = encode_raw(checkpoint.processor.as_ref(), &case("tiny56", "two_turns"));
        let (_, rows) = run(critic.backend.as_mut(), encoded, step);
        rows.into_iter().flatten().map(f32::to_bits).collect::<Vec<u32>>()
    };
    let whole = bits(4096);
    for step in [1, 50] {
        assert!(bits(step) == whole, "steps of {step}");
    }
}

/// Split decoders in bf16, and with weights quantised at load to eight and four bits, give results close to those
/// of one rank.
#[test]
fn other_precisions_and_forms_can_be_split() {
    let whole = options("tiny56");
    let half = Options { precision: Some(Precision::Bf16), ..whole.clone() };
    let in_form = |weights| Options { weights, ..whole.clone() };
    // `down` has 176 inputs, which are split at 88, so that the scales of its blocks differ from those on one rank.
    let kinds = [(half, 0.9), (in_form(WeightForm::Q8), 0.5), (in_form(WeightForm::Q4), 6.0)];
    for (options, tolerance) in kinds {
        let checkpoint = Checkpoint::load(&options).unwrap();
        let first = |mut critic: Critic| log_softmax(&answer(&checkpoint, &mut critic));
        let what = format!("{:?} {:?}", options.precision, options.weights);
        assert_close(&what, &first(split(&options, 2)), &first(split(&options, 1)), tolerance);
    }
}

/// Runs on two emulated GPUs, with steps of single tokens as well.
#[cfg(feature = "nccl")]
#[test]
fn two_gpus_are_as_near_to_one_as_sixteen_bits_can_be() {
    let _open = crate::emulated::gpu();
    for (form, worst) in [(WeightForm::Stored, 0.3), (WeightForm::Q8, 0.6)] {
        let options = Options {
            device: critic_candle::Device::Cuda(0),
            weights: form,
            cache_bytes: Some(64 << 20),
            ..options("tiny56")
        };
        let checkpoint = Checkpoint::load(&options).unwrap();
        let rows = |mut critic: Critic| {
            let encoded = encode_raw(checkpoint.processor.as_ref(), &case("tiny56", "square"));
            run(critic.backend.as_mut(), encoded, 512).1
        };
        let (two, one) = (rows(split(&options, 2)), rows(split(&options, 1)));
        assert_close(&format!("{form:?}"), &log_softmax(&two[0]), &log_softmax(&one[0]), worst);
        let written = |rows: &[Vec<f32>]| rows.iter().map(|row| argmax(row)).collect::<Vec<_>>();
        assert_eq!(written(&two)[..4], written(&one)[..4], "{form:?}");
    }
}

/// Without the feature `nccl`, several GPUs are refused, with an error that names the feature.
#[cfg(not(feature = "nccl"))]
#[test]
fn gpus_of_a_program_without_nccl_are_refused() {
    let _open = crate::emulated::gpu();
    let options = Options { device: critic_candle::Device::Cuda(0), ranks: 2, ..options("tiny56") };
    let refused = std::error::Error::source(&load(&options).err().unwrap()).map(ToString::to_string);
    // On a machine with one real GPU, the missing second GPU is reported first.
    let refused = refused.unwrap_or_default();
    assert!(refused.contains("feature `nccl`") || refused.contains("no GPU 1"), "{refused}");
}

#[test]
fn a_split_that_cannot_be_says_why() {
    let complaint = |options: Options| load(&options).err().unwrap().to_string();
    let refused = complaint(Options { ranks: 4, ..options("tiny56") });
    assert!(refused.contains("num_key_value_heads is 2; expected a multiple of 4"), "{refused}");
    let refused = complaint(Options { ranks: 0, ..options("tiny56") });
    assert!(refused.contains("expected at least 1"), "{refused}");
}
