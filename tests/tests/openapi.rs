//! The committed OpenAPI document is the one that the server generates.

use std::{fs, path::Path};

use gavel_tests::Server;

#[test]
fn the_committed_document_is_the_generated_one() {
    let server = Server::random();
    let response = server.get("/openapi.json");
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    let generated = response.text() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi/gavel.json");
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
