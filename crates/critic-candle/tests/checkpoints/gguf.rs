//! Checkpoints with weights in GGUF files: the same model in every type, and the errors for wrong files.
//!
//! The files are written by candle, whose reader is not used here.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    path::Path,
};

use candle_core::{
    DType, Device, Tensor,
    quantized::{
        GgmlDType, QTensor,
        gguf_file::{self, Value},
    },
};
use critic_candle::{Checkpoint, GgufForm, Options, Source, WeightForm, convert, inspect};

use crate::copy::{Copy, answer, reference, worst_difference};

/// The age of a projector file of llama.cpp, which determines its names.
#[derive(Clone, Copy, PartialEq)]
enum Age {
    Old,
    New,
}

/// llama.cpp's name of a tensor of the published Hugging Face layout, by the replacements of its converters.
fn renamed(name: &str, age: Age) -> String {
    let newline = if age == Age::Old { "model.image_newline" } else { "v.image_newline" };
    if name == "image_newline" {
        return newline.into();
    }
    let (expand, contract) = if age == Age::Old { ("ffn_down", "ffn_up") } else { ("ffn_up", "ffn_down") };
    let pairs = [
        ("language_model.lm_head.", "output."),
        ("language_model.model.embed_tokens.", "token_embd."),
        ("language_model.model.norm.", "output_norm."),
        ("language_model.model.layers.", "blk."),
        ("post_attention_layernorm", "ffn_norm"),
        ("input_layernorm", "attn_norm"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("vision_tower.vision_model.encoder.layers.", "v.blk."),
        ("vision_tower.vision_model.post_layernorm", "v.post_ln"),
        ("vision_tower.vision_model.embeddings.", "v."),
        ("patch_embedding", "patch_embd"),
        ("position_embedding", "position_embd"),
        ("layer_norm", "ln"),
        ("self_attn.out_proj", "attn_out"),
        ("mlp.fc1", expand),
        ("mlp.fc2", contract),
        ("self_attn.", "attn_"),
        ("_proj.", "."),
        ("multi_modal_projector.linear_1.", "mm.0."),
        ("multi_modal_projector.linear_2.", "mm.2."),
    ];
    pairs.iter().fold(name.to_owned(), |name, (ours, theirs)| name.replace(ours, theirs))
}

fn is_text(name: &str) -> bool {
    name.starts_with("language_model.")
}

/// Tensors by their names in a reference checkpoint.
type Tensors = HashMap<String, Tensor>;

fn tensors(model: &str) -> Tensors {
    candle_core::safetensors::load(reference(model).join("model.safetensors"), &Device::Cpu).unwrap()
}

/// Writes a GGUF file with tensors of given types.
fn write(path: &Path, architecture: &str, tensors: &[(String, QTensor)]) {
    let architecture = Value::String(architecture.into());
    // Values of several kinds, which the reader skips.
    let tokens = Value::Array(vec![Value::String("a".into()), Value::String("b".into())]);
    let epsilon = Value::F32(1e-6);
    let metadata = [("general.architecture", &architecture), ("tokens", &tokens), ("epsilon", &epsilon)];
    let tensors: Vec<(&str, &QTensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut File::create(path).unwrap(), &metadata, &tensors).unwrap();
}

/// The tensors that `belongs` selects, under llama.cpp's names; matrices in `ggml_type` where rows are whole
/// blocks, others in F32.
fn quantised(
    tensors: &Tensors,
    ggml_type: GgmlDType,
    age: Age,
    belongs: impl Fn(&str) -> bool,
) -> Vec<(String, QTensor)> {
    let own: BTreeMap<&String, &Tensor> = tensors.iter().filter(|(name, _)| belongs(name)).collect();
    let quantise = |(name, tensor): (&String, &Tensor)| {
        let whole = tensor.dims().last().unwrap().is_multiple_of(ggml_type.block_size());
        let fits = ggml_type.block_size() == 1 || (tensor.rank() == 2 && whole);
        let ggml_type = if fits { ggml_type } else { GgmlDType::F32 };
        (renamed(name, age), QTensor::quantize(tensor, ggml_type).unwrap())
    };
    own.into_iter().map(quantise).collect()
}

/// A copy of `model` with its weights in GGUF files of one type: one for the language model, one for tower and
/// projector.
fn in_gguf(model: &str, ggml_type: GgmlDType, age: Age) -> Copy {
    let (copy, tensors) = (Copy::of(model), tensors(model));
    fs::remove_file(copy.weights()).unwrap();
    write(&copy.path().join("model.gguf"), "qwen2", &quantised(&tensors, ggml_type, age, is_text));
    let other = quantised(&tensors, ggml_type, age, |name| !is_text(name));
    write(&copy.path().join("mmproj.gguf"), "clip", &other);
    copy
}

fn answer_in(copy: &Copy, weights: WeightForm) -> Vec<f32> {
    let options = Options { weights, ..Options::new(Source::Folder(copy.path().into())) };
    answer(&mut Checkpoint::load(&options).unwrap())
}

fn bits(logits: Vec<f32>) -> Vec<u32> {
    logits.into_iter().map(f32::to_bits).collect()
}

#[test]
fn floats_in_gguf_give_the_bits_that_they_give_in_safetensors() {
    let types = [(GgmlDType::F32, DType::F32), (GgmlDType::F16, DType::F16), (GgmlDType::BF16, DType::BF16)];
    for (ggml_type, dtype) in types {
        let copy = Copy::of("tiny56");
        copy.edit_weights(|tensors| {
            tensors.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(dtype).unwrap())).collect()
        });
        let wanted = bits(answer_in(&copy, WeightForm::Stored));
        for age in [Age::Old, Age::New] {
            let found = answer_in(&in_gguf("tiny56", ggml_type, age), WeightForm::Stored);
            assert_eq!(bits(found), wanted, "{ggml_type:?}");
        }
    }
}

#[test]
fn a_tower_may_stay_in_safetensors_and_names_may_be_native() {
    let copy = Copy::of("tiny56");
    let wanted = bits(answer_in(&copy, WeightForm::Stored));
    let text = quantised(&tensors("tiny56"), GgmlDType::F32, Age::New, is_text);
    write(&copy.path().join("model.gguf"), "qwen2", &text);
    assert!(copy.complaint().contains("expected one file that has it"), "{}", copy.complaint());
    copy.edit_weights(|mut tensors| {
        tensors.retain(|name, _| !is_text(name));
        tensors
    });
    assert_eq!(bits(answer_in(&copy, WeightForm::Stored)), wanted);

    let native = Copy::of("tiny56-native");
    let wanted = bits(answer_in(&native, WeightForm::Stored));
    convert(&Source::Folder(native.path().into()), &native.path().join("model.gguf"), GgufForm::F32).unwrap();
    native.edit_weights(|mut tensors| {
        tensors.retain(|name, _| {
            name.contains("vision_tower") || name.contains("mm_") || name.contains("newline")
        });
        tensors
    });
    assert_eq!(bits(answer_in(&native, WeightForm::Stored)), wanted);
}

/// Dequantised weights equal the writer's exactly, and products with quantised blocks are close to products with
/// these.
#[test]
fn quantised_types_are_the_numbers_that_they_stand_for() {
    for ggml_type in [GgmlDType::Q8_0, GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q5_0, GgmlDType::Q5_1] {
        let stored = in_gguf("tiny56", ggml_type, Age::New);
        let meant = Copy::of("tiny56");
        meant.edit_weights(|tensors| {
            let back = quantised(&tensors, ggml_type, Age::New, |_| true);
            let back: HashMap<String, QTensor> = back.into_iter().collect();
            let number = |name: &String| back[&renamed(name, Age::New)].dequantize(&Device::Cpu).unwrap();
            tensors.keys().map(|name| (name.clone(), number(name))).collect()
        });
        let wanted = answer_in(&meant, WeightForm::F32);
        assert_eq!(bits(answer_in(&stored, WeightForm::F32)), bits(wanted.clone()), "{ggml_type:?}");
        let worst = worst_difference(&answer_in(&stored, WeightForm::Stored), &wanted);
        assert!(worst < 0.6, "{ggml_type:?}: logits differ by {worst}");
    }
}

#[test]
fn a_converted_checkpoint_keeps_its_tied_head_and_its_blocks() {
    let tied = Copy::of("tiny56");
    tied.edit_json("config.json", |config| config["text_config"]["tie_word_embeddings"] = true.into());
    tied.edit_weights(|mut tensors| {
        tensors.retain(|name, _| !name.ends_with("lm_head.weight"));
        tensors
    });
    for (form, name) in [(GgufForm::Q8_0, "Q8_0"), (GgufForm::Iq4Nl, "IQ4_NL"), (GgufForm::F16, "F16")] {
        let file = tied.path().join("model.gguf");
        convert(&Source::Folder(tied.path().into()), &file, form).unwrap();
        let folder = Copy::of("tiny56");
        fs::copy(tied.path().join("config.json"), folder.path().join("config.json")).unwrap();
        fs::rename(&file, folder.path().join("model.gguf")).unwrap();
        folder.edit_weights(|mut tensors| {
            tensors.retain(|name, _| !is_text(name));
            tensors
        });
        let wanted = answer_in(&folder, WeightForm::F32);
        let worst = worst_difference(&answer_in(&folder, WeightForm::Stored), &wanted);
        assert!(worst < 0.6, "{name}: logits differ by {worst}");
        let described = inspect(&Source::Folder(folder.path().into())).unwrap().to_string();
        assert!(described.contains(name) && described.contains("tied head"), "{described}");
        assert!(
            convert(&Source::Folder(folder.path().into()), &folder.path().join("model.gguf"), form)
                .unwrap_err()
                .to_string()
                .contains("there already")
        );
    }
}

/// The error message for a language model's file whose tensors were changed by `edit`.
fn complaint_of(edit: impl FnOnce(&mut Vec<(String, QTensor)>)) -> String {
    let copy = in_gguf("tiny56", GgmlDType::Q8_0, Age::New);
    let mut text = quantised(&tensors("tiny56"), GgmlDType::Q8_0, Age::New, is_text);
    edit(&mut text);
    write(&copy.path().join("model.gguf"), "qwen2", &text);
    copy.complaint()
}

#[test]
fn a_wrong_file_names_itself_and_the_tensor() {
    const NAME: &str = "blk.1.ffn_up.weight";
    let at = |tensors: &[(String, QTensor)]| tensors.iter().position(|(name, _)| name == NAME).unwrap();
    let missing = complaint_of(|tensors| drop(tensors.remove(at(tensors))));
    assert!(missing.contains(&format!("{NAME} is missing")), "{missing}");
    let shape = complaint_of(|tensors| {
        let other = Tensor::zeros((8, 64), DType::F32, &Device::Cpu).unwrap();
        let place = at(tensors);
        tensors[place].1 = QTensor::quantize(&other, GgmlDType::Q8_0).unwrap();
    });
    assert!(shape.contains(NAME) && shape.contains("[8, 64]") && shape.contains("model.gguf"), "{shape}");
    let infinite = complaint_of(|tensors| {
        let other = Tensor::full(f32::INFINITY, (176, 64), &Device::Cpu).unwrap();
        let place = at(tensors);
        tensors[place].1 = QTensor::quantize(&other, GgmlDType::Q8_0).unwrap();
    });
    assert!(infinite.contains(NAME) && infinite.contains("finite"), "{infinite}");

    let copy = in_gguf("tiny56", GgmlDType::Q8_0, Age::New);
    write(&copy.path().join("mmproj.gguf"), "llama", &[]);
    assert!(
        copy.complaint().contains("\"llama\"") || copy.complaint().contains("llama"),
        "{}",
        copy.complaint()
    );
    assert!(copy.complaint().contains("general.architecture"), "{}", copy.complaint());
    fs::copy(copy.path().join("model.gguf"), copy.path().join("mmproj.gguf")).unwrap();
    let twice = copy.complaint();
    assert!(twice.contains("mmproj.gguf") && twice.contains("/model.gguf"), "{twice}");
    fs::remove_file(copy.path().join("config.json")).unwrap();
    assert!(copy.complaint().contains("config.json is missing"), "{}", copy.complaint());
}

/// Replaces the language model's file by `bytes` and returns the error message.
fn complaint_about(bytes: &[u8]) -> String {
    let copy = in_gguf("tiny56", GgmlDType::F32, Age::New);
    fs::write(copy.path().join("model.gguf"), bytes).unwrap();
    let complaint = copy.complaint();
    assert!(complaint.contains("model.gguf") && !complaint.contains('\n'), "{complaint}");
    complaint
}

#[test]
fn a_damaged_file_is_told_whatever_is_damaged() {
    let whole = fs::read(in_gguf("tiny56", GgmlDType::F32, Age::New).path().join("model.gguf")).unwrap();
    for length in [0, 3, 4, 23, 100, 3000, whole.len() / 2] {
        let complaint = complaint_about(&whole[..length]);
        assert!(complaint.contains("damaged"), "{length}: {complaint}");
    }
    let cut = complaint_about(&whole[..whole.len() - 32]);
    assert!(cut.contains("tensor ") && cut.contains("cut off"), "{cut}");
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        complaint_about(&changed)
    };
    assert!(changed(0, b"GGML").contains("begin with GGUF"));
    assert!(changed(4, &[1]).contains("version 1"));
    assert!(changed(8, &[255; 8]).contains("tensors; expected at most"));
    assert!(changed(16, &[255; 8]).contains("keys; expected at most"));
    // The length of the first key.
    assert!(changed(24, &[255; 8]).contains("cut off"));
    let tensor = b"blk.0.attn_k.weight";
    let name = whole.windows(tensor.len()).position(|window| window == tensor).unwrap();
    let (dimensions, sizes) = (name + tensor.len(), name + tensor.len() + 4);
    let (kind, offset) = (sizes + 16, sizes + 20);
    let of_tensor = |at, bytes: &[u8]| {
        let complaint = changed(at, bytes);
        assert!(complaint.contains("blk.0.attn_k.weight"), "{complaint}");
        complaint
    };
    assert!(of_tensor(dimensions, &[9]).contains("9 dimensions"));
    assert!(of_tensor(sizes, &[255; 16]).contains("nothing can hold"));
    assert!(of_tensor(sizes, &[63]).contains("[32, 63]"));
    assert!(of_tensor(kind, &[16]).contains("GGUF's type 16"));
    assert!(of_tensor(offset, &[1]).contains("multiple of 32"));
    assert!(of_tensor(offset, &[0, 0, 0, 0, 0, 0, 0, 1]).contains("cut off"));
}

/// No change of a byte of the header causes anything worse than an error.
#[test]
fn a_header_with_any_byte_changed_is_read_or_refused() {
    let copy = in_gguf("tiny56", GgmlDType::Q8_0, Age::New);
    let file = copy.path().join("model.gguf");
    let whole = fs::read(&file).unwrap();
    let source = Source::Folder(copy.path().into());
    let (mut read, mut refused) = (0, 0);
    for at in (0..2400).step_by(5) {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&file, changed).unwrap();
        match inspect(&source) {
            Ok(_) => read += 1,
            Err(_) => refused += 1,
        }
    }
    // Most bytes of a header belong to names, whose change is not an error.
    assert!(read > 50 && refused > 50, "{read} and {refused}");
}
