//! Critics with a reward head, on the built server: a copy of the random checkpoint with an added head.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{borrow::Cow, collections::HashMap, fs, path::Path};

use gavel_tests::{Server, image, reference};
use safetensors::{Dtype, SafeTensors, View, tensor::TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Size of the checkpoint's hidden states.
fn hidden_size() -> usize {
    let config = fs::read(reference().join("models/tiny56-native/config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    config["hidden_size"].as_u64().unwrap() as usize
}

/// A tensor of 32-bit floats.
struct Floats(Vec<usize>, Vec<u8>);

impl Floats {
    fn new(shape: &[usize], value: impl Fn(usize) -> f32) -> Self {
        let count = shape.iter().product();
        Self(shape.to_vec(), (0..count).flat_map(|index| value(index).to_le_bytes()).collect())
    }
}

/// A tensor of the original checkpoint, or a new one.
enum Either<'a> {
    Old(TensorView<'a>),
    New(&'a Floats),
}

impl View for Either<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::Old(view) => view.dtype(),
            Self::New(_) => Dtype::F32,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::Old(view) => view.shape(),
            Self::New(floats) => &floats.0,
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Old(view) => view.data().into(),
            Self::New(floats) => Cow::Borrowed(&floats.1),
        }
    }

    fn data_len(&self) -> usize {
        self.data().len()
    }
}

/// A weight of the head's output layer.
fn weight(index: usize) -> f32 {
    (index % 7) as f32 / 4.0 - 0.5
}

/// A bias of the head's inner layer.
fn bias(index: usize) -> f32 {
    (index % 5) as f32 / 8.0 - 0.25
}

/// The random checkpoint with a reward head, under a name of the family that has one. `inner` scales the weights of
/// the head's inner layer.
fn rated(inner: f32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = model(&folder);
    fs::create_dir(&model).unwrap();
    let source = reference().join("models/tiny56-native");
    for entry in fs::read_dir(&source).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), model.join(entry.file_name())).unwrap();
    }
    let size = hidden_size();
    let head = HashMap::from([
        // Pseudo-random weights, so that the head reads every hidden state differently.
        (
            "dense.weight",
            Floats::new(&[size, size], |index| inner * ((index * 37 % 101) as f32 / 50.0 - 1.0)),
        ),
        ("dense.bias", Floats::new(&[size], bias)),
        ("out_proj.weight", Floats::new(&[1, size], weight)),
        ("out_proj.bias", Floats::new(&[1], |_| 3.0)),
    ]);
    let bytes = fs::read(source.join("model.safetensors")).unwrap();
    let old = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<(String, Either<'_>)> =
        old.tensors().into_iter().map(|(name, view)| (name, Either::Old(view))).collect();
    tensors.extend(head.iter().map(|(name, floats)| (format!("rm_head.{name}"), Either::New(floats))));
    fs::write(model.join("model.safetensors"), safetensors::serialize(tensors, None).unwrap()).unwrap();
    folder
}

fn model(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("MM-RLHF-Reward-tiny")
}

fn serve(model: &Path) -> Server {
    Server::with_options(&["--model", &model.to_string_lossy()])
}

fn body(extra: &Value) -> Value {
    let mut body = json!({ "question": "What is shown?", "images": [image("tiny56-square-0.png")] });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn rewards(told: &Value) -> Vec<f64> {
    told["rewards"].as_array().unwrap().iter().map(|reward| reward.as_f64().unwrap()).collect()
}

#[test]
fn the_head_reads_what_it_is_given() {
    // With weights of 0 in the inner layer, the output of the head does not depend on the hidden states.
    let folder = rated(0.0);
    let server = serve(&model(&folder));
    let sum: f64 =
        (0..hidden_size()).map(|index| f64::from(weight(index)) * f64::from(bias(index)).tanh()).sum();
    let wanted = sum + 3.0;
    let told = server.ok(
        "/reward",
        &body(&json!({ "method": "scalar", "responses": ["A cat.", "A dog."], "max_tokens": 8 })),
    );
    assert!(rewards(&told).iter().all(|reward| (reward - wanted).abs() < 1e-4), "{told}, {wanted} expected");
    assert!(told.get("chosen").is_none(), "equal responses are no pair");
    let scored = server.ok("/judge", &body(&json!({ "response": "A cat.", "mode": "score" })));
    assert!((scored["score"].as_f64().unwrap() - wanted).abs() < 1e-4, "{scored}");
    assert_eq!((&scored["kind"], &scored["justification"]), (&json!("pointwise"), &json!("")));
    assert!(scored.get("scale").is_none(), "its numbers are on no scale");
    assert_eq!(scored["receipt"]["profile"], "mm-rlhf");
}

#[test]
fn rewards_come_after_a_critique_or_without() {
    let folder = rated(1.0);
    let server = serve(&model(&folder));
    let asked = |extra: Value| {
        let mut all = json!({ "method": "scalar", "responses": ["A cat.", "A dog.", "A very long answer."] });
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        server.ok("/reward", &body(&all))
    };
    let critique = asked(json!({ "max_tokens": 12 }));
    let bare = asked(json!({ "critique": false }));
    let (with, without) = (rewards(&critique), rewards(&bare));
    assert!(with.iter().zip(&without).all(|(one, other)| (one - other).abs() > 1e-6), "{with:?} {without:?}");
    assert!(without.windows(2).all(|pair| (pair[0] - pair[1]).abs() > 1e-6), "responses differ: {without:?}");
    assert_eq!(bare["usage"]["completion_tokens"], 0);
    assert!(critique["usage"]["completion_tokens"].as_u64().unwrap() >= 3);
    let best = (0..3).max_by(|a, b| without[*a].total_cmp(&without[*b])).unwrap();
    assert_eq!((&bare["ranking"][0], &bare["chosen"]), (&json!(best), &json!(best)));

    let told = server.ok("/judge", &body(&json!({ "response": "A dog.", "max_tokens": 12 })));
    assert!((told["score"].as_f64().unwrap() - with[1]).abs() < 1e-9, "{told}");
    assert!(!told["justification"].as_str().unwrap().is_empty());
    let streamed = body(&json!({ "response": "A dog.", "max_tokens": 12, "stream": true, "memo": false }));
    let events: Vec<_> = server.post("/judge", &streamed).events().collect();
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names.last(), Some(&"verdict"));
    let decision = events.iter().find(|event| event.name == "decision").unwrap();
    assert_eq!(decision.json(), json!({ "score": told["score"] }));
    let drawn = body(&json!({ "response": "A dog.", "max_tokens": 12, "samples": 4, "seed": 3 }));
    let drawn = server.ok("/judge", &drawn);
    assert!(drawn["spread"]["standard_deviation"].as_f64().unwrap() > 0.0, "critiques differ: {drawn}");
}

#[test]
fn a_critic_without_a_head_and_what_a_head_cannot_do_are_told() {
    let refused = |server: &Server, path: &str, extra: Value| {
        let response = server.post(path, &body(&extra));
        assert_eq!(response.status, 400, "{extra}");
        let error = response.json();
        (error["code"].as_str().unwrap().to_owned(), error["error"]["param"].as_str().unwrap().to_owned())
    };
    let told = |code: &str, param: &str| (code.to_owned(), param.to_owned());
    let pair = || json!({ "responses": ["a", "b"], "method": "scalar" });
    assert_eq!(refused(&Server::with_options(&[]), "/reward", pair()), told("no_reward_head", "method"));
    // A checkpoint with a name of that family, but without a head.
    let folder = rated(1.0);
    let source = reference().join("models/tiny56-native/model.safetensors");
    fs::copy(source, model(&folder).join("model.safetensors")).unwrap();
    let headless = serve(&model(&folder));
    assert_eq!(refused(&headless, "/judge", json!({ "response": "a" })), told("no_reward_head", "format"));

    let server = serve(&model(&rated(1.0)));
    let unsupported = |extra: Value| refused(&server, "/judge", extra);
    let distribution = json!({ "response": "a", "distribution": true });
    assert_eq!(unsupported(distribution), told("unsupported_rubric", "distribution"));
    let first = json!({ "response": "a", "mode": "score_then_explain" });
    assert_eq!(unsupported(first), told("unsupported_rubric", "mode"));
    let critique = json!({ "responses": ["a", "b"], "critique": true });
    assert_eq!(refused(&server, "/reward", critique), told("invalid_request", "critique"));
    let idle = json!({ "responses": ["a", "b"], "method": "pointwise", "max_tokens": 5 });
    assert_eq!(refused(&server, "/reward", idle), told("invalid_request", "max_tokens"));
}
