//! A sequence alone, in a batch, in small chunks, or in scattered blocks: always its own goldens.

use critic::{Backend, Batch, TokenId};

use crate::{
    golden::{Golden, assert_close, case, cases, checkpoint},
    runner::{Sequence, argmax, encode_raw, log_softmax},
};

/// Runs sequences together, `step` prompt tokens of each at a time, and returns the rows of logits of each.
fn run_together(model: &str, names: &[&str], step: usize, stride: u32) -> Vec<Vec<Vec<f32>>> {
    let mut checkpoint = checkpoint(model);
    let mut sequences: Vec<Sequence> = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let encoded = encode_raw(&checkpoint.processor, &case(model, name));
            Sequence::new(encoded, index as u32, stride)
        })
        .collect();
    let mut rows: Vec<Vec<Vec<f32>>> = vec![Vec::new(); names.len()];
    while rows.iter().any(|rows| rows.len() < 32) {
        // A sequence that has written its 32 tokens leaves; the others go on.
        let live: Vec<usize> = (0..names.len()).filter(|index| rows[*index].len() < 32).collect();
        let batch = Batch { chunks: live.iter().map(|index| sequences[*index].chunk(step)).collect() };
        let mut logits = checkpoint.backend.forward(&batch).unwrap().into_iter();
        for (index, chunk) in live.into_iter().zip(&batch.chunks) {
            sequences[index].advance(chunk.tokens.len());
            if chunk.wants_logits {
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
fn small_chunks_cut_pictures_and_text_anywhere() {
    for step in [1, 7, 33] {
        check("tiny56", &["square", "two_turns", "video4", "multi_image"], step, 4);
    }
}
