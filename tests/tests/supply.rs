//! What the program is made of: held to deny.toml where its own reader is not installed, and told as a bill of materials.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use gavel_tests::{python, run_well};
use semver::{Version, VersionReq};
use serde_json::Value;

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

fn toml_of(path: &str) -> toml::Table {
    toml::from_str(&fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

fn text<'a>(table: &'a toml::Value, key: &str) -> Option<&'a str> {
    table.get(key)?.as_str()
}

/// Every package of a lock file.
fn locked(path: &str) -> Vec<toml::Value> {
    let packages = toml_of(path)["package"].as_array().unwrap().clone();
    assert!(packages.len() > 50, "{path} has only {} packages", packages.len());
    packages
}

/// The crates that deny.toml bans, and which of their versions.
fn bans() -> Vec<(String, VersionReq, String)> {
    let deny = toml_of("deny.toml");
    let entries = deny["bans"]["deny"].as_array().unwrap();
    let ban = |entry: &toml::Value| {
        let (name, versions) =
            text(entry, "crate").unwrap().split_once('@').unwrap_or((text(entry, "crate").unwrap(), "*"));
        (name.to_owned(), VersionReq::parse(versions).unwrap(), text(entry, "reason").unwrap().to_owned())
    };
    entries.iter().map(ban).collect()
}

/// The bans that packages break.
fn broken<'a>(bans: &'a [(String, VersionReq, String)], packages: &[toml::Value]) -> Vec<(&'a str, String)> {
    let mut found = Vec::new();
    for package in packages {
        let version = Version::parse(text(package, "version").unwrap()).unwrap();
        for (name, versions, reason) in bans {
            if text(package, "name") == Some(name) && versions.matches(&version) {
                found.push((name.as_str(), format!("{version}: {reason}")));
            }
        }
    }
    found
}

#[test]
fn nothing_that_is_banned_is_locked() {
    let bans = bans();
    for path in ["Cargo.lock", "fuzz/Cargo.lock"] {
        assert_eq!(broken(&bans, &locked(path)), [], "{path}");
    }
    // The list can refuse: versions below a floor, hijacked releases, and crates of any version.
    for (name, version) in
        [("bytes", "1.11.0"), ("arrayref", "0.3.10"), ("openssl-sys", "0.9.100"), ("tokio", "1.44.1")]
    {
        let made: toml::Value =
            toml::from_str::<toml::Table>(&format!("name = {name:?}\nversion = {version:?}")).unwrap().into();
        assert_eq!(broken(&bans, &[made]).len(), 1, "{name} {version}");
    }
}

#[test]
fn everything_comes_from_the_registry_with_its_checksum() {
    for path in ["Cargo.lock", "fuzz/Cargo.lock"] {
        for package in locked(path) {
            let name = text(&package, "name").unwrap();
            // The workspace's own packages come from nowhere.
            if let Some(source) = text(&package, "source") {
                assert_eq!(source, REGISTRY, "{name} in {path}");
                assert_eq!(text(&package, "checksum").map(str::len), Some(64), "{name} in {path}");
            }
        }
    }
}

/// Every package that is linked on this machine, as Cargo sees it.
fn packages() -> Vec<Value> {
    let version = String::from_utf8(Command::new("rustc").arg("-vV").output().unwrap().stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

#[test]
fn every_licence_is_one_that_is_allowed() {
    let deny = toml_of("deny.toml");
    let list = |value: &toml::Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|licence| licence.as_str().unwrap().to_owned()).collect()
    };
    let allowed = list(&deny["licenses"]["allow"]);
    let exceptions = deny["licenses"]["exceptions"].as_array().unwrap();
    let packages = packages();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or_else(|| panic!("{name} tells no licence"));
        let own = exceptions.iter().filter(|entry| text(entry, "crate") == Some(name));
        let allowed: Vec<String> =
            own.flat_map(|entry| list(&entry["allow"])).chain(allowed.clone()).collect();
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX).unwrap();
        let fits = expression.evaluate(|needed| allowed.contains(&needed.to_string()));
        assert!(fits, "{name} has the licence {licence}");
    }
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
    // What is linked into the program is there with its checksum; what only tests use is not.
    let find = |name: &str| told.iter().find(|component| component["name"] == name);
    let checksum =
        locked("Cargo.lock").iter().find(|package| text(package, "name") == Some("axum")).cloned().unwrap();
    let axum = find("axum").unwrap();
    assert_eq!(axum["hashes"][0]["content"].as_str(), text(&checksum, "checksum"));
    assert_eq!(axum["purl"], format!("pkg:cargo/axum@{}", axum["version"].as_str().unwrap()));
    assert!(find("kernels").is_some() && find("proptest").is_none() && find("spdx").is_none());
}
