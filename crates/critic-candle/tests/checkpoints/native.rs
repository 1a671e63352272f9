//! Configurations in the native layout are read as the native code reads them.

use serde_json::{Value, json};

use crate::copy::{Copy, answer};

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
