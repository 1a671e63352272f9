//! Every single-sequence case, on its checkpoint and on the native twin: tiles, features, logits, greedy text.

use candle_core::{IndexOp, Tensor};
use critic::{Encoded, Visual};
use critic_candle::Checkpoint;
use sha2::{Digest, Sha256};

use crate::{
    golden::{Case, Golden, assert_close, cases, checkpoint, floats},
    runner::{Sequence, argmax, decode, encode_messages, encode_raw, log_softmax, prefill},
};

const FEATURES: f32 = 5e-5;
const ROW_SUMS: f32 = 1e-3;
const LOGITS: f32 = 1e-4;
const PROMPT_LOGPROBS: f32 = 2e-4;

#[test]
fn tiny56_equals_the_reference() {
    run_all("tiny56", false);
}

#[test]
fn tiny56_native_equals_the_reference() {
    run_all("tiny56", true);
}

#[test]
fn geo384_equals_the_reference() {
    run_all("geo384", false);
}

fn run_all(model: &str, native: bool) {
    let mut ran = 0;
    for case in cases().iter().filter(|case| case.model == model && case.kind == "single") {
        let folder = if native { case.native_model.as_deref().unwrap() } else { model };
        run(&mut checkpoint(folder), case, native);
        ran += 1;
    }
    assert!(ran >= 7, "only {ran} cases of {model}");
}

/// One case on one checkpoint.
struct Check<'a> {
    what: String,
    case: &'a Case,
    golden: Golden,
    native: bool,
}

fn run(checkpoint: &mut Checkpoint, case: &Case, native: bool) {
    let what = format!("{}/{}{}", case.model, case.name, if native { " (native)" } else { "" });
    let check = Check { what, case, golden: Golden::open(&case.file), native };
    let encoded = encode_raw(checkpoint.processor.as_ref(), case);
    check.tokens(checkpoint, &encoded);
    let (images, videos): (Vec<&Visual>, Vec<&Visual>) =
        encoded.visuals.iter().partition(|_| !case.images.is_empty());
    check.visuals(checkpoint, "image", &images);
    check.visuals(checkpoint, "video", &videos);
    check_text(&check.what, checkpoint, encoded, &check.golden);
}

impl Check<'_> {
    fn tokens(&self, checkpoint: &Checkpoint, encoded: &Encoded) {
        let what = &self.what;
        let wanted = self.golden.integers("input_ids");
        assert_eq!(encoded.tokens.len(), wanted.len(), "{what}: number of tokens");
        for (index, (token, wanted)) in encoded.tokens.iter().zip(wanted).enumerate() {
            let is_placeholder = encoded
                .visuals
                .iter()
                .any(|visual| (visual.start..visual.start + visual.length).contains(&index));
            if !(self.native && is_placeholder) {
                assert_eq!(i64::from(token.0), wanted, "{what}: token {index}");
            }
        }
        if !self.native
            && let Some(by_messages) = encode_messages(checkpoint.processor.as_ref(), self.case)
        {
            assert_eq!(by_messages.tokens, encoded.tokens, "{what}: the chat format writes the prompt");
        }
    }

    fn visuals(&self, checkpoint: &Checkpoint, kind: &str, visuals: &[&Visual]) {
        let (what, golden, case) = (&self.what, &self.golden, self.case);
        let (hashes, counts) = match kind {
            "image" => (&case.image_tile_sha256, &case.image_token_counts),
            _ => (&case.video_tile_sha256, &case.video_token_counts),
        };
        assert_eq!(
            &visuals.iter().map(|visual| visual.length).collect::<Vec<_>>(),
            counts,
            "{what}: {kind} counts"
        );
        let found: Vec<String> = visuals.iter().flat_map(|visual| tile_hashes(visual)).collect();
        assert_eq!(&found, hashes, "{what}: {kind} tiles");
        if visuals.is_empty() {
            return;
        }
        let model = checkpoint.backend.model();
        let tiles: Vec<&[u8]> = visuals
            .iter()
            .flat_map(|visual| (0..visual.tiles.count()).map(|index| visual.tiles.tile(index)))
            .collect();
        let pixels = model.pixels(&tiles).unwrap();
        if golden.has(&format!("{kind}_pixel_values_tile0")) {
            let wanted = golden.floats(&format!("{kind}_pixel_values_tile0"));
            assert_close(&format!("{what}: pixels"), &floats(&pixels.get(0).unwrap()), &wanted, 1e-6);
        }
        let states = model.hidden_states(&pixels).unwrap();
        let first: Vec<Tensor> = states.iter().map(|state| state.get(0).unwrap()).collect();
        let first = Tensor::stack(&first, 0).unwrap(); // [layers + 1, P, E]
        let features = states.last().unwrap(); // [N, P, E]
        let projected = model.project(features).unwrap(); // [N, P, C]
        let rows = golden
            .has(&format!("{kind}_feature_rows"))
            .then(|| golden.tensor(&format!("{kind}_feature_rows")));
        for (name, tensor) in
            [("hidden_states_tile0", &first), ("vision_features", features), ("projected", &projected)]
        {
            match rows {
                None => check_tensor(what, &format!("{kind}_{name}"), tensor, golden, FEATURES),
                Some(rows) => {
                    let rows = rows.to_dtype(candle_core::DType::U32).unwrap();
                    let picked = tensor.index_select(&rows, 1).unwrap();
                    check_tensor(what, &golden_rows_name(golden, kind, name), &picked, golden, FEATURES);
                }
            }
        }
        let packed = model.features(visuals).unwrap();
        check_packed(what, kind, &Tensor::cat(&packed, 0).unwrap(), golden);
    }
}

fn golden_rows_name(golden: &Golden, kind: &str, name: &str) -> String {
    let rows = format!("{kind}_{name}_rows");
    if golden.has(&rows) { rows } else { format!("{kind}_{name}") }
}

fn check_packed(what: &str, kind: &str, packed: &Tensor, golden: &Golden) {
    if golden.has(&format!("{kind}_packed")) {
        check_tensor(what, &format!("{kind}_packed"), packed, golden, FEATURES);
        return;
    }
    let rows = golden.tensor(&format!("{kind}_packed_rows")).to_dtype(candle_core::DType::U32).unwrap();
    let picked = packed.index_select(&rows, 0).unwrap();
    check_tensor(what, &format!("{kind}_packed_at_rows"), &picked, golden, FEATURES);
    check_tensor(what, &format!("{kind}_packed_rowsum"), &packed.sum(1).unwrap(), golden, ROW_SUMS);
}

fn check_tensor(what: &str, name: &str, got: &Tensor, golden: &Golden, tolerance: f32) {
    assert_eq!(got.dims(), golden.tensor(name).dims(), "{what}: shape of {name}");
    assert_close(&format!("{what}: {name}"), &floats(got), &golden.floats(name), tolerance);
}

/// The first 16 hex digits of the SHA-256 of each tile as planes, as in the golden data.
fn tile_hashes(visual: &Visual) -> Vec<String> {
    let tiles = &visual.tiles;
    let hash = |index: usize| {
        let tile = tiles.tile(index);
        let planes: Vec<u8> =
            (0..3).flat_map(|channel| tile.iter().skip(channel).step_by(3).copied()).collect();
        Sha256::digest(planes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    };
    (0..tiles.count()).map(hash).collect()
}

fn check_text(what: &str, checkpoint: &mut Checkpoint, encoded: Encoded, golden: &Golden) {
    let count = encoded.tokens.len();
    let mut sequence = Sequence::new(encoded, 0, 1);
    let hidden = prefill(&mut checkpoint.backend, &mut sequence, 512);
    let logits = checkpoint.backend.logits(&hidden).unwrap(); // [T, V]
    let last = logits.i(count - 8..).unwrap();
    assert_close(&format!("{what}: logits_last"), &floats(&last), &golden.floats("logits_last"), LOGITS);
    let rows: Vec<Vec<f32>> = logits.to_vec2().unwrap();
    let ids = golden.integers("input_ids");
    let logprobs: Vec<f32> =
        (0..count - 1).map(|index| log_softmax(&rows[index])[ids[index + 1] as usize]).collect();
    assert_close(
        &format!("{what}: prompt_logprobs"),
        &logprobs,
        &golden.floats("prompt_logprobs"),
        PROMPT_LOGPROBS,
    );
    check_greedy(what, &decode(&mut checkpoint.backend, &mut sequence, rows[count - 1].clone(), 32), golden);
}

pub(crate) fn check_greedy(what: &str, rows: &[Vec<f32>], golden: &Golden) {
    let ids: Vec<i64> = rows.iter().map(|row| argmax(row) as i64).collect();
    assert_eq!(ids, golden.integers("greedy_ids"), "{what}: greedy ids");
    let logprobs: Vec<Vec<f32>> = rows.iter().map(|row| log_softmax(row)).collect();
    let chosen: Vec<f32> = logprobs.iter().zip(&ids).map(|(row, id)| row[*id as usize]).collect();
    assert_close(&format!("{what}: greedy_logprobs"), &chosen, &golden.floats("greedy_logprobs"), LOGITS);
    let top_ids = golden.integers("greedy_top_ids");
    let top: Vec<f32> = top_ids
        .chunks(20)
        .zip(&logprobs)
        .flat_map(|(ids, row)| ids.iter().map(|id| row[*id as usize]))
        .collect();
    assert_close(
        &format!("{what}: greedy_top_logprobs"),
        &top,
        &golden.floats("greedy_top_logprobs"),
        LOGITS,
    );
}
