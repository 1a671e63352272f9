//! Rules of the source tree that the compiler does not check: dependencies between crates, sizes, names, and documents.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "tidy/modules.rs"]
mod modules;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const MAX_LINES: usize = 500;
/// Folders with generated files.
const MADE: [&str; 5] = ["target", "__pycache__", ".venv", ".git", "node_modules"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder of the tree, as paths relative to its root.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut waiting = vec![root().join(folder)];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !MADE.contains(&name) {
                waiting.push(path);
            } else if path.is_file() {
                found.push(path.strip_prefix(root()).unwrap().into());
            }
        }
    }
    found.sort();
    found
}

fn with_ending(folder: &str, ending: &str) -> Vec<PathBuf> {
    files(folder).into_iter().filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}

fn rust_files() -> Vec<PathBuf> {
    [with_ending("crates", "rs"), with_ending("tests", "rs")].concat()
}

/// The workspace's own packages, as Cargo sees them.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap()
}

fn dependencies(package: &Value) -> &[Value] {
    package["dependencies"].as_array().unwrap()
}

#[test]
fn crates_know_only_the_crates_that_they_may_know() {
    // A new edge here is a decision: the diagram of ARCHITECTURE.md changes with it.
    let allowed = [
        ("bench", vec!["critic", "engine"]),
        ("critic", vec![]),
        ("critic-candle", vec!["critic", "kernels", "kernels-cuda"]),
        ("embedded", vec![]),
        ("engine", vec!["critic"]),
        ("evaluation", vec!["rubric"]),
        ("gavel-tests", vec![]),
        ("judge", vec!["critic", "engine", "rubric"]),
        ("kernels", vec![]),
        ("kernels-cuda", vec![]),
        ("rubric", vec!["critic"]),
        ("server", vec!["bench", "critic-candle", "embedded", "evaluation", "judge", "store"]),
        ("store", vec![]),
    ];
    let mut packages = packages();
    packages.sort_by(|one, other| name(one).cmp(name(other)));
    let edges: Vec<(&str, Vec<&str>)> = packages
        .iter()
        .map(|package| {
            // A dependency of a crate's tests alone is not an arrow.
            let ships = |dependency: &&Value| dependency["path"].is_string() && dependency["kind"] != "dev";
            let own = dependencies(package).iter().filter(ships);
            (name(package), own.map(name).collect::<BTreeSet<_>>().into_iter().collect())
        })
        .collect();
    assert_eq!(edges, allowed);
}

#[test]
fn only_critic_candle_names_candle() {
    for package in packages() {
        let candle = dependencies(&package).iter().any(|dependency| name(dependency).starts_with("candle"));
        assert_eq!(candle, name(&package) == "critic-candle", "{}", name(&package));
    }
}

/// The code that architectures share names none of them, nor do they name each other, so that a new one needs only a
/// folder and its lines in `architectures/mod.rs`.
#[test]
fn only_the_list_of_architectures_names_one() {
    let folder = Path::new("crates/critic-candle/src/architectures");
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let folders = entries.filter(|path| path.is_dir());
    let architectures: Vec<String> =
        folders.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let names = |path: &PathBuf| {
        let text = read(path);
        let others = architectures.iter().filter(|architecture| !path.starts_with(folder.join(architecture)));
        others.map(|name| format!("{name}::")).any(|path| text.contains(&path))
    };
    let naming: Vec<_> = with_ending("crates/critic-candle", "rs").into_iter().filter(names).collect();
    assert_eq!(naming, [folder.join("mod.rs")]);
}

/// What converts and makes checkpoints knows a decoder by its `DecoderKind`, so that a new one needs no change there.
/// The shapes of made models are those of published ones, and name theirs.
#[test]
fn only_the_shapes_of_made_models_name_a_decoder() {
    let source = Path::new("crates/critic-candle/src");
    let entries =
        fs::read_dir(root().join(source).join("decoders")).unwrap().map(|entry| entry.unwrap().path());
    let folders = entries.filter(|path| path.is_dir());
    let decoders: Vec<String> =
        folders.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let names = |path: &PathBuf| {
        let text = read(path).to_lowercase();
        decoders.iter().any(|name| text.contains(name))
    };
    let files = ["convert", "make"].map(|folder| with_ending(source.join(folder).to_str().unwrap(), "rs"));
    let naming: Vec<_> = files.concat().into_iter().filter(names).collect();
    assert_eq!(naming, [source.join("make/shape.rs")]);
}

/// `unsafe_code` is denied, with exceptions for the instruction sets, the mapping of a file, and calls to a GPU. This
/// lists the files with exceptions.
#[test]
fn unsafe_code_is_where_it_is_said_to_be() {
    let lifts = |path: &PathBuf| {
        let code: Vec<String> = read(path).lines().map(|line| line.trim_start().to_owned()).collect();
        code.iter()
            .any(|line| !line.starts_with("//") && (line.contains("unsafe {") || line.contains("unsafe fn")))
    };
    let lifting: Vec<_> = with_ending("crates", "rs").into_iter().filter(lifts).collect();
    let (kernels, others): (Vec<_>, Vec<_>) =
        lifting.into_iter().partition(|path| path.starts_with("crates/kernels/src/isa"));
    let expected = [
        "crates/critic-candle/src/weights/file.rs",
        "crates/kernels-cuda/src/gpu.rs",
        "crates/kernels-cuda/src/matrix_product.rs",
        "crates/kernels-cuda/src/nccl.rs",
        "crates/kernels-cuda/tests/driver.rs",
        "crates/kernels-cuda/tests/emulated/mod.rs",
    ];
    assert_eq!(others, expected.map(Path::new));
    assert!(!kernels.is_empty());
}

/// A panic while a lock is held must not cause a panic in every thread that takes the lock later. Clippy refuses only
/// `unwrap`.
#[test]
fn a_lock_whose_holder_panicked_is_taken_all_the_same() {
    let taken = [".lock()", ".read()", ".write()", ".wait("];
    for path in with_ending("crates", "rs").iter().filter(|path| !is_of_tests(path)) {
        let served: String =
            read(path).split("#[cfg(test)]\nmod ").next().unwrap().split_whitespace().collect();
        for (place, call) in taken.iter().flat_map(|call| served.match_indices(call)) {
            let after = &served[place + call.len()..];
            let after =
                if call == ".wait(" { after.split_once(')').map_or("", |(_, rest)| rest) } else { after };
            let given_up = [".unwrap()", ".expect("].iter().any(|end| after.starts_with(end));
            assert!(!given_up, "{}: {call} is to go on by PoisonError::into_inner", path.display());
        }
    }
}

/// Whether a file of a crate is part of its tests.
fn is_of_tests(path: &Path) -> bool {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    stem.ends_with("tests") || path.components().any(|part| part.as_os_str() == "tests")
}

#[test]
fn only_boot_names_where_critics_come_from() {
    let names = |path: &PathBuf| {
        let text = read(path);
        text.contains("critic_candle::") || text.contains("embedded::")
    };
    let naming: Vec<_> = with_ending("crates/server", "rs").into_iter().filter(names).collect();
    assert!(!naming.is_empty());
    assert!(naming.iter().all(|path| path.starts_with("crates/server/src/boot")), "{naming:?}");
}

/// Variables of options are named in `options`, or made from the option's name in `environment.rs`; clap reads them.
#[test]
fn only_the_command_line_reads_the_environment() {
    let calls = ["env::var", "from_env(", "from_default_env("];
    let reads = |path: &PathBuf| {
        let text = read(path);
        path.components().any(|part| part.as_os_str() == "src")
            && calls.iter().any(|call| text.contains(call))
    };
    let reading: Vec<_> = with_ending("crates", "rs").into_iter().filter(reads).collect();
    let expected = [
        // Reads the settings of a proxy to the hub.
        "crates/critic-candle/src/hub/download.rs",
        // Rewrites documents that tests compare with the program.
        "crates/server/src/generated_document.rs",
        "crates/server/src/settings/environment.rs",
    ];
    assert_eq!(reading, expected.map(Path::new));
}

/// All other code returns errors that can be told apart. The files outside of the folders of commands report an error
/// at the end, or are used by commands alone.
#[test]
fn only_the_command_line_uses_anyhow() {
    let folder = Path::new("crates/server/src");
    let is_command =
        |path: &PathBuf| ["commands", "settings"].iter().any(|part| path.starts_with(folder.join(part)));
    let uses = |path: &PathBuf| !is_command(path) && read(path).contains("anyhow");
    let using: Vec<_> = with_ending("crates", "rs").into_iter().filter(uses).collect();
    let expected =
        ["boot/benchmarks.rs", "boot/checkpoint.rs", "json/line.rs", "lib.rs", "process/stdout.rs"];
    assert_eq!(using, expected.map(|name| folder.join(name)));
}

#[test]
fn every_rust_file_says_what_it_is_for_and_can_be_read_at_once() {
    for path in rust_files() {
        let text = read(&path);
        assert!(text.starts_with("//! "), "{} does not begin with `//!`", path.display());
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn every_file_of_kernels_says_what_it_is_for_and_can_be_read_at_once() {
    let endings = ["cu", "cuh", "cpp", "h"];
    let files: Vec<PathBuf> = endings.iter().flat_map(|ending| with_ending("crates", ending)).collect();
    assert!(files.len() > 10);
    for path in files {
        let text = read(&path);
        assert!(text.starts_with("// "), "{} does not begin with `//`", path.display());
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn modules_are_named_by_what_they_are_about() {
    for path in rust_files() {
        for part in path.iter().map(|part| Path::new(part).file_stem().unwrap().to_str().unwrap()) {
            assert!(!["util", "utils", "helper", "helpers", "common"].contains(&part), "{}", path.display());
        }
    }
}

#[test]
fn every_configuration_file_is_toml() {
    let files = files("config");
    assert!(!files.is_empty());
    for path in files {
        assert_eq!(path.extension().unwrap(), "toml", "{}", path.display());
        if let Err(error) = toml::from_str::<toml::Table>(&read(&path)) {
            panic!("{}: {error}", path.display());
        }
    }
}

/// The texts between single backticks, outside of code blocks.
fn code_spans(markdown: &str) -> Vec<String> {
    let prose: String = markdown.split("```").step_by(2).collect();
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether the sources declare a type or trait of this name.
fn declares(sources: &[String], name: &str) -> bool {
    ["struct", "enum", "trait", "type"].iter().any(|kind| {
        let declaration = format!("{kind} {name}");
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        sources.iter().any(|source| source.split(&declaration).skip(1).any(ends))
    })
}

#[test]
fn what_architecture_md_names_exists() {
    let sources: Vec<String> = with_ending("crates", "rs").iter().map(read).collect();
    let folders = ["config", "crates", "tests", "training"];
    let all: Vec<PathBuf> = folders.into_iter().flat_map(files).collect();
    let mut types = 0;
    for span in code_spans(&read("ARCHITECTURE.md")) {
        if is_path(&span) {
            let below = |file: &PathBuf| file.ancestors().any(|part| part.ends_with(&span));
            let there = root().join(&span).exists() || all.iter().any(below);
            assert!(there, "ARCHITECTURE.md names the file {span}");
        } else if is_type(&span) {
            let name = span.split("::").next().unwrap();
            assert!(declares(&sources, name), "ARCHITECTURE.md names the type {name}");
            types += 1;
        }
    }
    assert!(types > 10, "only {types} types are named");
}

/// Whether a code span is a type in camel case, with or without one of its members. A word in capitals is not one.
fn is_type(span: &str) -> bool {
    let name = span.split("::").next().unwrap();
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.contains(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

/// Whether a code span is the path or name of one file or folder, and not a pattern or a route.
fn is_path(span: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
    let known = [".rs", ".toml", ".py", ".md", ".json", "/"].iter().any(|ending| span.ends_with(ending));
    known && span.chars().all(plain) && !span.starts_with('/')
}

#[test]
fn architecture_md_mentions_every_crate_and_folder() {
    let spans = code_spans(&read("ARCHITECTURE.md"));
    for package in packages() {
        assert!(spans.iter().any(|span| span == name(&package)), "ARCHITECTURE.md lacks {}", name(&package));
    }
    for entry in fs::read_dir(root()).unwrap().map(Result::unwrap) {
        let folder = entry.file_name().into_string().unwrap();
        let public = entry.path().is_dir() && !folder.starts_with('.') && !MADE.contains(&folder.as_str());
        if public && !files(&folder).is_empty() {
            let named = spans.iter().any(|span| span.trim_end_matches('/') == folder);
            assert!(named, "ARCHITECTURE.md lacks the folder {folder}");
        }
    }
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut documents: Vec<PathBuf> = top.filter(|name| name.ends_with(".md")).map(PathBuf::from).collect();
    for folder in ["config", "crates", "docs", "deploy", "examples", "tests", "training"] {
        if root().join(folder).is_dir() {
            documents.extend(with_ending(folder, "md"));
        }
    }
    assert!(documents.contains(&PathBuf::from("README.md")));
    for document in documents {
        for link in read(&document).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let path = root().join(document.parent().unwrap()).join(target);
            assert!(path.exists(), "{} links to {target}", document.display());
        }
    }
}
