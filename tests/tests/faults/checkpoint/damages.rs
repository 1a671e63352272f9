//! What checkpoints can have wrong, and what must become of each.

use std::{fs, iter, path::Path};

use safetensors::Dtype;
use serde_json::{Value, json};

use super::files::{
    SHARD, Written, change, data_start, edit, edit_header, edit_json, gguf, gguf_tensor, gguf_text, index,
    put_header, replace, rewrite, weights,
};

/// What must become of a checkpoint.
pub(super) enum Expected {
    /// The last line that is said names these.
    Refused(&'static [&'static str]),
    /// It does no harm.
    Served,
}

use Expected::{Refused, Served};

pub(super) const NORM: &str = "language_model.model.norm.weight";
const GATE: &str = "language_model.model.layers.0.mlp.gate_proj.weight";

type Damage = (&'static str, fn(&Path), Expected);

const FILE: Expected = Refused(&["model.safetensors"]);
const NAMED: Expected = Refused(&["model.safetensors", NORM]);
const CONFIG: Expected = Refused(&["config.json"]);
const TOKENIZER: Expected = Refused(&["tokenizer.json"]);
const GGUF: Expected = Refused(&["model.gguf"]);

fn cut(folder: &Path, length: impl FnOnce(&[u8]) -> usize) {
    edit(&weights(folder), |bytes| bytes.truncate(length(bytes)));
}

fn header_length(folder: &Path, length: u64) {
    edit(&weights(folder), |bytes| bytes[..8].copy_from_slice(&length.to_le_bytes()));
}

fn of_type(folder: &Path, dtype: Dtype, width: usize) {
    replace(folder, NORM, (dtype, &vec![1; width]));
}

fn filled(folder: &Path, number: f32) {
    change(folder, NORM, |tensor| tensor.bytes[8..12].copy_from_slice(&number.to_le_bytes()));
}

fn all(folder: &Path, number: f32) {
    rewrite(folder, |tensors| {
        for Written { bytes, .. } in tensors {
            bytes.chunks_exact_mut(4).for_each(|chunk| chunk.copy_from_slice(&number.to_le_bytes()));
        }
    });
}

fn config(folder: &Path, change: impl FnOnce(&mut Value)) {
    edit_json(&folder.join("config.json"), change);
}

fn tokenizer(folder: &Path, change: impl FnOnce(&mut Value)) {
    edit_json(&folder.join("tokenizer.json"), change);
}

/// The end of the first tensor of the data.
fn first_end(bytes: &[u8]) -> usize {
    let header: Value = serde_json::from_slice(&bytes[8..data_start(bytes)]).unwrap();
    let ends = header.as_object().unwrap().values().filter(|tensor| tensor["data_offsets"][0] == 0);
    data_start(bytes) + ends.map(|tensor| tensor["data_offsets"][1].as_u64().unwrap()).max().unwrap() as usize
}

fn shift(folder: &Path, ends: [i64; 2]) {
    edit_header(folder, |header| {
        let offsets = header[NORM]["data_offsets"].as_array_mut().unwrap();
        for (offset, by) in offsets.iter_mut().zip(ends) {
            *offset = (offset.as_i64().unwrap() + by).into();
        }
    });
}

pub(super) const DAMAGES: &[Damage] = &[
    ("weights of 0 bytes", |folder| cut(folder, |_| 0), FILE),
    ("weights of 4 bytes", |folder| cut(folder, |_| 4), FILE),
    ("weights of 8 bytes", |folder| cut(folder, |_| 8), FILE),
    (
        "weights cut a byte before the end of the header",
        |folder| cut(folder, |all| data_start(all) - 1),
        FILE,
    ),
    ("weights cut at the end of the header", |folder| cut(folder, data_start), FILE),
    (
        "weights cut a byte before the end of the first tensor",
        |folder| cut(folder, |all| first_end(all) - 1),
        FILE,
    ),
    ("weights cut a byte after it", |folder| cut(folder, |all| first_end(all) + 1), FILE),
    ("weights cut in the middle", |folder| cut(folder, |all| all.len() / 2), FILE),
    ("weights that lack their last byte", |folder| cut(folder, |all| all.len() - 1), FILE),
    ("a header of no bytes", |folder| header_length(folder, 0), FILE),
    ("a header of 2^64 - 1 bytes", |folder| header_length(folder, u64::MAX), FILE),
    ("a header of 10^8 + 1 bytes", |folder| header_length(folder, 100_000_001), FILE),
    ("a header that is no UTF-8", |folder| put_header(folder, b"{\"\xff\": 1}"), FILE),
    ("a header that is no JSON", |folder| put_header(folder, b"no JSON at all"), FILE),
    ("a header of 10^8 spaces", |folder| put_header(folder, &vec![b' '; 100_000_000]), FILE),
    (
        "a header 10^5 deep",
        |folder| put_header(folder, &[b"{\"a\":".repeat(100_000), b"1".to_vec()].concat()),
        FILE,
    ),
    ("a tensor that is there twice", twice, NAMED),
    ("tensors that overlap", |folder| shift(folder, [-4, -4]), FILE),
    ("a tensor that ends before it begins", |folder| shift(folder, [4, -400]), NAMED),
    ("bytes that belong to no tensor", |folder| edit(&weights(folder), |bytes| bytes.extend([0; 64])), FILE),
    (
        "a shape whose product is more than 2^64",
        |folder| edit_header(folder, |header| header[NORM]["shape"] = json!([1u64 << 40, 1u64 << 40])),
        NAMED,
    ),
    ("weights in F64", |folder| of_type(folder, Dtype::F64, 8), NAMED),
    ("weights in F8", |folder| of_type(folder, Dtype::F8_E4M3, 1), NAMED),
    ("weights in I8", |folder| of_type(folder, Dtype::I8, 1), NAMED),
    ("weights in BOOL", |folder| of_type(folder, Dtype::BOOL, 1), NAMED),
    (
        "a tensor of one dimension too many",
        |folder| change(folder, NORM, |tensor| tensor.shape.push(1)),
        NAMED,
    ),
    (
        "a tensor that is transposed",
        |folder| change(folder, GATE, |tensor| tensor.shape.reverse()),
        Refused(&[GATE]),
    ),
    ("a tensor that is a row short", short, Refused(&[GATE])),
    (
        "a tensor that is missing",
        |folder| rewrite(folder, |tensors| tensors.retain(|tensor| tensor.name != NORM)),
        Refused(&[NORM]),
    ),
    ("a tensor too many", extra, Served),
    ("one weight that is no number", |folder| filled(folder, f32::NAN), NAMED),
    ("one weight that is infinite", |folder| filled(folder, f32::INFINITY), NAMED),
    ("weights that are all zero", |folder| all(folder, 0.0), Served),
    ("weights that are all denormal", |folder| all(folder, 1e-40), Served),
    ("the names of tower and language model exchanged", exchanged, Refused(&["tensor"])),
    (
        "an index that names a missing shard",
        |folder| index(folder, &json!({ NORM: "absent.safetensors" })),
        Refused(&["absent.safetensors"]),
    ),
    (
        "an index that names one file for many tensors",
        |folder| index(folder, &json!({ NORM: SHARD, GATE: SHARD })),
        Served,
    ),
    (
        "an index that leads out of the folder",
        |folder| index(folder, &json!({ NORM: "../../../../../../etc/passwd" })),
        Refused(&["index.json", "etc/passwd"]),
    ),
    (
        "an index that names a path from the root",
        |folder| index(folder, &json!({ NORM: "/etc/passwd" })),
        Refused(&["index.json", "etc/passwd"]),
    ),
    // The cache of the hub is made of such links.
    ("weights behind a link that leads out of the folder", linked, Served),
    ("no weights", |folder| fs::remove_file(weights(folder)).unwrap(), FILE),
    (
        "a tokenizer that is cut",
        |folder| edit(&folder.join("tokenizer.json"), |bytes| bytes.truncate(bytes.len() / 2)),
        TOKENIZER,
    ),
    (
        "a tokenizer that is no object",
        |folder| fs::write(folder.join("tokenizer.json"), b"[1]").unwrap(),
        TOKENIZER,
    ),
    ("a vocabulary larger than the embedding", larger, TOKENIZER),
    ("a vocabulary smaller than the embedding", smaller, Served),
    (
        "a control token that is missing",
        |folder| tokenizer(folder, |json| drop(json["added_tokens"].as_array_mut().unwrap().remove(1))),
        TOKENIZER,
    ),
    (
        "a pattern of the tokenizer that goes back without end",
        |folder| {
            tokenizer(folder, |json| {
                json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] =
                    "(?:H|H)*?(?:(?:m+)+)+$".into();
            })
        },
        Served,
    ),
    (
        "a configuration that is cut",
        |folder| edit(&folder.join("config.json"), |bytes| bytes.truncate(bytes.len() / 2)),
        CONFIG,
    ),
    (
        "a configuration of 10^9 layers",
        |folder| config(folder, |json| json["text_config"]["num_hidden_layers"] = 1_000_000_000.into()),
        Refused(&[]),
    ),
    (
        "a configuration of no heads",
        |folder| config(folder, |json| json["text_config"]["num_attention_heads"] = 0.into()),
        CONFIG,
    ),
    (
        "heads that are no multiple of those of keys",
        |folder| config(folder, |json| json["text_config"]["num_attention_heads"] = 3.into()),
        CONFIG,
    ),
    (
        "no grids for pictures",
        |folder| config(folder, |json| json["image_grid_pinpoints"] = json!([])),
        CONFIG,
    ),
    (
        "a grid of no size",
        |folder| config(folder, |json| json["image_grid_pinpoints"] = json!([[0, 56]])),
        CONFIG,
    ),
    (
        "a grid of 10^9 pixels a side",
        |folder| {
            config(folder, |json| json["image_grid_pinpoints"] = json!([[1_000_000_008, 1_000_000_008]]))
        },
        CONFIG,
    ),
    (
        "an activation that is not known",
        |folder| config(folder, |json| json["text_config"]["hidden_act"] = "magic".into()),
        CONFIG,
    ),
    ("GGUF of version 0", |folder| gguf(folder, (0, 0, 0), b""), GGUF),
    ("GGUF of version 4", |folder| gguf(folder, (4, 0, 0), b""), GGUF),
    ("GGUF of 2^63 tensors", |folder| gguf(folder, (3, 1 << 63, 0), b""), GGUF),
    ("GGUF of 2^63 keys", |folder| gguf(folder, (3, 0, 1 << 63), b""), GGUF),
    ("GGUF with a text of 2^40 bytes", |folder| gguf(folder, (3, 0, 1), &(1u64 << 40).to_le_bytes()), GGUF),
    ("GGUF with lists 65 deep", nested, GGUF),
    (
        "GGUF with a tensor of five dimensions",
        |folder| gguf(folder, (3, 1, 0), &gguf_tensor(&[2; 5], 0, 0)),
        GGUF,
    ),
    (
        "GGUF with a tensor behind the end",
        |folder| gguf(folder, (3, 1, 0), &gguf_tensor(&[32], 0, 1 << 40)),
        GGUF,
    ),
    (
        "GGUF with a tensor that is not aligned",
        |folder| gguf(folder, (3, 1, 0), &[gguf_tensor(&[32], 0, 1), vec![0; 512]].concat()),
        GGUF,
    ),
    (
        "GGUF with a tensor of no known type",
        |folder| gguf(folder, (3, 1, 0), &[gguf_tensor(&[32], 99, 0), vec![0; 512]].concat()),
        Refused(&["tensor"]),
    ),
];

/// The same name twice in the text of the header.
fn twice(folder: &Path) {
    edit(&weights(folder), |bytes| {
        let start = data_start(bytes);
        let header = String::from_utf8(bytes[8..start].to_vec()).unwrap();
        let of_norm: Value = serde_json::from_str::<Value>(&header).unwrap()[NORM].take();
        let header = format!("{{\"{NORM}\":{of_norm},{}", header.trim_start().strip_prefix('{').unwrap());
        let data = bytes.split_off(start);
        *bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat();
    });
}

fn short(folder: &Path) {
    change(folder, GATE, |tensor| {
        let row = tensor.bytes.len() / tensor.shape[0];
        tensor.shape[0] -= 1;
        tensor.bytes.truncate(row * tensor.shape[0]);
    });
}

fn extra(folder: &Path) {
    rewrite(folder, |tensors| {
        let more = Written { name: "more".into(), dtype: Dtype::F32, shape: vec![2], bytes: vec![0; 8] };
        tensors.push(more);
    });
}

fn exchanged(folder: &Path) {
    rewrite(folder, |tensors| {
        for tensor in tensors {
            tensor.name = match tensor.name.strip_prefix("language_model.") {
                Some(rest) => format!("vision_tower.{rest}"),
                None => tensor.name.replace("vision_tower.", "language_model."),
            };
        }
    });
}

fn linked(folder: &Path) {
    let elsewhere = folder.with_extension("elsewhere");
    fs::rename(weights(folder), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, weights(folder)).unwrap();
}

fn larger(folder: &Path) {
    tokenizer(folder, |json| {
        let token = json!({
            "id": 5000, "content": "<|more|>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true
        });
        json["added_tokens"].as_array_mut().unwrap().push(token);
    });
}

fn smaller(folder: &Path) {
    tokenizer(folder, |json| {
        let merges = json["model"]["merges"].as_array_mut().unwrap();
        let last = merges.pop().unwrap();
        let joined: String = last.as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
        json["model"]["vocab"].as_object_mut().unwrap().remove(&joined).unwrap();
    });
}

/// A key whose value is a list of lists of lists.
fn nested(folder: &Path) {
    const ARRAY: u32 = 9;
    let list = [ARRAY.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec()].concat();
    let lists: Vec<u8> = iter::repeat_n(list, 65).flatten().collect();
    gguf(folder, (3, 0, 1), &[&gguf_text("key")[..], &ARRAY.to_le_bytes(), &lists].concat());
}
