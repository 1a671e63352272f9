//! The order of the modules of some crates, and the dialects of the server, of which none names another.

use std::{collections::BTreeSet, path::Path};

use super::{read, with_ending};

/// The modules of `server` from the bottom to the top, as [`MODELS`].
const SERVER: [&str; 28] = [
    "generated_document",
    "hexadecimal",
    "sync",
    "process",
    "remote_images",
    "options",
    "telemetry",
    "connections",
    "metrics",
    "error",
    "json",
    "request",
    "access",
    "storage",
    "judging_log",
    "service",
    "extract",
    "images",
    "batches",
    "dialects",
    "boot",
    "routes",
    "serve",
    "settings",
    "commands",
    "fuzz_api",
    "lib",
    "main",
];

#[test]
fn modules_of_the_server_know_nothing_of_those_above_them() {
    check_order("crates/server/src", &SERVER);
}

/// The modules of `critic-candle` from the bottom to the top. Each names only modules before it, so that there are no
/// cycles.
const MODELS: [&str; 26] = [
    "sync",
    "hub",
    "device",
    "error",
    "rows",
    "drawn",
    "gpu_limits",
    "source",
    "tokenizer",
    "chat",
    "image",
    "parallel",
    "weights",
    "layers",
    "kv_cache",
    "decoders",
    "vision",
    "architectures",
    "backend",
    "generation",
    "load",
    "machine",
    "inspect",
    "convert",
    "make",
    "lib",
];

#[test]
fn modules_of_the_models_know_nothing_of_those_above_them() {
    check_order("crates/critic-candle/src", &MODELS);
}

/// The modules of `bench` from the bottom to the top, as [`MODELS`].
const BENCH: [&str; 21] = [
    "error",
    "extent",
    "cache_block",
    "weight_form",
    "machine",
    "cpu_time",
    "quantile",
    "latency",
    "table",
    "arrivals",
    "drawn_image",
    "client",
    "null_critic",
    "load",
    "sharing",
    "steps",
    "live",
    "corpus",
    "abuse",
    "compare",
    "lib",
];

#[test]
fn modules_of_the_benchmarks_know_nothing_of_those_above_them() {
    check_order("crates/bench/src", &BENCH);
}

/// The modules of `evaluation` from the bottom to the top, as [`MODELS`].
const EVALUATION: [&str; 10] =
    ["error", "item", "statistics", "forms", "attack", "plan", "answer", "figures", "report", "lib"];

#[test]
fn modules_of_the_evaluation_know_nothing_of_those_above_them() {
    check_order("crates/evaluation/src", &EVALUATION);
}

/// Checks that each module of the crate in `folder` names only modules before it in `order`, which lists all of them.
fn check_order(folder: &str, order: &[&str]) {
    let mut found = BTreeSet::new();
    for path in with_ending(folder, "rs") {
        let first = path.strip_prefix(folder).unwrap().iter().next().unwrap();
        let module = Path::new(first).file_stem().unwrap().to_str().unwrap();
        let place = order.iter().position(|known| *known == module);
        let place = place.unwrap_or_else(|| panic!("{folder} has a module without a place: {module}"));
        let text = read(&path);
        for named in named_in_crate(&text) {
            let above = order[place + 1..].contains(&named);
            assert!(!above, "{} names {named}, which is above it", path.display());
        }
        found.insert(module.to_owned());
    }
    assert_eq!(found.len(), order.len(), "{folder} lacks a module that has a place");
}

/// The names that follow `crate::` in a file: that of a path, or those with which the paths in braces begin.
fn named_in_crate(text: &str) -> Vec<&str> {
    fn word(path: &str) -> &str {
        path.trim_start().split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap()
    }
    let step = |c: char| i32::from(c == '{') - i32::from(c == '}');
    let mut named = vec![];
    for rest in text.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            named.push(word(rest));
            continue;
        };
        let mut depth = 1;
        let end = list.find(|c: char| {
            depth += step(c);
            depth == 0
        });
        let mut depth = 0;
        let paths = list[..end.unwrap()].split(|c: char| {
            depth += step(c);
            depth == 0 && c == ','
        });
        named.extend(paths.map(word));
    }
    named
}

#[test]
fn names_in_a_crate_are_found_in_paths_and_in_braces() {
    let text = "use crate::{a::{b, c::D}, e::F,\n    g,\n};\nfn h() -> crate::i::J { super::k::l() }";
    assert_eq!(named_in_crate(text), ["a", "e", "g", "", "i"]);
}

/// The dialects: families of client interfaces.
const DIALECTS: [&str; 4] = ["engines", "native", "openai", "scoring"];

/// What dialects share names none of them, nor do they name each other, so that a new one is a folder with its lines in
/// `dialects/mod.rs`. A route that takes bodies of two dialects is beside them.
#[test]
fn dialects_do_not_name_each_other() {
    let folder = Path::new("crates/server/src/dialects");
    let beside = ["mod.rs", "reward.rs"].map(|file| folder.join(file));
    let paths = with_ending(folder.to_str().unwrap(), "rs");
    assert!(DIALECTS.iter().all(|dialect| paths.contains(&folder.join(dialect).join("mod.rs"))));
    for path in paths.iter().filter(|path| !beside.contains(path)) {
        let text = read(path);
        let others = DIALECTS.iter().filter(|dialect| !path.starts_with(folder.join(dialect)));
        let named: Vec<_> = others.filter(|dialect| names_module(&text, dialect)).collect();
        assert!(named.is_empty(), "{} names other dialects: {named:?}", path.display());
    }
}

/// Whether a text has a path with a module of this name.
fn names_module(text: &str, module: &str) -> bool {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(module).any(|(place, _)| {
        let (before, after) = (&text[..place], &text[place + module.len()..]);
        let is_word = !before.ends_with(is_of_word) && !after.starts_with(is_of_word);
        let is_last = ["dialects::", "super::"].iter().any(|path| before.ends_with(path));
        is_word && (after.starts_with("::") || is_last)
    })
}

#[test]
fn a_module_is_named_by_what_is_in_it_and_by_itself() {
    for text in
        ["use crate::dialects::openai::x;", "use super::{a, openai::{self}};", "use super::super::openai;"]
    {
        assert!(names_module(text, "openai"), "{text}");
    }
    for text in ["examples::openai()", "use crate::dialects::openai_x;", "no_openai::x", "/openai/v1"] {
        assert!(!names_module(text, "openai"), "{text}");
    }
}
