//! Checkpoints that load (every generation of names, a tower in another place, 16-bit files), and the errors for
//! wrong ones.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copy;
mod gguf;
mod native;
mod transformers;

use std::fs;

use candle_core::{DType, Device, Tensor};
use copy::{Copy, answer, reference, worst_difference};
use critic::{
    Backend, Batch, BlockId, CacheScope, Chunk, Detail, Message, Prompt, Role, SequenceId, StepOutput, Wants,
};
use critic_candle::{Checkpoint, Options, Precision, Source, WeightForm, inspect};

fn wanted() -> Vec<f32> {
    answer(&mut Copy::of("tiny56").load().unwrap())
}

/// The published names are `language_model.model.*`, `vision_tower.vision_model.*`, `image_newline`.
#[test]
fn every_generation_of_names_is_the_same_model() {
    let wanted = wanted();
    let in_model = |name: &str| match name.strip_prefix("language_model.") {
        Some("lm_head.weight") => "lm_head.weight".to_owned(),
        Some(rest) => format!("model.language_model.{}", rest.strip_prefix("model.").unwrap()),
        None => format!("model.{name}"),
    };
    let v4 = Copy::of("tiny56");
    v4.rename(in_model);
    assert_eq!(answer(&mut v4.load().unwrap()), wanted);
    let v5 = Copy::of("tiny56");
    v5.rename(|name| in_model(name).replace("vision_tower.vision_model.", "vision_tower."));
    v5.edit_json("config.json", |config| {
        let text = config["text_config"].as_object_mut().unwrap();
        let theta = text.remove("rope_theta").unwrap();
        text.insert(
            "rope_parameters".into(),
            serde_json::json!({"rope_theta": theta, "rope_type": "default"}),
        );
    });
    assert_eq!(answer(&mut v5.load().unwrap()), wanted);
}

#[test]
fn a_tower_beside_the_checkpoint_is_found_by_its_name() {
    let whole = Copy::of("tiny56-native");
    let wanted = answer(&mut whole.load().unwrap());
    let (body, tower) = (Copy::of("tiny56-native"), Copy::of("tiny56-native"));
    const INSIDE: &str = "model.vision_tower.vision_tower.";
    tower.edit_weights(|tensors| {
        let towers = tensors
            .into_iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix(INSIDE)?.into(), tensor)));
        towers.collect()
    });
    body.edit_weights(|mut tensors| {
        tensors.retain(|name, _| !name.starts_with(INSIDE));
        tensors
    });
    body.edit_json("config.json", |config| {
        config["mm_vision_tower"] = tower.path().to_str().unwrap().into();
    });
    assert_eq!(answer(&mut body.load().unwrap()), wanted);
    let described = inspect(&Source::Folder(body.path().into())).unwrap().to_string();
    let note = format!("of {}, whose weights are not counted here", tower.path().display());
    assert!(described.contains(&note), "{described}");
}

#[test]
fn a_stub_text_config_of_a_native_checkpoint_is_not_read() {
    let wanted = answer(&mut Copy::of("tiny56-native").load().unwrap());
    let copy = Copy::of("tiny56-native");
    copy.edit_json("config.json", |config| {
        config["text_config"] = serde_json::json!({"model_type": "llama"});
        config["sliding_window"] = serde_json::Value::Null;
    });
    assert_eq!(answer(&mut copy.load().unwrap()), wanted);
}

#[test]
fn sixteen_bit_files_and_arithmetic_stay_near() {
    let wanted = wanted();
    for (dtype, precision, tolerance) in
        [(DType::F16, Precision::F16, 0.15), (DType::BF16, Precision::Bf16, 0.9)]
    {
        let copy = Copy::of("tiny56");
        copy.edit_weights(|tensors| {
            tensors.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(dtype).unwrap())).collect()
        });
        let mut options = Options::new(Source::Folder(copy.path().into()));
        options.precision = Some(precision);
        let got = answer(&mut Checkpoint::load(&options).unwrap());
        let worst = worst_difference(&got, &wanted);
        assert!(worst > 0.0 && worst < tolerance, "{precision:?}: logits differ by {worst}");
    }
}

#[test]
fn weights_of_sixteen_bits_give_the_bits_that_they_give_as_f32() {
    for (model, dtype) in [("tiny56", DType::BF16), ("tiny56", DType::F16), ("tiny56-native", DType::BF16)] {
        let copy = Copy::of(model);
        copy.edit_weights(|tensors| {
            tensors.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(dtype).unwrap())).collect()
        });
        let answer = |weights| {
            let options = Options { weights, ..Options::new(Source::Folder(copy.path().into())) };
            answer(&mut Checkpoint::load(&options).unwrap())
        };
        let bits = |logits: Vec<f32>| -> Vec<u32> { logits.into_iter().map(f32::to_bits).collect() };
        assert_eq!(bits(answer(WeightForm::Stored)), bits(answer(WeightForm::F32)), "{model} {dtype:?}");
    }
}

#[test]
fn configuration_values_are_read_and_not_assumed() {
    let wanted = wanted();
    type Change = fn(&mut serde_json::Value);
    let changes: [(&str, Change); 5] = [
        ("vision_feature_layer", |config| config["vision_feature_layer"] = (-2).into()),
        ("layer_norm_eps", |config| config["vision_config"]["layer_norm_eps"] = 0.1.into()),
        ("rms_norm_eps", |config| config["text_config"]["rms_norm_eps"] = 0.1.into()),
        ("rope_theta", |config| config["text_config"]["rope_theta"] = 10_000.0.into()),
        ("hidden_act", |config| config["projector_hidden_act"] = "gelu_pytorch_tanh".into()),
    ];
    for (key, change) in changes {
        let copy = Copy::of("tiny56");
        copy.edit_json("config.json", change);
        let got = answer(&mut copy.load().unwrap());
        assert!(worst_difference(&got, &wanted) > 1e-4, "{key} changes nothing");
    }
    let copy = Copy::of("tiny56");
    for file in ["config.json", "preprocessor_config.json"] {
        copy.edit_json(file, |config| config["image_grid_pinpoints"] = serde_json::json!([[56, 56]]));
    }
    assert_eq!(copy.load().unwrap().processor.encode(&image_prompt()).unwrap().visuals[0].tiles.count(), 2);
    let copy = Copy::of("tiny56");
    let alone = copy.path().join("preprocessor_config.json");
    let mut inner: serde_json::Value = serde_json::from_slice(&fs::read(&alone).unwrap()).unwrap();
    fs::remove_file(alone).unwrap();
    assert_eq!(answer(&mut copy.load().unwrap()), wanted, "SigLIP's mean and deviation are the default");
    inner["image_mean"] = serde_json::json!([0.48, 0.46, 0.41]);
    copy.edit_json("processor_config.json", |config| config["image_processor"] = inner);
    assert!(
        worst_difference(&answer(&mut copy.load().unwrap()), &wanted) > 1e-4,
        "a nested image_mean is read"
    );
    let copy = Copy::of("tiny56");
    copy.edit_json("generation_config.json", |config| {
        config["eos_token_id"] = serde_json::json!([5, 6]);
        config["repetition_penalty"] = 1.05.into();
    });
    let generation = copy.load().unwrap().generation;
    assert_eq!(generation.end_tokens.iter().map(|token| token.0).collect::<Vec<_>>(), [5, 6]);
    assert_eq!(generation.repetition_penalty, 1.05);
    copy.edit_json("generation_config.json", |config| config["repetition_penalty"] = 0.into());
    assert!(copy.complaint().contains("repetition_penalty"), "logits cannot be divided by nothing");
}

/// Different versions of the programs that write configurations express the same settings differently.
#[test]
fn configurations_say_the_same_in_several_ways() {
    type Change = fn(&mut serde_json::Value);
    let changes: [(&str, &str, Change); 10] = [
        ("tiny56", "both names of a token", |config| {
            config["image_token_id"] = config["image_token_index"].clone();
        }),
        ("tiny56", "no architecture", |config| config["architectures"] = serde_json::Value::Null),
        ("tiny56", "sides of tiles", |config| {
            let side = config["vision_config"]["image_size"].clone();
            config["vision_config"]["image_size"] = serde_json::json!([side, side]);
        }),
        ("tiny56", "a list of one layer", |config| config["vision_feature_layer"] = serde_json::json!([-1])),
        ("tiny56", "both names of a kind", |config| {
            config["text_config"]["rope_scaling"] =
                serde_json::json!({ "type": "default", "rope_type": "default" });
        }),
        ("tiny56", "sizes as text", |config| {
            config["image_grid_pinpoints"] = config["image_grid_pinpoints"].to_string().into();
        }),
        ("tiny56", "a window that no layer has", |config| {
            config["text_config"]["use_sliding_window"] = true.into();
            config["text_config"]["max_window_layers"] = config["text_config"]["num_hidden_layers"].clone();
        }),
        ("tiny56-native", "no architecture", |config| config["architectures"] = serde_json::Value::Null),
        ("tiny56-native", "the decoder's architecture", |config| {
            config["architectures"] = serde_json::json!(["Qwen2ForCausalLM"]);
        }),
        ("tiny56-native", "a range with spaces", |config| {
            if let Some(range) = config["image_grid_pinpoints"].as_str() {
                config["image_grid_pinpoints"] = range.replace(',', ", ").into();
            }
        }),
    ];
    for (model, what, change) in changes {
        let copy = Copy::of(model);
        let wanted = answer(&mut copy.load().unwrap());
        copy.edit_json("config.json", change);
        let mut changed = copy.load().unwrap_or_else(|error| panic!("{model}, {what}: {error}"));
        assert_eq!(answer(&mut changed), wanted, "{model}, {what}");
    }
}

#[test]
fn a_chat_template_is_found_wherever_it_is_kept() {
    let copy = Copy::of("tiny56");
    let wanted = answer(&mut copy.load().unwrap());
    let template = fs::read_to_string(copy.path().join("chat_template.jinja")).unwrap();
    for file in ["chat_template.jinja", "chat_template.json"] {
        fs::remove_file(copy.path().join(file)).unwrap();
    }
    assert!(copy.complaint().contains("chat_template.jinja is missing"));
    let several = serde_json::json!([
        { "name": "tool_use", "template": "{{ messages }}" },
        { "name": "default", "template": template },
    ]);
    for (file, templates) in [("tokenizer_config.json", several), ("processor_config.json", template.into())]
    {
        copy.edit_json(file, |config| config["chat_template"] = templates);
        assert_eq!(answer(&mut copy.load().unwrap()), wanted, "{file}");
    }
}

#[test]
fn without_a_head_the_embeddings_are_the_head() {
    let copy = Copy::of("tiny56");
    let own = answer(&mut copy.load().unwrap());
    copy.edit_weights(|tensors| {
        tensors.into_iter().filter(|(name, _)| !name.ends_with("lm_head.weight")).collect()
    });
    let tied = answer(&mut copy.load().unwrap());
    assert_ne!(tied, own);
    copy.edit_json("config.json", |config| config["text_config"]["tie_word_embeddings"] = true.into());
    assert_eq!(answer(&mut copy.load().unwrap()), tied, "whatever the configuration says");
}

/// Pseudorandom numbers from -0.5 to 0.5, determined by `seed`.
fn spread(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn a_reward_head_reads_the_last_hidden_state() {
    let copy = Copy::of("tiny56-native");
    assert!(!copy.load().unwrap().build.rates);
    let size = copy.load().unwrap().backend.model().hidden_size();
    let (dense, dense_bias) = (spread(size * size, 1), spread(size, 2));
    let (output, output_bias) = (spread(size, 3), spread(1, 4));
    copy.edit_weights(|mut tensors| {
        let tensor =
            |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        tensors.insert("rm_head.dense.weight".into(), tensor(&dense, &[size, size]));
        tensors.insert("rm_head.dense.bias".into(), tensor(&dense_bias, &[size]));
        tensors.insert("rm_head.out_proj.weight".into(), tensor(&output, &[1, size]));
        tensors.insert("rm_head.out_proj.bias".into(), tensor(&output_bias, &[1]));
        tensors
    });
    let mut checkpoint = copy.load().unwrap();
    assert!(checkpoint.build.rates);
    let encoded = checkpoint.processor.encode(&image_prompt()).unwrap();
    let chunk = |wants, sequence: u64, first_block: u32| Chunk {
        sequence: SequenceId(sequence),
        start: 0,
        block_table: (0..encoded.tokens.len().div_ceil(32) as u32)
            .map(|at| BlockId(first_block + at))
            .collect(),
        tokens: encoded.tokens.clone(),
        visuals: encoded.visuals.clone(),
        wants,
    };
    // A reward between two rows of logits: each chunk must get its own row.
    let batch = Batch {
        chunks: vec![chunk(Wants::Logits, 0, 0), chunk(Wants::Reward, 1, 10), chunk(Wants::Logits, 2, 20)],
    };
    let outputs = checkpoint.backend.forward(&batch).unwrap();
    let [StepOutput::Logits(first), StepOutput::Reward(reward), StepOutput::Logits(last)] = &outputs[..]
    else {
        panic!("{} outputs, not each of the wanted kind", outputs.len())
    };
    assert!(first.len() > 1 && first == last);

    let alone = Batch { chunks: vec![chunk(Wants::Reward, 3, 30)] };
    let hidden = checkpoint.backend.hidden(&alone).unwrap().to_vec2::<f32>().unwrap().pop().unwrap();
    let product = |weights: &[f32], bias: f32, x: &[f64]| {
        let terms = weights.iter().zip(x).map(|(weight, x)| f64::from(*weight) * x);
        terms.sum::<f64>() + f64::from(bias)
    };
    let hidden: Vec<f64> = hidden.into_iter().map(f64::from).collect();
    let inner: Vec<f64> = (0..size)
        .map(|row| product(&dense[row * size..(row + 1) * size], dense_bias[row], &hidden).tanh())
        .collect();
    let expected = product(&output, output_bias[0], &inner);
    assert!((f64::from(*reward) - expected).abs() < 1e-5, "{reward} and {expected}");
}

#[test]
fn the_digest_of_the_weights_is_that_of_the_file() {
    use sha2::{Digest, Sha256};
    let file = fs::read(reference("tiny56").join("model.safetensors")).unwrap();
    let whole = Copy::of("tiny56").load().unwrap().build;
    assert_eq!(whole.weights.wait(), <[u8; 32]>::from(Sha256::digest(&file)));
    // For several files, it is the result of `sha256sum *.safetensors | sha256sum`.
    let sharded = Checkpoint::load(&Options::new(Source::Folder(reference("geo384")))).unwrap().build;
    let line = |name: &str| {
        format!("{:x}  {name}\n", Sha256::digest(fs::read(reference("geo384").join(name)).unwrap()))
    };
    let lines = line("model-00001-of-00002.safetensors") + &line("model-00002-of-00002.safetensors");
    assert_eq!(sharded.weights.wait(), <[u8; 32]>::from(Sha256::digest(lines)));
}

fn image_prompt() -> Prompt {
    let image = fs::read(reference("../images/tiny56-square-0.png")).unwrap();
    let parts = vec![critic::Part::Image(critic::EncodedImage::new(image))];
    Prompt { messages: vec![Message { role: Role::User, parts }], ..Default::default() }
}

#[test]
fn an_image_that_was_cut_for_one_scope_is_not_found_from_another() {
    let processor = Copy::of("tiny56").load().unwrap().processor;
    let [own, same, other] = [1, 1, 2].map(|scope| {
        let prompt = Prompt { cache_scope: CacheScope([scope; 32]), ..image_prompt() };
        (processor.encode(&prompt).unwrap(), processor.figures().tiles)
    });
    assert_eq!([&own, &same, &other].map(|(_, tiles)| (tiles.hits, tiles.misses)), [(0, 1), (1, 1), (1, 2)]);
    // Features are kept by this name, keys and values by names that follow from it.
    let names = [&own, &same, &other].map(|(encoded, _)| encoded.visuals[0].hash);
    assert!(names[0] == names[1] && names[0] != names[2]);
    assert!(own.0.tokens == other.0.tokens && own.0.visuals[0].tiles == other.0.visuals[0].tiles);
    assert_eq!(
        Prompt { cache_scope: CacheScope([1; 32]), ..image_prompt() }.digest(),
        image_prompt().digest()
    );
}

/// A prompt is refused by its lower bound, which must not exceed its real number of tokens.
#[test]
fn no_image_is_counted_larger_than_it_is() {
    let processor = Copy::of("tiny56").load().unwrap().processor;
    let image = fs::read(reference("../images/tiny56-square-0.png")).unwrap();
    let details = [Detail::Auto, Detail::Low, Detail::High];
    let asked = details.map(|detail| vec![detail]).into_iter().chain([details.to_vec()]);
    let tokens: Vec<usize> = asked
        .map(|details| {
            let part =
                |detail| critic::Part::Image(critic::EncodedImage::new(image.clone()).with_detail(detail));
            let parts = details.into_iter().map(part).collect();
            let messages = vec![Message { role: Role::User, parts }];
            let prompt = Prompt { messages, ..Default::default() };
            let (least, tokens) = (
                processor.least_tokens(&prompt, 1).unwrap(),
                processor.encode(&prompt).unwrap().tokens.len(),
            );
            assert!(least <= tokens, "{least} of {tokens}");
            tokens
        })
        .collect();
    assert!(tokens[1] < tokens[0] && tokens[0] == tokens[2], "{tokens:?}");
}

#[test]
fn a_wrong_checkpoint_names_the_file_the_tensor_and_what_was_expected() {
    const NORM: &str = "language_model.model.norm.weight";
    let check = |copy: &Copy, wanted: &[&str]| {
        let complaint = copy.complaint();
        for part in wanted {
            assert!(complaint.contains(part), "{complaint:?} does not name {part:?}");
        }
        assert!(!complaint.contains('\n'), "{complaint:?} is more than one sentence");
    };
    let copy = Copy::of("tiny56");
    copy.edit_weights(|mut tensors| {
        tensors.remove(NORM).unwrap();
        tensors
    });
    check(&copy, &[NORM, "missing", "[64]"]);
    let copy = Copy::of("tiny56");
    copy.edit_weights(|mut tensors| {
        tensors.insert(NORM.into(), Tensor::ones(63, DType::F32, &Device::Cpu).unwrap());
        tensors
    });
    check(&copy, &[NORM, "model.safetensors", "[63]", "[64]"]);
    for bad in [f32::NAN, f32::INFINITY] {
        let copy = Copy::of("tiny56");
        copy.edit_weights(|mut tensors| {
            tensors.insert(NORM.into(), Tensor::full(bad, 64, &Device::Cpu).unwrap());
            tensors
        });
        check(&copy, &[NORM, "model.safetensors", "finite"]);
    }
    let copy = Copy::of("tiny56");
    copy.edit_weights(|mut tensors| {
        tensors.insert(NORM.into(), Tensor::ones(64, DType::U32, &Device::Cpu).unwrap());
        tensors
    });
    check(&copy, &[NORM, "U32", "BF16"]);
}

#[test]
fn a_damaged_file_is_told() {
    let whole = fs::read(reference("tiny56").join("model.safetensors")).unwrap();
    for length in [0, 5, 100, whole.len() / 2, whole.len() - 1] {
        let copy = Copy::of("tiny56");
        fs::write(copy.weights(), &whole[..length]).unwrap();
        let complaint = copy.complaint();
        assert!(complaint.contains("model.safetensors") && complaint.contains("damaged"), "{complaint}");
    }
    let copy = Copy::of("tiny56");
    fs::write(copy.weights(), [&[255; 8], &whole[8..]].concat()).unwrap();
    assert!(copy.complaint().contains("damaged"));
}

#[test]
fn a_missing_file_or_an_unknown_architecture_is_named() {
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let copy = Copy::of("tiny56");
        fs::remove_file(copy.path().join(file)).unwrap();
        assert!(copy.complaint().contains(&format!("{file} is missing")), "{}", copy.complaint());
    }
    let copy = Copy::of("geo384");
    fs::remove_file(copy.path().join("model-00002-of-00002.safetensors")).unwrap();
    assert!(copy.complaint().contains("model-00002-of-00002.safetensors is missing"));
    let copy = Copy::of("tiny56");
    copy.edit_json("config.json", |config| {
        config["architectures"] = serde_json::json!(["LlavaForConditionalGeneration"]);
    });
    let complaint = copy.complaint();
    assert!(
        complaint.contains("LlavaForConditionalGeneration") && complaint.contains("LlavaQwenForCausalLM")
    );
    let copy = Copy::of("tiny56");
    copy.edit_json("chat_template.json", |json| json["chat_template"] = "{{ messages }}".into());
    assert!(copy.complaint().contains("chat_template"));
    let copy = Copy::of("tiny56");
    copy.edit_json("config.json", |config| config["vision_aspect_ratio"] = "square".into());
    assert!(copy.complaint().contains("vision_aspect_ratio"));
}

#[test]
fn inspection_tells_size_and_memory() {
    let real_grids = inspect(&Source::Folder(reference("geo384"))).unwrap();
    let sizes = [(384, 384), (600, 400), (1000, 750), (750, 1000), (5000, 100)];
    assert_eq!(sizes.map(|(width, height)| real_grids.tiles(width, height)), [2, 5, 7, 7, 7]);
    let text = inspect(&Source::Folder(reference("tiny56"))).unwrap().to_string();
    for part in ["Hugging Face", "0.39 million", "3 layers of 64", "own head", "768 bytes a token"] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

/// The contents of llava-critic-7b's own configuration: Qwen2's keys at the top level, the tower only by name, and
/// a stub of a text configuration that describes another model.
#[test]
fn the_published_native_configuration_is_understood_without_a_vision_config() {
    let copy = Copy::of("tiny56-native");
    copy.edit_json("config.json", |config| {
        let object = config.as_object_mut().unwrap();
        object.remove("vision_config");
        for (key, value) in [
            ("hidden_size", 3584),
            ("intermediate_size", 18944),
            ("num_hidden_layers", 28),
            ("num_attention_heads", 28),
            ("num_key_value_heads", 4),
            ("vocab_size", 152_064),
            ("mm_hidden_size", 1152),
        ] {
            object.insert(key.into(), value.into());
        }
        object.insert("text_config".into(), serde_json::json!({"model_type": "llama"}));
    });
    let text = inspect(&Source::Folder(copy.path().into())).unwrap().to_string();
    for part in [
        "native LLaVA-NeXT",
        "26 layers of 1152, 16 heads, tiles of 384 px, 729 patches a tile",
        "28 layers of 3584, 28 heads over 4 key/value heads, vocabulary 152064, own head",
        "36 grids, at most 9 tiles of features",
        "114688 bytes a token",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    copy.edit_json("config.json", |config| {
        config["mm_vision_tower"] = "openai/clip-vit-large-patch14-336".into()
    });
    assert!(copy.complaint().contains("openai/clip-vit-large-patch14-336"));
}
