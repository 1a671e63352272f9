//! The bill of materials of the program; `.ci/supply` checks its dependencies against `deny.toml`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use gavel_tests::{python, run_well};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

#[test]
fn the_bill_of_materials_is_whole_and_of_its_form() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gavel.cdx.json");
    run_well(Command::new("python3").arg(root().join(".ci/sbom")).arg(&file), b"");
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/bill_of_materials.py");
    run_well(Command::new(python()).arg(check).arg(&file), b"");
    let bill: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let told = bill["components"].as_array().unwrap();
    // Crates that are linked into the program are listed with their checksums; those that only tests use are not.
    let find = |name: &str| told.iter().find(|component| component["name"] == name);
    let lock: toml::Table = toml::from_str(&fs::read_to_string(root().join("Cargo.lock")).unwrap()).unwrap();
    let locked =
        lock["package"].as_array().unwrap().iter().find(|it| it["name"].as_str() == Some("axum")).unwrap();
    let axum = find("axum").unwrap();
    assert_eq!(axum["hashes"][0]["content"].as_str(), locked["checksum"].as_str());
    assert_eq!(axum["purl"], format!("pkg:cargo/axum@{}", axum["version"].as_str().unwrap()));
    assert!(find("kernels").is_some() && find("proptest").is_none());
}
