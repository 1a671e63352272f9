//! The committed OpenAPI document is the one that the server generates, describes everything, and is correct.

use std::{fs, path::Path, process::Command};

use gavel_tests::{Server, python, run_well};

/// A file of this package.
fn file(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_committed_document_is_the_generated_one() {
    let server = Server::random();
    let response = server.get("/openapi.json");
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    let generated = response.text() + "\n";
    let path = file("../openapi/gavel.json");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "openapi/gavel.json differs from what the handlers say; run this test with UPDATE_EXPECT=1 to rewrite it"
    );
    let document: serde_json::Value = serde_json::from_str(&committed).unwrap();
    for path in
        ["/judge", "/rubrics", "/rubrics/reload", "/v1/chat/completions", "/v1/models", "/health", "/ready"]
    {
        assert!(document["paths"].get(path).is_some(), "{path} is not documented");
    }
}

/// Everything in the document is described and has examples that work; this holds for a new route too. Examples are
/// sent to the small critic, and are best made with it.
#[test]
fn everything_is_described_and_every_example_works() {
    // A folder of rubrics, so that there is one to reload.
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rubrics")).unwrap();
    let (config, data) = (folder.path().to_str().unwrap(), folder.path().join("data"));
    let server = Server::with_options(&["--config-dir", config, "--data-dir", data.to_str().unwrap()]);
    let url = format!("http://{}", server.address());
    let said = run_well(Command::new(python()).arg(file("python/api_document.py")).arg(url), b"");
    assert!(said.ends_with("all well\n"), "{said}");
}
