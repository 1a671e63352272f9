//! Videos as frames, and several images at any resolution, on the built server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use gavel_tests::{Server, image};
use serde_json::{Value, json};

fn judged(server: &Server, extra: &Value) -> Value {
    let mut body = json!({ "question": "What happens?", "response": "A cat.", "max_tokens": 24 });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    server.ok("/judge", &body)
}

fn prompt_tokens(verdict: &Value) -> u64 {
    verdict["usage"]["prompt_tokens"].as_u64().unwrap()
}

fn frames() -> Vec<String> {
    (0..4).map(|index| image(&format!("tiny56-video4-frame{index}.png"))).collect()
}

#[test]
fn the_frames_of_a_video_are_pooled_and_their_order_counts() {
    let server = Server::steered();
    let none = prompt_tokens(&judged(&server, &json!({})));
    let video = judged(&server, &json!({ "frames": frames() }));
    // Each frame has 4 x 4 patches, which are pooled to 2 x 2, and one more vector ends the video.
    let (pooled, images) = (4 * 4 + 1, 4 * (16 + 1));
    let added = prompt_tokens(&video) - none;
    assert!((pooled..pooled + 3).contains(&added), "{added} tokens for the video");
    let as_images = prompt_tokens(&judged(&server, &json!({ "images": frames() }))) - none;
    assert!((images..images + 3).contains(&as_images), "{as_images} tokens for the same as images");

    let backwards: Vec<String> = frames().into_iter().rev().collect();
    let backwards = judged(&server, &json!({ "frames": backwards }));
    assert_ne!(video["justification"], backwards["justification"]);
    let beside = judged(&server, &json!({ "frames": frames(), "images": [image("tiny56-square-0.png")] }));
    assert!(prompt_tokens(&beside) > prompt_tokens(&video) + 16, "images may stand beside a video");
}

#[test]
fn a_reward_may_be_about_a_video() {
    let server = Server::deciding();
    let body = json!({ "question": "What happens?", "responses": ["A cat.", "A dog."], "frames": frames() });
    let (with, without) = (server.ok("/reward", &body), {
        let mut body = body.clone();
        body.as_object_mut().unwrap().remove("frames");
        server.ok("/reward", &body)
    });
    assert!(prompt_tokens(&with) >= prompt_tokens(&without) + 2 * 17);
    assert_ne!(with["matrix"], without["matrix"]);
}

#[test]
fn requests_about_one_video_have_one_affinity() {
    let server = Server::deciding();
    let (frames, picture) = (frames(), [image("tiny56-square-0.png")]);
    let affinity = |route: &str, images: &[String], frames: &[String]| {
        let mut body = json!({ "question": "What happens?", "images": images, "frames": frames });
        match route {
            "/judge" => body["response"] = json!("A cat."),
            _ => body["responses"] = json!(["A cat.", "A dog."]),
        }
        let response = server.post(route, &body);
        assert_eq!(response.status, 200, "{body}");
        response.header("x-gavel-affinity").unwrap().to_owned()
    };
    let backwards: Vec<String> = frames.iter().rev().cloned().collect();
    let of_video = affinity("/judge", &[], &frames);
    assert_eq!(affinity("/reward", &[], &frames), of_video, "the name is the video's alone");
    let others = [
        affinity("/judge", &[], &[]),
        affinity("/judge", &[], &frames[..3]),
        affinity("/judge", &[], &backwards),
        affinity("/judge", &picture, &[]),
        affinity("/judge", &picture, &frames),
    ];
    for (index, other) in others.iter().enumerate() {
        assert!(*other != of_video && !others[..index].contains(other), "{index}: {others:?}");
    }
}

#[test]
fn several_images_are_one_tile_each_unless_any_resolution_is_asked_for() {
    let server = Server::steered();
    let two = json!([image("tiny56-square-0.png"), image("tiny56-tall_1x4-0.png")]);
    let padded = prompt_tokens(&judged(&server, &json!({ "images": two })));
    let any = prompt_tokens(&judged(&server, &json!({ "images": two, "tiling": "anyres" })));
    let named = prompt_tokens(&judged(&server, &json!({ "images": two, "tiling": "trained" })));
    assert_eq!(padded, named);
    assert!(any > padded + 16, "{any} tokens at any resolution, {padded} as one tile each");
}

#[test]
fn a_frame_that_is_none_is_named() {
    let server = Server::steered();
    let text = "bm8gaW1hZ2U=";
    let refused = |extra: Value| {
        let mut body = json!({ "question": "?", "response": "a" });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let response = server.post("/judge", &body);
        assert_eq!(response.status, 400);
        let error = response.json();
        (error["code"].clone(), error["error"]["param"].clone())
    };
    let good = image("tiny56-square-0.png");
    assert_eq!(refused(json!({ "frames": ["%"] })), (json!("invalid_base64_image"), json!("frames[0]")));
    // A file that is not an image is recognised only when it is decoded.
    assert_eq!(
        refused(json!({ "images": [good, text] })),
        (json!("unsupported_image_media_type"), json!("images[1]"))
    );
    let both = json!({ "images": [good], "frames": [good, text] });
    assert_eq!(refused(both), (json!("unsupported_image_media_type"), json!("frames[1]")));
    let many = vec![good; 257];
    assert_eq!(refused(json!({ "frames": many })), (json!("too_many_images"), json!("frames[256]")));
}
