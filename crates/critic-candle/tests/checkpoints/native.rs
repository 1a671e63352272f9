//! Configurations in the native layout are read as the native code reads them.

use std::fs;

use critic::{EncodedImage, Message, Part, Prompt, Role};
use serde_json::{Value, json};

use crate::copy::{Copy, answer, reference};

/// A copy of a checkpoint with a key of its configuration, or of the decoder's.
fn with(model: &str, key: &str, value: Value) -> Copy {
    let copy = Copy::of(model);
    copy.edit_json("config.json", |config| {
        let place = if model == "tiny56-native" { config } else { &mut config["text_config"] };
        place[key] = value;
    });
    copy
}

/// It sets `config.rope_scaling` to `None`, and Hugging Face's code does not.
#[test]
fn native_code_scales_no_positions() {
    let scaling = || json!({ "type": "linear", "factor": 4.0, "rope_theta": 5000.0 });
    let wanted = answer(&mut Copy::of("tiny56-native").load().unwrap());
    assert_eq!(answer(&mut with("tiny56-native", "rope_scaling", scaling()).load().unwrap()), wanted);
    assert!(with("tiny56", "rope_scaling", scaling()).complaint().contains("rope_type"));
}

#[test]
fn what_the_native_code_does_differently_when_it_is_switched_on_is_refused() {
    let wanted = answer(&mut Copy::of("tiny56-native").load().unwrap());
    for key in ["mm_use_im_start_end", "add_faster_video"] {
        let complaint = with("tiny56-native", key, true.into()).complaint();
        assert!(complaint.contains(key) && complaint.contains("true"), "{complaint}");
        for off in [json!(false), json!(null)] {
            assert_eq!(answer(&mut with("tiny56-native", key, off).load().unwrap()), wanted, "{key}");
        }
    }
}

/// Its training moves a single image of a message to the front, and no others.
#[test]
fn an_image_that_is_alone_in_its_message_stands_before_the_text() {
    let processor = Copy::of("tiny56-native").load().unwrap().processor;
    let image = EncodedImage::new(fs::read(reference("../images/tiny56-square-0.png")).unwrap());
    let tokens = |parts: &[Part]| {
        let messages = vec![Message { role: Role::User, parts: parts.to_vec() }];
        processor.encode(&Prompt { messages, ..Default::default() }).unwrap().tokens
    };
    let (image, text) = (Part::Image(image), Part::Text("What is it?".into()));
    let first = tokens(&[image.clone(), text.clone()]);
    assert_eq!(tokens(&[text.clone(), image.clone()]), first);
    let several = tokens(&[image.clone(), text.clone(), image.clone()]);
    assert_ne!(several, tokens(&[image.clone(), image, text]));
}

#[test]
fn sizes_that_make_no_model_are_named() {
    for (key, value) in [
        ("num_hidden_layers", json!(0)),
        ("max_position_embeddings", json!(0)),
        ("max_position_embeddings", json!(1_u64 << 31)),
    ] {
        for model in ["tiny56", "tiny56-native"] {
            let complaint = with(model, key, value.clone()).complaint();
            assert!(complaint.contains(key) && complaint.contains(&value.to_string()), "{complaint}");
        }
    }
}
