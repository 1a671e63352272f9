//! Files beside the weights are read as in transformers 5, with the same precedence among several files.

use std::fs;

use critic::{EncodedImage, Message, Part, Prompt, Role, TokenId};
use serde_json::{Value, json};

use crate::{
    copy::{Copy, answer, answer_to, reference},
    wanted,
};

/// A copy of a checkpoint with one file changed.
fn changed(model: &str, file: &str, change: impl FnOnce(&mut Value)) -> Copy {
    let copy = Copy::of(model);
    copy.edit_json(file, change);
    copy
}

/// The logits of a copy for the usual question.
fn answer_of(copy: &Copy) -> Vec<f32> {
    answer(&mut copy.load().unwrap())
}

#[test]
fn a_tokenizer_does_what_its_file_says_of_text_and_not_of_calls() {
    let settings = changed("tiny56", "tokenizer.json", |tokenizer| {
        tokenizer["truncation"] = json!({
            "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0,
        });
        tokenizer["padding"] = json!({
            "strategy": { "Fixed": 64 }, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 640, "pad_type_id": 0, "pad_token": "<|endoftext|>",
        });
    });
    assert_eq!(answer_of(&settings), wanted());

    let word = |id: u32, content: &str, special: bool| {
        json!({
            "id": id, "content": content, "special": special,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": true,
        })
    };
    let words = changed("tiny56", "tokenizer.json", |tokenizer| {
        let added = tokenizer["added_tokens"].as_array_mut().unwrap();
        added.extend([word(645, "zzyx", false), word(646, "über", false), word(647, "<|role|>", false)]);
        added.push(word(648, "secret", true));
    });
    let processor = words.load().unwrap().processor;
    let tokens = processor.tokenize("zzyx über zzyx").unwrap();
    let is_word = |token: &&TokenId| token.0 >= 640;
    assert_eq!(tokens.iter().filter(is_word).map(|token| token.0).collect::<Vec<_>>(), [645, 646, 645]);
    let text: Vec<u8> = tokens.iter().flat_map(|token| processor.token_bytes(*token)).collect();
    assert_eq!(String::from_utf8(text).unwrap(), "zzyx über zzyx");
    assert!(!processor.is_control(TokenId(645)) && processor.is_control(TokenId(647)));
    for text in ["<|role|>", "secret", "<image>", "<|im_end|>"] {
        assert!(processor.tokenize(text).unwrap().iter().all(|token| token.0 < 640), "{text}");
    }

    let adding = changed("tiny56", "tokenizer.json", |tokenizer| {
        tokenizer["post_processor"] = json!({
            "type": "TemplateProcessing",
            "single": [
                { "SpecialToken": { "id": "<|endoftext|>", "type_id": 0 } },
                { "Sequence": { "id": "A", "type_id": 0 } },
            ],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": {
                "<|endoftext|>": { "id": "<|endoftext|>", "ids": [640], "tokens": ["<|endoftext|>"] },
            },
        });
    });
    assert!(adding.complaint().contains("post_processor"), "{}", adding.complaint());
}

#[test]
fn weights_in_one_file_count_more_than_an_index_beside_them() {
    let copy = Copy::of("tiny56");
    let index = json!({ "weight_map": { "lm_head.weight": "model-00001-of-00002.safetensors" } });
    fs::write(copy.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    assert_eq!(answer_of(&copy), wanted());
}

#[test]
fn a_head_that_is_stored_counts_in_the_hugging_face_layout() {
    let tie = |model: &str, at: fn(&mut Value) -> &mut Value| {
        answer_of(&changed(model, "config.json", |config| {
            at(config)["tie_word_embeddings"] = true.into();
        }))
    };
    assert_eq!(tie("tiny56", |config| &mut config["text_config"]), wanted());
    assert_eq!(tie("tiny56", |config| config), wanted());
    let native = answer_of(&Copy::of("tiny56-native"));
    assert_ne!(tie("tiny56-native", |config| config), native, "older versions tie whatever is stored");
    // A stored head that equals the embeddings counts as tied.
    let copy = Copy::of("tiny56");
    copy.edit_weights(|tensors| tensors.into_iter().filter(|(name, _)| !name.contains("lm_head")).collect());
    let tied = answer_of(&copy);
    copy.edit_weights(|mut tensors| {
        let table = tensors["language_model.model.embed_tokens.weight"].clone();
        tensors.insert("language_model.lm_head.weight".into(), table);
        tensors
    });
    copy.edit_json("config.json", |config| config["text_config"]["tie_word_embeddings"] = true.into());
    assert_eq!(answer_of(&copy), tied);
}

#[test]
fn only_a_decoder_that_is_known_is_loaded() {
    for kind in ["llama", "qwen3"] {
        let complaint = changed("tiny56", "config.json", |config| {
            config["text_config"]["model_type"] = kind.into();
        })
        .complaint();
        assert!(complaint.contains("text_config.model_type") && complaint.contains(kind), "{complaint}");
    }
}

#[test]
fn a_window_is_refused_where_it_would_hide_something() {
    type Change = fn(&mut Value);
    let harmless: [Change; 4] = [
        |text| text["sliding_window"] = Value::Null,
        |text| text["sliding_window"] = 32_768.into(),
        |text| text["max_window_layers"] = 3.into(),
        |text| text["layer_types"] = json!(["full_attention", "full_attention", "full_attention"]),
    ];
    let harmful: [Change; 2] = [
        |_| {},
        |text| {
            text["layer_types"] = json!(["full_attention", "sliding_attention", "full_attention"]);
            text["max_window_layers"] = 28.into();
        },
    ];
    let with = |change: Change| {
        changed("tiny56", "config.json", |config| {
            let text = &mut config["text_config"];
            text["use_sliding_window"] = true.into();
            text["sliding_window"] = 16.into();
            text["max_window_layers"] = 0.into();
            change(text);
        })
    };
    for change in harmless {
        assert_eq!(answer_of(&with(change)), wanted());
    }
    for change in harmful {
        assert!(with(change).complaint().contains("use_sliding_window"));
    }
}

#[test]
fn the_newer_place_of_the_base_of_positions_counts_more() {
    let base = |text: Value| {
        answer_of(&changed("tiny56", "config.json", |config| {
            config["text_config"].as_object_mut().unwrap().extend(text.as_object().unwrap().clone());
        }))
    };
    let other = base(json!({ "rope_theta": 5000.0 }));
    assert_ne!(other, wanted());
    for key in ["rope_parameters", "rope_scaling"] {
        assert_eq!(base(json!({ key: { "rope_type": "default", "rope_theta": 5000.0 } })), other, "{key}");
    }
}

#[test]
fn what_a_processor_does_to_pixels_is_what_its_file_says() {
    const FILE: &str = "preprocessor_config.json";
    let with = |more: Value| {
        answer_of(&changed("tiny56", FILE, |config| {
            let config = config.as_object_mut().unwrap();
            for (key, value) in more.as_object().unwrap() {
                match value {
                    Value::Null => drop(config.remove(key)),
                    value => drop(config.insert(key.clone(), value.clone())),
                }
            }
        }))
    };
    let clip = with(json!({
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }));
    assert_ne!(clip, wanted());
    assert_eq!(with(json!({ "image_mean": null, "image_std": null })), clip, "the defaults of the class");
    assert_eq!(with(json!({ "do_rescale": false })), with(json!({ "rescale_factor": 1.0 })));
    let plain = with(json!({ "image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0] }));
    assert_eq!(with(json!({ "do_normalize": false })), plain);
    for (key, value) in [("do_resize", false), ("do_center_crop", true)] {
        assert!(changed("tiny56", FILE, |config| config[key] = value.into()).complaint().contains(key));
    }
    // The part in the file of the whole processor takes precedence.
    let both = changed("tiny56", "processor_config.json", |config| {
        config["image_processor"] = json!({ "resample": 3 });
    });
    assert_eq!(answer_of(&both), clip);
    // Native checkpoints ignore the file.
    let native = Copy::of("tiny56-native");
    fs::write(native.path().join(FILE), json!({ "do_normalize": false }).to_string()).unwrap();
    assert_eq!(answer_of(&native), answer_of(&Copy::of("tiny56-native")));
}

#[test]
fn a_configuration_of_another_model_is_refused() {
    let copy = Copy::of("tiny56");
    copy.edit_json("config.json", |config| config["text_config"]["num_hidden_layers"] = 2.into());
    let complaint = copy.complaint();
    assert!(complaint.contains("layers.2.") && complaint.contains("implies 2 layers"), "{complaint}");
    let copy = Copy::of("tiny56");
    copy.edit_json("config.json", |config| {
        config["vision_config"]["model_type"] = "clip_vision_model".into()
    });
    let complaint = copy.complaint();
    assert!(complaint.contains("clip_vision_model"), "{complaint}");
}

#[test]
fn a_processor_that_contradicts_the_model_is_refused() {
    for (file, key, value) in [
        ("preprocessor_config.json", "size", json!({ "height": 112, "width": 112 })),
        ("preprocessor_config.json", "size", json!({ "shortest_edge": 112 })),
        ("preprocessor_config.json", "size", json!(112)),
        ("preprocessor_config.json", "image_grid_pinpoints", json!([[56, 56], [56, 112]])),
        ("video_preprocessor_config.json", "size", json!({ "height": 56, "width": 112 })),
    ] {
        let complaint = changed("tiny56", file, |config| config[key] = value.clone()).complaint();
        assert!(complaint.contains(file) && complaint.contains(key), "{complaint}");
    }
    for (key, value) in [("size", json!(56)), ("size", json!({ "shortest_edge": 56 })), ("size", Value::Null)]
    {
        let same = changed("tiny56", "preprocessor_config.json", |config| config[key] = value.clone());
        assert_eq!(answer_of(&same), wanted());
    }
}

#[test]
fn videos_have_a_processor_of_their_own() {
    let frame = EncodedImage::new(fs::read(reference("../images/tiny56-square-0.png")).unwrap());
    let mut message = Message::text(Role::User, "What happens?");
    message.parts.insert(0, Part::Video(vec![frame; 2]));
    let prompt = Prompt { messages: vec![message], ..Prompt::default() };
    let seen = |copy: &Copy| answer_to(&mut copy.load().unwrap(), &prompt);
    let usual = seen(&Copy::of("tiny56"));
    let brighter = changed("tiny56", "video_preprocessor_config.json", |config| {
        config["image_mean"] = json!([0.1, 0.1, 0.1]);
    });
    let shown = seen(&brighter);
    assert_ne!(shown, usual);
    assert_eq!(answer_of(&brighter), wanted(), "images have theirs");
    // Without a file for videos, that for images applies. The part in the file of the whole processor takes
    // precedence.
    fs::remove_file(brighter.path().join("video_preprocessor_config.json")).unwrap();
    assert_eq!(seen(&brighter), usual);
    brighter.edit_json("processor_config.json", |config| {
        config["video_processor"] = json!({ "image_mean": 0.1, "image_std": 0.5 });
    });
    assert_eq!(seen(&brighter), shown);
}

#[test]
fn end_tokens_are_the_models_where_nothing_else_tells_them() {
    let copy = Copy::of("tiny56");
    fs::remove_file(copy.path().join("generation_config.json")).unwrap();
    let ends =
        || -> Vec<u32> { copy.load().unwrap().generation.end_tokens.iter().map(|token| token.0).collect() };
    copy.edit_json("config.json", |config| config["text_config"]["eos_token_id"] = 640.into());
    assert_eq!(ends(), [640]);
    copy.edit_json("config.json", |config| config["eos_token_id"] = json!([7, 8]));
    assert_eq!(ends(), [7, 8]);
    copy.edit_json("config.json", |config| {
        config["eos_token_id"] = Value::Null;
        config["text_config"]["eos_token_id"] = Value::Null;
    });
    assert_eq!(ends(), [642], "that of turns");
}

#[test]
fn of_several_chat_templates_the_processors_counts_most() {
    let convert = fs::read_to_string(reference("geo384/chat_template.jinja")).unwrap();
    let with =
        |file: &str| changed("tiny56", file, |config| config["chat_template"] = convert.clone().into());
    let other = answer_of(&with("processor_config.json"));
    assert_ne!(other, wanted());
    assert_eq!(answer_of(&with("chat_template.json")), other);
    assert_eq!(answer_of(&with("tokenizer_config.json")), wanted());
}
