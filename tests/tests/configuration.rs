//! The configuration file: below the environment and the command line, and wrong ones told by the line.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use gavel_tests::{Server, binary};
use tempfile::TempDir;

/// `gavel` with these arguments, and with nothing of its own in the environment but `variables`.
fn gavel(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("GAVEL_") || name.starts_with("HF_"))
    {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).output().unwrap()
}

fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gavel.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// Of each line of a configuration, under its section: the value, where it is set, and what follows it.
fn lines(text: &str) -> BTreeMap<String, Option<String>> {
    let (mut section, mut found) = (String::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, value)) = line.split_once(" = ")
            && key.trim_start_matches("# ").chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
        {
            let value = value.split(" # ").next().unwrap().trim().to_owned();
            found.insert(
                format!("{section}.{}", key.trim_start_matches("# ")),
                Some(value).filter(|_| !key.starts_with('#')),
            );
        } else if let Some(key) = line.strip_prefix("# ").and_then(|line| line.strip_suffix(" is not set")) {
            found.insert(format!("{section}.{key}"), None);
        }
    }
    found
}

#[test]
fn the_documented_file_has_all_settings_and_their_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/gavel.toml");
    let documented = lines(&std::fs::read_to_string(&path).unwrap());
    let output = gavel(&["serve", "--print-config"], &[]);
    assert!(output.status.success());
    let in_force = lines(&String::from_utf8(output.stdout).unwrap());
    assert!(in_force.len() > 10, "{in_force:?}");
    assert_eq!(documented, in_force);
    let path = path.to_string_lossy();
    assert!(gavel(&["config", "check", &path], &[]).status.success());
}

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    let (_folder, path) = file(
        "[engine]\nmax_sequences = 3\nmax_waiting = 4\nrestart_after_panic = true\nmax_waiting_tokens = 5\n",
    );
    let path = path.to_string_lossy();
    let output = gavel(
        &["serve", "--config", &path, "--print-config", "--max-sequences", "9"],
        &[("GAVEL_MAX_SEQUENCES", "8"), ("GAVEL_MAX_WAITING", "7"), ("HF_TOKEN", "secret")],
    );
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "max_sequences = 9 # command line",
        "max_waiting = 7 # environment",
        "max_waiting_tokens = 5 # file",
        "restart_after_panic = true # file",
        "port = 8080 # default",
        "# hub_token is set (environment)",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(!text.contains("secret"));
    // What is printed can be read again.
    let (_folder, printed) = file(&text);
    assert!(gavel(&["config", "check", &printed.to_string_lossy()], &[]).status.success());
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_line() {
    let (_folder, path) = file(
        "port = 1\n[server]\nport = 99999\nhots = \"x\"\n\n[engin]\nx = 1\n[engine]\nmax_sequences = \"many\"\nmax_waiting = {}\n",
    );
    let path = path.to_string_lossy();
    for arguments in [&["config", "check", &*path][..], &["serve", "--config", &path]] {
        let output = gavel(arguments, &[]);
        assert_eq!(output.status.code(), Some(78));
        let text = String::from_utf8(output.stderr).unwrap();
        let place = |line: usize| format!("{path}:{line}: ");
        let told: Vec<&str> = text.lines().map(|line| line.trim_start_matches("error: ")).collect();
        for (found, (line, words)) in told.iter().zip([
            (1, "port stands in no section"),
            (3, "server.port: invalid value '99999'"),
            (4, "server.hots: no such key; [server] has: host, port"),
            (6, "there is no section [engin]; there are: access, critic, engine"),
            (9, "engine.max_sequences: invalid value 'many'"),
            (10, "engine.max_waiting: a text, a number, true or false is wanted"),
        ]) {
            assert!(found.starts_with(&place(line)) && found.contains(words), "{words} in {found}");
        }
        assert_eq!(told.len(), 6, "{text}");
    }
    let (_folder, path) = file("[server\n");
    let output = gavel(&["config", "check", &path.to_string_lossy()], &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8(output.stderr).unwrap().contains("gavel.toml:1: "));
    let output = gavel(&["config", "check", "/no/such/file.toml"], &[]);
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn a_server_takes_its_settings_from_the_file() {
    let (_folder, path) = file("[server]\nmax_body_mib = 1\n");
    let server = Server::with_options(&["--config", &path.to_string_lossy()]);
    let body = serde_json::json!({ "question": "x".repeat(1 << 20), "response": "a" });
    assert_eq!(server.post("/judge", &body).status, 413);
}
