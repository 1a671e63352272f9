//! Downloads from a local hub: complete, interrupted and resumed, gated, offline, and with missing files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod local_hub;

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use critic_candle::{HubError, HubOptions, Unanswered, resolve};
use local_hub::{COMMIT, Faults, LocalHub, sha256};

const MODEL: &str = "gavel/tiny";

/// The files of a reference checkpoint with its weights in one file.
fn tiny() -> BTreeMap<String, Vec<u8>> {
    files_of("tiny56")
}

/// The files of a reference checkpoint with its weights in two files and an index.
fn sharded() -> BTreeMap<String, Vec<u8>> {
    files_of("geo384")
}

fn files_of(model: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/models").join(model);
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// An empty cache folder for one test.
fn cache(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hub").join(test);
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn options(hub: &LocalHub, cache: &Path) -> HubOptions {
    HubOptions { endpoint: Some(hub.endpoint.clone()), cache: Some(cache.into()), ..HubOptions::default() }
}

fn assert_holds(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in files {
        assert!(fs::read(folder.join(name)).unwrap() == *bytes, "{name} differs");
    }
}

#[test]
fn a_folder_is_returned_as_it_is() {
    let folder = env!("CARGO_MANIFEST_DIR");
    assert_eq!(resolve(folder, &HubOptions::default()).unwrap(), Path::new(folder));
}

#[test]
fn what_is_neither_folder_nor_id_is_refused_without_a_request() {
    for name in ["", "./nowhere", "/no/such/folder", "no-owner", "a/b/c", "../b", "a/..", "a b/c", "a/b?c"] {
        let error = resolve(name, &HubOptions::default()).unwrap_err();
        assert!(matches!(error, HubError::NotAModel { .. }), "{name}: {error}");
    }
    let options = HubOptions { revision: Some("../main".into()), ..HubOptions::default() };
    assert!(matches!(resolve(MODEL, &options), Err(HubError::NotARevision { .. })));
}

#[test]
fn a_whole_model_arrives_once_and_only_what_is_needed() {
    let mut files = tiny();
    files.insert("optimizer.bin".into(), vec![0; 100]);
    let hub = LocalHub::start(files, Faults::default());
    let cache = cache("whole");
    let folder = resolve(MODEL, &options(&hub, &cache)).unwrap();
    assert_eq!(folder, cache.join("models--gavel--tiny/snapshots").join(COMMIT));
    assert_holds(&folder, &tiny());
    assert!(!folder.join("optimizer.bin").exists());
    let sent = hub.bytes_sent("model.safetensors");
    assert_eq!(sent, tiny()["model.safetensors"].len());
    // A second call only requests the branch's commit, and downloads nothing.
    let requests = hub.requests().len();
    assert_eq!(resolve(MODEL, &options(&hub, &cache)).unwrap(), folder);
    assert_eq!(hub.requests().len(), requests + 1, "{:?}", hub.requests());
}

#[test]
fn a_cut_connection_is_resumed_in_the_same_call() {
    let weights = tiny()["model.safetensors"].len();
    let hub = LocalHub::start(tiny(), Faults { cut_after: Some(weights / 3), ..Faults::default() });
    let folder = resolve(MODEL, &options(&hub, &cache("cut"))).unwrap();
    assert_holds(&folder, &tiny());
    // Every byte was sent once: those that arrived before the cut were not requested again.
    assert_eq!(hub.bytes_sent("model.safetensors"), weights);
    let ranges = hub.ranges("model.safetensors");
    assert_eq!(ranges, [None, Some(weights / 3)]);
}

#[test]
fn a_broken_download_is_resumed_by_a_later_call() {
    let files = tiny();
    let weights = files["model.safetensors"].len();
    let faults = Faults { cut_after: Some(weights / 2), refuse_after_cut: true, ..Faults::default() };
    let hub = LocalHub::start(files.clone(), faults);
    let cache = cache("broken");
    let options = options(&hub, &cache);
    let error = resolve(MODEL, &options).unwrap_err();
    assert!(matches!(error, HubError::TokenRequired { .. }), "{error}");
    let part = cache.join("models--gavel--tiny/blobs").join(sha256(&files["model.safetensors"]) + ".part");
    assert_eq!(fs::metadata(&part).unwrap().len() as usize, weights / 2);
    // Offline, an incomplete model is not used.
    let offline = HubOptions { offline: true, ..options.clone() };
    assert!(matches!(resolve(MODEL, &offline), Err(HubError::NotCached { .. })));
    hub.heal();
    assert_holds(&resolve(MODEL, &options).unwrap(), &files);
    assert_eq!(hub.bytes_sent("model.safetensors"), weights);
    assert!(!part.exists());
}

#[test]
fn a_part_that_already_has_every_byte_is_not_asked_for_again() {
    let files = tiny();
    let hub = LocalHub::start(files.clone(), Faults::default());
    let cache = cache("complete-part");
    let blobs = cache.join("models--gavel--tiny/blobs");
    fs::create_dir_all(&blobs).unwrap();
    let weights = &files["model.safetensors"];
    fs::write(blobs.join(sha256(weights) + ".part"), weights).unwrap();
    assert_holds(&resolve(MODEL, &options(&hub, &cache)).unwrap(), &files);
    assert_eq!(hub.bytes_sent("model.safetensors"), 0);
}

#[test]
fn a_hub_that_cannot_resume_sends_the_whole_file_again() {
    let files = tiny();
    let weights = files["model.safetensors"].len();
    let faults = Faults { cut_after: Some(weights / 2), ignore_ranges: true, ..Faults::default() };
    let hub = LocalHub::start(files.clone(), faults);
    assert_holds(&resolve(MODEL, &options(&hub, &cache("no-ranges"))).unwrap(), &files);
    assert_eq!(hub.bytes_sent("model.safetensors"), weights / 2 + weights);
}

#[test]
fn damaged_leftovers_are_thrown_away() {
    let files = tiny();
    let weights = &files["model.safetensors"];
    let hub = LocalHub::start(files.clone(), Faults::default());
    let cache = cache("damaged-part");
    let blobs = cache.join("models--gavel--tiny/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(sha256(weights) + ".part"), vec![7; weights.len() / 2]).unwrap();
    assert_holds(&resolve(MODEL, &options(&hub, &cache)).unwrap(), &files);
}

#[test]
fn a_file_that_never_matches_its_hash_is_refused() {
    let hub = LocalHub::start(tiny(), Faults { damage: true, ..Faults::default() });
    let cache = cache("damaged");
    let error = resolve(MODEL, &options(&hub, &cache)).unwrap_err();
    assert!(matches!(&error, HubError::Damaged { file, .. } if file == "model.safetensors"), "{error}");
    assert!(!cache.join("models--gavel--tiny/snapshots").join(COMMIT).join("model.safetensors").exists());
}

#[test]
fn a_gated_model_needs_a_token_and_the_token_stays_on_the_hub() {
    let hub = LocalHub::start(tiny(), Faults { token: Some("secret"), ..Faults::default() });
    let options = options(&hub, &cache("gated"));
    let error = resolve(MODEL, &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "gavel/tiny is gated, private or absent: it needs an access token, and none was given"
    );
    let with = |token: &str| HubOptions { token: Some(token.into()), ..options.clone() };
    assert!(matches!(resolve(MODEL, &with("wrong")), Err(HubError::AccessDenied { .. })));
    assert_holds(&resolve(MODEL, &with("secret")).unwrap(), &tiny());
    // The large file comes from another host, which must not receive the token.
    assert!(hub.requests().iter().any(|request| request.path.starts_with("/cdn/")));
    for request in hub.requests().iter().filter(|request| request.path.starts_with("/cdn/")) {
        assert_eq!(request.authorization, None, "{request:?}");
    }
}

#[test]
fn offline_takes_a_complete_cache_and_names_what_an_incomplete_one_lacks() {
    let hub = LocalHub::start(sharded(), Faults::default());
    let cache = cache("offline");
    let online = options(&hub, &cache);
    let offline = HubOptions { offline: true, ..online.clone() };
    let error = resolve(MODEL, &offline).unwrap_err().to_string();
    assert!(error.contains("revision main is missing"), "{error}");
    let folder = resolve(MODEL, &online).unwrap();
    let requests = hub.requests().len();
    assert_eq!(resolve(MODEL, &offline).unwrap(), folder);
    let pinned = HubOptions { revision: Some(COMMIT.into()), ..offline.clone() };
    assert_eq!(resolve(MODEL, &pinned).unwrap(), folder);
    assert_eq!(hub.requests().len(), requests, "offline asks nobody");
    fs::remove_file(folder.join("model-00002-of-00002.safetensors")).unwrap();
    let error = resolve(MODEL, &offline).unwrap_err().to_string();
    assert!(error.contains("model-00002-of-00002.safetensors is missing"), "{error}");
}

#[test]
fn a_silent_hub_is_no_obstacle_once_the_model_is_cached() {
    let hub = LocalHub::start(tiny(), Faults::default());
    let cache = cache("silent");
    let folder = resolve(MODEL, &options(&hub, &cache)).unwrap();
    // No program listens on the port of a closed listener.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = HubOptions { endpoint: Some(format!("http://127.0.0.1:{port}")), ..options(&hub, &cache) };
    assert_eq!(resolve(MODEL, &silent).unwrap(), folder);
    let error = resolve("gavel/other", &silent).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { cause: Unanswered::Transport(_), .. }), "{error}");
    assert_each_is_said_once(&error);
}

/// Asserts that no error of the chain repeats a message before it.
fn assert_each_is_said_once(error: &dyn Error) {
    let mut said = error.to_string();
    let mut next = error.source();
    assert!(next.is_some(), "{said}: and why?");
    while let Some(cause) = next {
        assert!(!said.contains(&cause.to_string()), "{said}: {cause}");
        said = format!("{said}: {cause}");
        next = cause.source();
    }
}

#[test]
fn a_cache_that_cannot_be_used_is_named_and_why_is_said_once() {
    let hub = LocalHub::start(tiny(), Faults::default());
    let cache = cache("no-folder");
    fs::create_dir_all(cache.parent().unwrap()).unwrap();
    let _ = fs::remove_file(&cache);
    fs::write(&cache, "a file").unwrap();
    let error = resolve(MODEL, &options(&hub, &cache)).unwrap_err();
    assert!(matches!(error, HubError::Cache { .. }), "{error}");
    assert!(error.to_string().contains("no-folder"), "{error}");
    assert_each_is_said_once(&error);
}

#[test]
fn a_sharded_model_brings_every_file_of_its_index() {
    let hub = LocalHub::start(sharded(), Faults::default());
    let folder = resolve(MODEL, &options(&hub, &cache("sharded"))).unwrap();
    assert_holds(&folder, &sharded());
}

#[test]
fn a_shard_that_the_hub_lacks_is_named() {
    let mut files = sharded();
    files.remove("model-00002-of-00002.safetensors");
    let hub = LocalHub::start(files, Faults::default());
    let error = resolve(MODEL, &options(&hub, &cache("no-shard"))).unwrap_err();
    assert_eq!(error.to_string(), "gavel/tiny has no model-00002-of-00002.safetensors, which a critic needs");
}

#[test]
fn an_index_cannot_lead_out_of_the_cache() {
    let mut files = sharded();
    let index = br#"{"weight_map": {"a": "../../../escape.safetensors"}}"#;
    files.insert("model.safetensors.index.json".into(), index.to_vec());
    let hub = LocalHub::start(files, Faults::default());
    let error = resolve(MODEL, &options(&hub, &cache("escape"))).unwrap_err();
    assert!(matches!(error, HubError::Answer { .. }), "{error}");
}

#[test]
fn optional_files_may_be_absent_and_needed_ones_are_named() {
    let mut files = tiny();
    files.retain(|name, _| name == "config.json" || name == "model.safetensors");
    // An optional file that is listed but does not exist.
    let faults = Faults { absent: vec!["generation_config.json"], ..Faults::default() };
    let hub = LocalHub::start(files.clone(), faults);
    assert_holds(&resolve(MODEL, &options(&hub, &cache("bare"))).unwrap(), &files);
    for needed in ["config.json", "model.safetensors"] {
        let mut files = files.clone();
        files.remove(needed);
        let hub = LocalHub::start(files, Faults::default());
        let error = resolve(MODEL, &options(&hub, &cache("needed"))).unwrap_err();
        assert_eq!(error.to_string(), format!("gavel/tiny has no {needed}, which a critic needs"));
    }
}

#[test]
fn an_unknown_revision_is_named() {
    let hub = LocalHub::start(tiny(), Faults::default());
    let options = HubOptions { revision: Some("v9".into()), ..options(&hub, &cache("revision")) };
    assert_eq!(resolve(MODEL, &options).unwrap_err().to_string(), "the hub has no gavel/tiny at revision v9");
}
