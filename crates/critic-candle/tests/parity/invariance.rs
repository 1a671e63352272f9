//! A sequence alone, in a batch, in small chunks or in scattered blocks always matches its golden data, with the
//! same bits.

use candle_core::{Device, Tensor};
use critic::{Backend, Batch, TokenId, Visual, Wants};
use critic_candle::{Checkpoint, Options, Precision, Source, WeightForm};

use crate::{
    golden::{Golden, assert_close, case, cases, checkpoint, checkpoint_in, floats, path},
    runner::{Sequence, argmax, decode, encode_raw, log_softmax, logits_of},
};

/// Runs sequences together, with at most `step` tokens of each per step, and returns the rows of logits of each.
fn run_together(model: &str, names: &[&str], step: usize, stride: u32) -> Vec<Vec<Vec<f32>>> {
    run_on(&mut checkpoint(model), (model, names), step, stride)
}

fn run_on(
    checkpoint: &mut Checkpoint,
    (model, names): (&str, &[&str]),
    step: usize,
    stride: u32,
) -> Vec<Vec<Vec<f32>>> {
    let mut sequences: Vec<Sequence> = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let encoded = encode_raw(checkpoint.processor.as_ref(), &case(model, name));
            Sequence::new(encoded, index as u32, stride)
        })
        .collect();
    let mut rows: Vec<Vec<Vec<f32>>> = vec![Vec::new(); names.len()];
    while rows.iter().any(|rows| rows.len() < 32) {
        // A sequence with 32 rows leaves the batch; the others continue.
        let live: Vec<usize> = (0..names.len()).filter(|index| rows[*index].len() < 32).collect();
        let batch = Batch { chunks: live.iter().map(|index| sequences[*index].chunk(step)).collect() };
        let mut logits = logits_of(checkpoint.backend.forward(&batch)).into_iter();
        for (index, chunk) in live.into_iter().zip(&batch.chunks) {
            sequences[index].advance(chunk.tokens.len());
            if chunk.wants == Wants::Logits {
                let row = logits.next().unwrap();
                sequences[index].push(TokenId(argmax(&row) as u32));
                rows[index].push(row);
            }
        }
        assert!(logits.next().is_none());
    }
    rows
}

fn check(model: &str, names: &[&str], step: usize, stride: u32) {
    for (name, rows) in names.iter().zip(run_together(model, names, step, stride)) {
        let golden = Golden::open(&case(model, name).file);
        let ids: Vec<i64> = rows.iter().map(|row| argmax(row) as i64).collect();
        assert_eq!(ids, golden.integers("greedy_ids"), "{name}, steps of {step}");
        let logprobs: Vec<f32> =
            rows.iter().zip(&ids).map(|(row, id)| log_softmax(row)[*id as usize]).collect();
        assert_close(&format!("{name}, steps of {step}"), &logprobs, &golden.floats("greedy_logprobs"), 1e-4);
    }
}

#[test]
fn a_ragged_batch_gives_every_member_its_own_goldens() {
    let batch = cases().into_iter().find(|case| case.kind == "batch").unwrap();
    let members: Vec<&str> = batch.members.iter().map(String::as_str).collect();
    assert_eq!(members.len(), 4);
    check(&batch.model, &members, 512, 8);
}

#[test]
fn small_chunks_cut_images_and_text_anywhere() {
    for step in [1, 7, 33] {
        check("tiny56", &["square", "two_turns", "video4", "multi_image"], step, 4);
    }
}

fn bits(rows: &[Vec<f32>]) -> Vec<u32> {
    rows.iter().flatten().map(|float| float.to_bits()).collect()
}

#[test]
fn logits_have_the_same_bits_alone_and_among_32_others() {
    const NAMES: [&str; 4] = ["square", "two_turns", "video4", "multi_image"];
    let names: Vec<&str> = NAMES.iter().cycle().take(33).copied().collect();
    let alone = NAMES.map(|name| bits(&run_together("tiny56", &[name], 4096, 1).remove(0)));
    for (index, rows) in run_together("tiny56", &names, 19, 40).iter().enumerate() {
        assert!(bits(rows) == alone[index % NAMES.len()], "sequence {index}, {}", names[index]);
    }
}

#[test]
fn logits_have_the_same_bits_however_the_prompt_is_cut() {
    let whole = bits(&run_together("tiny56", &["square"], 4096, 1).remove(0));
    for step in [1, 31, 32, 50] {
        assert!(bits(&run_together("tiny56", &["square"], step, 3).remove(0)) == whole, "steps of {step}");
    }
}

#[test]
fn the_last_token_has_the_same_bits_where_no_other_is_wanted() {
    check_last_tokens(&mut checkpoint("tiny56"), |found, wanted| assert!(bits(found) == bits(wanted)));
    // In 16 bits the library cuts a product by the number of its rows, and so its sums.
    let source = Source::Folder(path("models/tiny56"));
    let options = Options { precision: Some(Precision::Bf16), ..Options::new(source) };
    check_last_tokens(&mut Checkpoint::load(&options).unwrap(), |found, wanted| {
        assert_eq!(found.len(), wanted.len());
        assert_close("in bf16", &found.concat(), &wanted.concat(), 0.1);
    });
}

fn check_last_tokens(checkpoint: &mut Checkpoint, same: impl Fn(&[Vec<f32>], &[Vec<f32>])) {
    const NAMES: [&str; 3] = ["square", "two_turns", "multi_image"];
    let sequence = |(index, name): (u32, &str)| {
        Sequence::new(encode_raw(checkpoint.processor.as_ref(), &case("tiny56", name)), index, 4)
    };
    let sequences: Vec<Sequence> = (0..).zip(NAMES).map(sequence).collect();
    let mut batch = Batch { chunks: sequences.iter().map(|sequence| sequence.chunk(4096)).collect() };
    let hidden = checkpoint.backend.hidden(&batch).unwrap();
    let ends = batch.chunks.iter().scan(0, |end, chunk| {
        *end += chunk.tokens.len() as u32;
        Some(*end - 1)
    });
    let ends = Tensor::new(ends.collect::<Vec<u32>>(), &Device::Cpu).unwrap();
    let last = checkpoint.backend.logits(&hidden.index_select(&ends, 0).unwrap()).unwrap();
    let wanted = last.to_vec2::<f32>().unwrap();
    let mut read = |batch: &Batch| logits_of(checkpoint.backend.forward(batch));
    same(&read(&batch), &wanted);
    // Nothing is wanted of one of them, then nothing of all, for which their keys and values are written all the same.
    batch.chunks[1].wants = Wants::Nothing;
    same(&read(&batch), &[wanted[0].clone(), wanted[2].clone()]);
    batch.chunks.iter_mut().for_each(|chunk| chunk.wants = Wants::Nothing);
    assert!(read(&batch).is_empty());
    batch.chunks.iter_mut().for_each(|chunk| chunk.wants = Wants::Logits);
    same(&read(&batch), &wanted);
}

#[test]
fn quantised_weights_give_the_same_bits_alone_in_company_and_in_pieces() {
    const NAMES: [&str; 3] = ["square", "two_turns", "multi_image"];
    for form in [WeightForm::Q8, WeightForm::Q4] {
        let run = |names: &[&str], step, stride| {
            run_on(&mut checkpoint_in("tiny56", form), ("tiny56", names), step, stride)
        };
        let alone = NAMES.map(|name| bits(&run(&[name], 4096, 1).remove(0)));
        let names: Vec<&str> = NAMES.iter().cycle().take(9).copied().collect();
        for (index, rows) in run(&names, 19, 40).iter().enumerate() {
            assert!(bits(rows) == alone[index % NAMES.len()], "{form:?}: {}", names[index]);
        }
        assert!(bits(&run(&["square"], 1, 3).remove(0)) == alone[0], "{form:?}: steps of 1");
    }
}

#[test]
fn logits_have_the_same_bits_after_a_beginning_that_another_sequence_computed() {
    let mut checkpoint = checkpoint("tiny56");
    let encoded = encode_raw(checkpoint.processor.as_ref(), &case("tiny56", "two_turns"));
    let blocks = (encoded.visuals[0].start + encoded.visuals[0].length).div_ceil(32);
    assert!(encoded.tokens.len() > blocks * 32 + 1);
    let mut other = Sequence::new(encoded, 0, 2);
    let mut run = |sequence: &mut Sequence, step| loop {
        let batch = Batch { chunks: vec![sequence.chunk(step)] };
        let logits = logits_of(checkpoint.backend.forward(&batch));
        sequence.advance(batch.token_count());
        if let Some(first) = logits.into_iter().next() {
            return bits(&decode(&mut checkpoint.backend, sequence, first, 8));
        }
    };
    run(&mut other, 77);
    let alone = run(&mut other.ending_otherwise(blocks, 100), 4096);
    let after = run(&mut other.ending_otherwise(blocks, 200).after(&other, blocks), 4096);
    assert!(after == alone);
}

#[test]
fn features_have_the_same_bits_alone_and_among_other_images() {
    let tiny: &[&str] = &["square", "multi_image", "video4", "wide_3x1"];
    for (model, names) in [("tiny56", tiny), ("geo384", &["square_336", "multi_image"])] {
        let checkpoint = checkpoint(model);
        let visuals: Vec<Visual> = names
            .iter()
            .flat_map(|name| encode_raw(checkpoint.processor.as_ref(), &case(model, name)).visuals)
            .collect();
        let visuals: Vec<&Visual> = visuals.iter().collect();
        let model = checkpoint.backend.model();
        let together = model.features(&visuals).unwrap();
        assert_eq!(together.len(), visuals.len());
        for (visual, together) in visuals.iter().zip(&together) {
            let alone = model.features(&[visual]).unwrap().remove(0);
            assert!(bits(&[floats(&alone)]) == bits(&[floats(together)]));
        }
    }
}
