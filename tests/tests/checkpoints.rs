//! Checkpoints that the built binary writes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use gavel_tests::binary;

fn gavel(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Makes a small model in `folder`, and returns its weights' bytes.
fn make(folder: &Path, options: &[&str]) -> Vec<u8> {
    let made = gavel(&[&["bench", "make-model", "small", folder.to_str().unwrap()], options].concat());
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(text(&made.stdout).contains("50.06 million weights"), "{}", text(&made.stdout));
    fs::read(folder.join("model.safetensors")).unwrap()
}

#[test]
fn a_made_model_follows_from_its_seed_and_is_a_critic() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let first = make(&path("first"), &[]);
    assert!(first == make(&path("same"), &["--seed", "1"]), "a seed makes one model");
    let other = make(&path("other"), &["--seed", "2"]);
    assert!(first.len() == other.len() && first != other, "another seed makes another model");

    // The same numbers: each f32 is a bf16 followed by zero bits.
    let wide = make(&path("wide"), &["--form", "f32"]);
    let data = |bytes: &[u8]| 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (narrow, wide) = (&first[data(&first)..], &wide[data(&wide)..]);
    assert_eq!(wide.len(), 2 * narrow.len());
    let same = |(wide, narrow): (&[u8], &[u8])| wide[..2] == [0, 0] && wide[2..] == *narrow;
    assert!(wide.chunks_exact(4).zip(narrow.chunks_exact(2)).all(same));

    let model = path("first");
    let model = model.to_str().unwrap();
    let inspected = text(&gavel(&["inspect", model]).stdout);
    for part in ["6 layers of 256, 4 heads, tiles of 384 px", "12 layers of 512, 8 heads over 2", "36 grids"]
    {
        assert!(inspected.contains(part), "{part} in {inspected}");
    }
    let scene = concat!(env!("CARGO_MANIFEST_DIR"), "/../training/examples/scene.png");
    let case = ["judge", "--model", model, "--image", scene, "--question", "?", "--response", "x"];
    let judged = gavel(&[&case[..], &["--max-tokens", "4"]].concat());
    // Random weights give no verdict, but they do write text.
    assert!(text(&judged.stderr).contains("cut by its token limit"), "{}", text(&judged.stderr));

    let again = gavel(&["bench", "make-model", "small", model]);
    assert!(!again.status.success());
    assert!(text(&again.stderr).contains("config.json is there already"), "{}", text(&again.stderr));
}

#[test]
fn a_language_model_in_gguf_is_the_same_made_or_converted() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let text_of = |name: &str| path(name).to_str().unwrap().to_owned();
    make(&path("bf16"), &["--seed", "7"]);
    for (form, converted, described) in [("q8", "q8_0", "Q8_0"), ("q4", "iq4_nl", "IQ4_NL")] {
        make(&path(form), &["--seed", "7", "--form", form]);
        let file = text_of(&format!("{form}.gguf"));
        let run = || gavel(&["convert", &text_of("bf16"), &file, "--form", converted]);
        let output = run();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("44.59 million weights"), "{}", text(&output.stdout));
        let made = fs::read(path(form).join("model.gguf")).unwrap();
        assert!(made == fs::read(&file).unwrap(), "{form}");
        assert!(text(&run().stderr).contains("there already"));

        let inspected = text(&gavel(&["inspect", &text_of(form)]).stdout);
        assert!(inspected.contains(described) && inspected.contains("50.06 million"), "{inspected}");
        let judged = gavel(&[
            "judge",
            "--model",
            &text_of(form),
            "--question",
            "?",
            "--response",
            "x",
            "--max-tokens",
            "4",
        ]);
        assert!(text(&judged.stderr).contains("cut by its token limit"), "{}", text(&judged.stderr));
    }
}
