//! The server on an emulated GPU, whose driver runs the kernels of `crates/kernels-cuda` on the CPU.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use gavel_tests::{Server, binary, image, reference};
use serde_json::{Value, json};

/// The folder with the libraries of the emulated driver.
fn emulator() -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("emulator");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/kernels-cuda/emulator/build");
    assert!(Command::new(script).arg(&folder).status().unwrap().success());
    folder.to_string_lossy().into_owned()
}

/// A server on an emulated GPU with `mebibytes` MiB of memory.
fn on_gpu(options: &[&str], mebibytes: usize) -> Server {
    let (libraries, bytes) = (emulator(), (mebibytes << 20).to_string());
    let variables = [("LD_LIBRARY_PATH", &*libraries), ("GAVEL_EMULATED_BYTES", &bytes)];
    Server::in_environment(&[&["--device", "cuda"], options].concat(), &variables)
}

/// `gavel judge` of a short case with further options.
fn judged(options: &[&str], variables: &[(&str, &str)]) -> Output {
    let case = ["judge", "--question", "What is it?", "--response", "A cat.", "--max-tokens", "24"];
    Command::new(binary()).args(case).args(options).envs(variables.iter().copied()).output().unwrap()
}

/// The options of the reference checkpoint.
fn tiny() -> [String; 2] {
    ["--model".into(), reference().join("models/tiny56").to_string_lossy().into_owned()]
}

/// Options of a server on an emulated GPU with a short context length, since it runs whole contexts when it starts.
fn short<'a>(model: &'a [String], positions: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    let model = model.iter().map(String::as_str);
    model.chain(["--context-length", positions]).chain(options.iter().copied()).collect()
}

fn case(response: &str) -> Value {
    json!({
        "question": "What is at the left?",
        "images": [image("tiny56-tall_1x4-0.png")],
        "response": response,
        "mode": "score",
        "distribution": true,
        "memo": false,
    })
}

/// The probability of each score.
fn probabilities(verdict: &Value) -> Vec<f64> {
    let scores = verdict["distribution"]["probabilities"].as_array().unwrap_or_else(|| panic!("{verdict}"));
    scores.iter().map(|score| score["probability"].as_f64().unwrap()).collect()
}

#[test]
fn verdicts_of_a_gpu_are_those_of_the_processor_to_sixteen_bits() {
    let gpu = on_gpu(&short(&[], "512", &["--cache-mib", "64"]), 1024);
    let processor = Server::with_options(&["--device", "cpu"]);
    let responses = [
        "There is a red square at the left.",
        "There is nothing at all, and no picture either.",
        "A large green star.",
    ];
    for response in responses {
        let (found, wanted) = (gpu.ok("/judge", &case(response)), processor.ok("/judge", &case(response)));
        let (found, wanted) = (probabilities(&found), probabilities(&wanted));
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!((found - wanted).abs() < 0.03, "{response}: {found} for {wanted}");
        }
        assert_ne!(found, wanted, "a GPU computes in other numbers");
    }
    // Six comparisons share an image; their steps run as graphs and in chunks.
    let body = json!({
        "question": "What is at the left?",
        "images": [image("tiny56-tall_1x4-0.png")],
        "responses": responses,
    });
    let (found, wanted) = (gpu.ok("/reward", &body), processor.ok("/reward", &body));
    assert_eq!(found["best"], wanted["best"], "{found} for {wanted}");
    assert_eq!(found["worst"], wanted["worst"], "{found} for {wanted}");
}

#[test]
fn a_gpu_writes_what_the_processor_writes() {
    let (libraries, image) = (emulator(), reference().join("images/tiny56-square-0.png"));
    let image = ["--image", &*image.to_string_lossy()];
    let written = |options: &[&str], variables: &[(&str, &str)]| {
        let output = judged(&[&image[..], options].concat(), variables);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let found = written(&["--device", "cuda", "--cache-mib", "64"], &[("LD_LIBRARY_PATH", &libraries)]);
    let wanted = written(&["--device", "cpu"], &[]);
    assert_eq!(found, wanted);
}

#[test]
fn a_comparison_on_a_gpu_is_of_language_and_rewards_in_its_own_floats() {
    let (libraries, folder) = (emulator(), tempfile::tempdir().unwrap());
    let (json, model) = (folder.path().join("figures.json"), reference().join("models/tiny56"));
    let compare = |options: &[&str]| {
        let mut command = Command::new(binary());
        command
            .args(["bench", "compare", "--quick", "--device", "cuda", "--model"])
            .arg(&model)
            .args(options);
        command.arg("--json").arg(&json).env("LD_LIBRARY_PATH", &libraries).output().unwrap()
    };
    let output = compare(&[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).unwrap();
    let figures: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!((&figures["device"], &figures["device_name"]), (&json!("cuda"), &json!("emulated GPU")));
    assert!(table.contains("; emulated GPU moves ") && table.contains(" GFLOP/s in bf16 "), "{table}");
    for (what, why) in [
        ("startup, image, growth", "only language and reward are measured on a GPU"),
        ("llama.cpp and mistral.rs", "they are not asked on a GPU"),
        ("transformers", "no --python"),
    ] {
        assert!(table.lines().any(|line| line == format!("Not measured: {what} ({why}).")), "{table}");
    }

    let sections = figures["sections"].as_array().unwrap();
    let programs = |title: &str| {
        let section = sections.iter().find(|section| section["title"].as_str().unwrap().ends_with(title));
        let section = section.unwrap_or_else(|| panic!("{title} in {table}"));
        let names =
            section["figures"].as_array().unwrap().iter().map(|figure| figure["program"].as_str().unwrap());
        names.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(sections.len(), 4, "{table}");
    assert_eq!(programs("Reading prompts, Gavel and transformers"), ["Gavel bf16", "Gavel q4", "Gavel q8"]);
    for title in ["one image, verdicts alone", "one image, verdicts with reasons"] {
        assert_eq!(programs(title), ["Gavel bf16", "Gavel q8"]);
    }
    for figure in sections[2..].iter().flat_map(|section| section["figures"].as_array().unwrap()) {
        let (note, seconds) = (figure["note"].as_str().unwrap(), figure["median"].as_f64().unwrap());
        assert!(note.starts_with(&format!("{:.1} comparisons each second; ", 2.0 / seconds)), "{figure}");
        assert!(figure["limit"].as_f64().unwrap() > 0.0, "{figure}");
    }

    let output = compare(&["--parts", "language,growth"]);
    let refused = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{refused}");
    assert!(refused.contains("growth is not measured on a GPU, only language and reward are"), "{refused}");
}

#[test]
fn what_is_left_of_a_gpu_is_the_caches() {
    let model = tiny();
    let [small, large] = [1536, 2048].map(|mebibytes| on_gpu(&short(&model, "2048", &[]), mebibytes));
    let [few, many] = [&small, &large].map(|server| server.engine("total_blocks"));
    // A position has keys and values of 3 layers and 2 heads, of 16 numbers of 2 bytes each; a block has 32 positions.
    let block_bytes = 2 * 3 * 2 * 16 * 2 * 32;
    let expected = (512 << 20) / block_bytes;
    assert!((many - few).abs_diff(expected) <= expected / 100, "{few} and {many} blocks");
    // The parts add up to the whole, but for what the driver does not hand out exactly, and for what the GPU needs
    // before a model is loaded: 32 MiB of workspace for the library of matrix products, and some bytes more.
    let bytes = |kind| gpu_memory(&small, kind);
    assert_eq!(bytes("kv_cache"), (few * block_bytes) as f64);
    let parts: f64 = ["weights", "steps", "features", "kv_cache", "spare"].map(bytes).iter().sum();
    assert!((0.97..=1.0).contains(&(parts / f64::from((1536 - 32) << 20))), "{parts} bytes");
    // The weights are those of the checkpoint's file in bf16, which has them in 32 bits, with tables beside them.
    let file = fs::metadata(reference().join("models/tiny56/model.safetensors")).unwrap().len() as f64;
    assert!((0.5..5.0).contains(&(bytes("weights") / (file / 2.0))), "{} of {file} bytes", bytes("weights"));
}

/// Bytes of the GPU for `kind`, as the metrics have them.
fn gpu_memory(server: &Server, kind: &str) -> f64 {
    let figures = server.get("/metrics").text();
    let name = format!(r#"gavel_gpu_memory_bytes{{kind="{kind}"}} "#);
    let told = figures.lines().find_map(|line| line.strip_prefix(&name));
    told.unwrap_or_else(|| panic!("no {kind} in {figures}")).parse().unwrap()
}

/// A step with one token of each of 4096 sequences has 4096 rows of logits, of 704 numbers of 2 bytes each, which is
/// more than other steps have left free.
#[test]
fn steps_have_memory_for_as_many_sequences_as_may_run_at_once() {
    let model = tiny();
    let [few, many] = ["8", "4096"].map(|sequences| {
        let server = on_gpu(&short(&model, "256", &["--max-sequences", sequences]), 1024);
        gpu_memory(&server, "steps")
    });
    assert!(many > few + f64::from(512 << 10), "{few} and {many} bytes");
}

/// The largest steps are run before the cache takes its memory, even if the size of the cache is given.
#[test]
fn a_cache_takes_nothing_from_the_largest_steps() {
    let (libraries, model) = (emulator(), tiny());
    let serve = |mebibytes: &str| {
        let mut command = Command::new(binary());
        command.args(["serve", "--port", "0", "--device", "cuda"]);
        command.args(short(&model, "512", &["--cache-mib", mebibytes]));
        command.env("LD_LIBRARY_PATH", &libraries).env("GAVEL_EMULATED_BYTES", "1073741824");
        command.output().unwrap()
    };
    // The cache alone would fit, but not beside the memory that steps and images need.
    let refused = serve("700");
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(78), "{told}");
    assert!(told.contains("MiB left for the cache") && told.contains("700 MiB"), "{told}");
}

/// Whichever does not fit: the kernels, the workspace of products, the weights, or the largest steps. It may fit at
/// another time.
#[test]
fn a_gpu_without_room_is_unavailable_and_no_damaged_checkpoint() {
    let libraries = emulator();
    for bytes in ["1000", "20000000", "36000000", "48000000"] {
        let variables = [("LD_LIBRARY_PATH", &*libraries), ("GAVEL_EMULATED_BYTES", bytes)];
        let output = judged(&["--device", "cuda", "--context-length", "512"], &variables);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("has no room for another"), "of {bytes} bytes: {told}");
        assert_eq!(output.status.code(), Some(69), "of {bytes} bytes: {told}");
    }
}

#[test]
fn what_a_gpu_cannot_do_is_said_in_a_sentence() {
    let libraries = emulator();
    let variables = |bytes: &'static str| [("LD_LIBRARY_PATH", &*libraries), ("GAVEL_EMULATED_BYTES", bytes)];
    let refused = |options: &[&str], variables: &[(&str, &str)]| {
        let output = judged(options, variables);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let small = refused(&["--device", "cuda"], &variables("20000000"));
    assert!(small.contains("has no room for another"), "{small}");
    let second = refused(&["--device", "cuda:2"], &variables("1000000000"));
    assert!(second.contains("there is no GPU 2: the driver knows 2"), "{second}");
    let wide = refused(&["--device", "cuda", "--precision", "f32"], &variables("1000000000"));
    assert!(wide.contains("bf16"), "{wide}");
    let unknown = refused(&["--device", "tpu"], &[]);
    assert!(unknown.contains("auto, cpu, cuda"), "{unknown}");
    // With a real driver the message is another one.
    if !Path::new("/dev/nvidiactl").exists() {
        let none = refused(&["--device", "cuda"], &[]);
        assert!(none.contains("there is no CUDA driver on this machine"), "{none}");
        assert!(judged(&["--device", "auto"], &[]).status.success());
    }
}

/// CUDA's libraries may crash in their exit handlers, since the engine's thread still runs.
#[test]
fn a_process_that_used_a_gpu_ends_without_exit_handlers() {
    let libraries = emulator();
    let variables = [("LD_LIBRARY_PATH", &*libraries), ("GAVEL_EMULATED_TEARDOWN", "1")];
    let image = reference().join("images/tiny56-square-0.png");
    let options = ["--device", "cuda", "--cache-mib", "64"];
    let output = judged(&[&["--image", &*image.to_string_lossy()], &options[..]].concat(), &variables);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.ends_with(b"\n"), "what was written is there");
    let server = Server::in_environment(&short(&[], "512", &options), &variables);
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

/// After some errors a GPU is lost to its process, so that only a new process can use it.
#[test]
fn a_server_whose_gpu_is_lost_fails_its_requests_and_ends() {
    let libraries = emulator();
    let variables = [("LD_LIBRARY_PATH", &*libraries), ("GAVEL_EMULATED_LAUNCHES", "900")];
    let server = Server::in_environment(&short(&[], "512", &["--device", "cuda"]), &variables);
    let body = json!({"question": "What is it?", "response": "A cat.", "max_tokens": 400, "memo": false});
    let failed = (0..20).map(|_| server.post("/judge", &body)).find(|answer| answer.status != 200);
    let failed = failed.expect("nine hundred kernels are not enough for all of these");
    assert!(failed.status >= 500, "{}", failed.status);
    assert!(failed.json()["error"]["message"].is_string());
    assert!(!server.wait(), "it ends as a failure");
}

/// A program without NCCL cannot add up the results of two GPUs, and refuses them.
#[cfg(not(feature = "nccl"))]
#[test]
fn several_gpus_need_a_program_with_nccl() {
    let libraries = emulator();
    let output = judged(&["--device", "cuda", "--tensor-parallel", "2"], &[("LD_LIBRARY_PATH", &libraries)]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("without the feature `nccl`"), "{told}");
}

/// Two emulated GPUs, with an emulated NCCL between them, judge as one does. The cache takes the remaining memory of
/// both, and each has half of every position.
#[cfg(feature = "nccl")]
#[test]
fn two_gpus_judge_as_one_does() {
    let model = tiny();
    let blocks =
        |ranks| on_gpu(&short(&model, "256", &["--tensor-parallel", ranks]), 1024).engine("total_blocks");
    let (one, two) = (blocks("1"), blocks("2"));
    assert!((19..=21).contains(&(10 * two / one)), "{one} and {two} blocks");

    let [one, two] = ["1", "2"].map(|ranks| on_gpu(&short(&[], "512", &["--tensor-parallel", ranks]), 1024));
    for response in ["There is a red square at the left.", "A large green star."] {
        let [wanted, found] = [&one, &two].map(|server| probabilities(&server.ok("/judge", &case(response))));
        assert_eq!(found.len(), wanted.len());
        assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 0.03), "{found:?} for {wanted:?}");
    }
}
