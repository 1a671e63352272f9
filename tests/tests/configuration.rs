//! The configuration file: the environment and the command line override it, and its errors are reported with their
//! lines.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use gavel_tests::{Server, binary};
use tempfile::TempDir;

/// Runs `gavel` with these arguments, and without its own variables in the environment but for `variables`.
fn gavel(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    let is_own = |name: &str| name.starts_with("GAVEL_") || name.starts_with("HF_") || name == "RUST_LOG";
    for (name, _) in std::env::vars().filter(|(name, _)| is_own(name)) {
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

/// The settings of a configuration by section and name; the value of a commented-out or unset one is `None`.
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
    // The printed configuration is itself a valid file.
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
        assert!(!text.contains("--"), "a file has keys and no options: {text}");
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

#[test]
fn every_wrong_key_of_a_file_is_told_with_its_name() {
    let (_folder, path) = file(
        "[server]\nport = 99999\n[[keys]]\nid = \"ci\"\nsha256 = \"short\"\n[[keys]]\nid = \"bots\"\nsha256 = \"0\"\nadmin = \"yes\"\n",
    );
    let output = gavel(&["config", "check", &path.to_string_lossy()], &[]);
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8(output.stderr).unwrap();
    for words in [
        "gavel.toml:2: server.port: ",
        "gavel.toml:5: keys.sha256 of \"ci\": ",
        "gavel.toml:9: keys.admin of \"bots\": ",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
}

/// A certificate without its key would otherwise be no TLS at all.
#[test]
fn settings_that_do_not_fit_together_are_refused_wherever_they_come_from() {
    let half = "[tls]\ntls_cert = \"/tls.crt\"\n";
    for (text, options, variables, told) in [
        (half, &[][..], &[][..], Some("gavel.toml:2: tls.tls_cert needs tls.tls_key, which is not set")),
        ("[tls]\ntls_key = \"/tls.key\"\n", &[], &[], Some("gavel.toml:2: tls.tls_key needs tls.tls_cert,")),
        (
            "[tls]\ntls_client_ca = \"/ca\"\n",
            &[],
            &[],
            Some("gavel.toml:2: tls.tls_client_ca needs tls.tls_cert,"),
        ),
        (half, &["--tls-key", "/tls.key"], &[], None),
        (half, &[], &[("GAVEL_TLS_KEY", "/tls.key")], None),
        ("", &["--tls-client-ca", "/ca"], &[], Some("--tls-client-ca needs --tls-cert, which is not set")),
        (
            "",
            &[],
            &[("GAVEL_TLS_CERT", "/c")],
            Some("GAVEL_TLS_CERT needs the environment variable GAVEL_TLS_KEY"),
        ),
        ("[log]\njudging_log = \"/log\"\n", &["--judging-log-mib", "7"], &[], None),
        ("[log]\njudging_log_mib = 7\n", &["--judging-log", "/log"], &[], None),
        (
            "[log]\njudging_log_mib = 7\n",
            &[],
            &[],
            Some("gavel.toml:2: log.judging_log_mib needs log.judging_log,"),
        ),
        ("[log]\njudging_log_mib = 64\n", &[], &[], None),
        ("", &["--judging-log-redact", "text"], &[], Some("--judging-log-redact needs --judging-log,")),
        (
            "[critic]\nweights = \"f32\"\nquantize = \"q8\"\n",
            &[],
            &[],
            Some("gavel.toml:3: critic.quantize cannot be combined with critic.weights"),
        ),
        (
            "[critic]\nweights = \"f32\"\n",
            &["--quantize", "q8"],
            &[],
            Some("--quantize cannot be combined with"),
        ),
    ] {
        let (_folder, path) = file(text);
        let path = path.to_string_lossy();
        let output = gavel(&[&["serve", "--config", &path, "--print-config"], options].concat(), variables);
        let said = String::from_utf8(output.stderr).unwrap();
        let on_command_line = told.is_some_and(|told| told.starts_with("--"));
        let status = if told.is_none() {
            0
        } else if on_command_line {
            2
        } else {
            78
        };
        assert_eq!(output.status.code(), Some(status), "{text} {options:?}: {said}");
        assert!(said.contains(told.unwrap_or_default()), "{told:?} in {said}");
        // The file by itself.
        if options.is_empty() && variables.is_empty() {
            let output = gavel(&["config", "check", &path], &[]);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(status), "{text}: {said}");
            assert!(said.contains(told.unwrap_or_default()), "{told:?} in {said}");
        }
    }
    // Commands without a file have the same options.
    let case = ["judge", "--question", "?", "--response", "a", "--weights", "f32", "--quantize", "q4"];
    let output = gavel(&case, &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("cannot be combined with --weights"), "{said}");
}

#[test]
fn a_file_that_would_not_be_served_does_not_pass_the_check() {
    let digest = "0".repeat(64);
    let key = |form: &str| {
        format!("[[keys]]\nid = \"a\"\nsha256 = \"{digest}\"\nconcurrent_requests = 2\nforms = \"{form}\"\n")
    };
    let address = |value: &str| format!("[access]\nadmin_address = \"{value}\"\n");
    for (text, words) in [
        (
            "[traces]\notlp_endpoint = \"https://127.0.0.1:4318\"\n".to_owned(),
            "gavel.toml:2: traces.otlp_endpoint: ",
        ),
        ("[traces]\notlp_endpoint = \"http://\"\n".into(), "gavel.toml:2: traces.otlp_endpoint: "),
        (address("127.0.0.1"), "gavel.toml:2: access.admin_address: "),
        (address("70000"), "gavel.toml:2: access.admin_address: "),
        (address("[::1]:x"), "gavel.toml:2: access.admin_address: "),
        ("[server]\nhost = \"127.0.0.1:80\"\n".into(), "gavel.toml:2: server.host: "),
        ("[server]\nhost = \"two words\"\n".into(), "gavel.toml:2: server.host: "),
        (key("unknown"), "gavel.toml:5: keys.forms of \"a\": "),
    ] {
        let (_folder, path) = file(&text);
        let path = path.to_string_lossy();
        for arguments in [&["config", "check", &*path][..], &["serve", "--port", "0", "--config", &path]] {
            let output = gavel(arguments, &[]);
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(
                output.status.code() == Some(78) && told.contains(words),
                "{arguments:?}: {words} in {told}"
            );
        }
    }
    for text in [
        key("auto"),
        key("trl-pairwise"),
        address("9091"),
        address(":9091"),
        address("[::1]:9091"),
        address("localhost:9091"),
        "[server]\nhost = \"::\"\n".into(),
        "[traces]\notlp_endpoint = \"http://collector:4318/base/\"\n".into(),
    ] {
        let (_folder, path) = file(&text);
        let output = gavel(&["config", "check", &path.to_string_lossy()], &[]);
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_wrong_value_is_blamed_on_the_variable_that_has_it() {
    for (arguments, variable, value) in [
        (&["serve"][..], "GAVEL_PORT", "abc"),
        (&["serve"], "GAVEL_LOG_FORMAT", "loud"),
        (&["serve"], "RUST_LOG", "gavel=loud"),
        (&["serve"], "GAVEL_LOG_FILTER", "gavel=loud"),
        (&["serve"], "GAVEL_OFFLINE", "perhaps"),
        (&["probe"], "GAVEL_PORT", "abc"),
    ] {
        let output = gavel(arguments, &[(variable, value)]);
        assert_eq!(output.status.code(), Some(78));
        let text = String::from_utf8(output.stderr).unwrap();
        let told = format!("error: invalid value '{value}' for the environment variable {variable}");
        assert!(text.starts_with(&told) && !text.contains("--"), "{text}");
    }
    // An error on the command line is reported as one of the command line.
    let output = gavel(&["serve", "--port", "abc"], &[("GAVEL_PORT", "8080")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("'--port <PORT>'"));
}

#[test]
fn variables_say_yes_in_many_ways_and_slips_are_told() {
    for (value, offline) in [("1", true), ("yes", true), ("true", true), ("0", false), ("no", false)] {
        let output = gavel(&["serve", "--print-config"], &[("GAVEL_OFFLINE", value)]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("\noffline = {offline} # environment\n")), "{value}: {text}");
        assert!(output.stderr.is_empty());
    }
    let variables = [
        ("GAVEL_MAX_SEQUENCE", "8"),
        ("GAVEL_WHATEVER", "1"),
        ("GAVEL_EMULATED_BYTES", "1"),
        ("GAVEL_API_KEY", "secret"),
        ("GAVEL_OPTIONS", "--offline"),
    ];
    let text = String::from_utf8(gavel(&["serve", "--print-config"], &variables).stderr).unwrap();
    let told: Vec<&str> = text.lines().collect();
    assert!(told[0].contains("GAVEL_MAX_SEQUENCE ") && told[0].contains("GAVEL_MAX_SEQUENCES"), "{text}");
    assert!(told[1].contains("GAVEL_WHATEVER ") && told.len() == 2, "{text}");
}

#[test]
fn variables_of_other_programs_are_unset_when_they_are_empty() {
    let others = [
        "HF_TOKEN",
        "HF_ENDPOINT",
        "HF_HUB_CACHE",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_SERVICE_NAME",
        "RUST_LOG",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
    ];
    let without = gavel(&["serve", "--print-config"], &[]);
    let empty = gavel(&["serve", "--print-config"], &others.map(|name| (name, "")));
    assert!(without.status.success() && empty == without, "{empty:?}");
    // A variable of its own that is empty is a mistake.
    let own = gavel(&["serve", "--print-config"], &[("GAVEL_KEYS_FILE", "")]);
    assert_eq!(own.status.code(), Some(78), "{own:?}");
}

#[test]
fn the_log_filter_has_a_second_variable_that_other_programs_use_too() {
    let (_folder, path) = file("[server]\nlog_filter = \"error\"\n");
    let path = path.to_string_lossy();
    let (own, other) = (("GAVEL_LOG_FILTER", "warn"), ("RUST_LOG", "debug"));
    for (options, variables, expected) in [
        (&[][..], &[][..], "error\" # file"),
        (&[], &[own], "warn\" # environment"),
        (&[], &[other], "debug\" # environment"),
        (&[], &[own, other], "warn\" # environment"),
        (&["--log-filter", "trace"], &[own, other], "trace\" # command line"),
    ] {
        let output = gavel(&[&["serve", "--config", &*path, "--print-config"], options].concat(), variables);
        let text = String::from_utf8(output.stdout).unwrap();
        let line = format!("log_filter = \"{expected}");
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
        assert!(output.stderr.is_empty(), "{variables:?}");
    }
}

#[test]
fn own_options_come_before_those_that_commands_share() {
    for (command, options) in [
        (&["judge"][..], &["--image", "--question", "--input", "--url"][..]),
        (&["prefer"], &["--input", "--form", "--method", "--url"]),
        (&["evaluate"], &["--wordings", "--json"]),
        (&["attack"], &["--searches", "--search-steps"]),
        (&["bench", "steps"], &["--quick", "--json"]),
        (&["bench", "load"], &["--requests", "--rates", "--mode"]),
        (&["bench", "overhead"], &["--clients", "--mode"]),
        (&["bench", "compare"], &["--python", "--parts"]),
    ] {
        let output = gavel(&[command, &["--help"]].concat(), &[]);
        let text = String::from_utf8(output.stdout).unwrap();
        let shared =
            ["\nCritic:", "\nHub:", "\nEngine:"].iter().filter_map(|heading| text.find(heading)).min();
        for option in options {
            let place = text
                .find(&format!("\n      {option} "))
                .or_else(|| text.find(&format!("\n      {option}\n")));
            assert!(place < shared && place.is_some(), "{option} of {command:?} in {text}");
        }
    }
}

/// With these values a server would fail every request, or no request would ever reach it.
#[test]
fn values_with_which_nothing_would_work_are_refused() {
    for (option, value, words) in [
        ("--max-sequences", "0", "at least 1"),
        ("--max-waiting", "0", "at least 1"),
        ("--max-body-mib", "0", "at least 1"),
        ("--max-json-depth", "0", "at least 1"),
        ("--request-timeout-s", "0", "at least 1"),
        ("--batch-concurrency", "0", "at least 1"),
        ("--max-head-kib", "7", "at least 8"),
        ("--head-timeout-s", "0", "above 0"),
        ("--max-image-side", "99999999999", "at most 1048576"),
        ("--max-text-mib", "17592186044416", "at most 16777216"),
        ("--memo-entries", "18446744073709551615", "at most 16777216"),
        ("--queue-timeout-s", "18446744073709551616", "at most 31536000"),
        ("--max-sequences", "9223372036854775807", "at most 65536"),
        ("--body-pause-s", "1e19", "at most 31536000"),
        ("--keep-alive-s", "inf", "at most 31536000"),
        ("--max-messages", "-1", "whole number"),
        ("--allowed-hosts", "http://gavel.example.com", "without scheme"),
        ("--allowed-hosts", "gavel.example.com,other.example.com:8080", "without scheme"),
    ] {
        let output = gavel(&["serve", "--print-config", &format!("{option}={value}")], &[]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains(option) && told.contains(words), "{told}");
    }
    assert!(gavel(&["serve", "--print-config", "--max-head-kib=8"], &[]).status.success());
    // The same bounds hold in the environment and in a file.
    let output = gavel(&["serve", "--print-config"], &[("GAVEL_MAX_BODY_MIB", "17592186044416")]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains("GAVEL_MAX_BODY_MIB: it must be at most 16777216"), "{told}");
    let (_folder, path) =
        file("[http]\nhead_timeout_s = 1e19\n[server]\nmemo_entries = 9223372036854775807\n");
    let output = gavel(&["config", "check", &path.to_string_lossy()], &[]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains("http.head_timeout_s: ") && told.contains("server.memo_entries: "), "{told}");
}

/// The largest values that options take overflow nothing: a server with them answers.
#[test]
fn a_server_with_the_largest_values_answers() {
    let year = "31536000";
    let options =
        ["keep-alive", "head-timeout", "body-timeout", "body-pause", "peer-timeout", "queue-timeout"];
    let times = options.map(|name| [format!("--{name}-s"), year.to_owned()]);
    let sizes = ["max-body", "max-bodies", "max-text", "max-image", "decode-memory", "image-cache"];
    let sizes = sizes.map(|name| [format!("--{name}-mib"), "16777216".to_owned()]);
    let counts = [
        ("--memo-entries", "16777216"),
        ("--max-headers", "16384"),
        ("--max-head-kib", "1048576"),
        ("--max-sequences", "65536"),
        ("--max-waiting", "1073741824"),
        ("--max-waiting-tokens", "1073741824"),
        ("--max-megapixels", "65536"),
        ("--max-images", "65536"),
        ("--max-image-side", "1048576"),
        ("--max-output-tokens", "1073741824"),
        ("--request-timeout-s", year),
        ("--wrong-keys-per-minute", "1073741824"),
    ];
    let counts = counts.map(|(name, value)| [name.to_owned(), value.to_owned()]);
    let options: Vec<String> = times.into_iter().chain(sizes).chain(counts).flatten().collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let server = Server::with_options(&options);
    let case = serde_json::json!({
        "question": "What is it?",
        "images": [gavel_tests::image("tiny56-square-0.png"), gavel_tests::image("tiny56-square-0.png")],
        "response": "A cat.",
        "mode": "score",
    });
    for answer in [server.get("/livez"), server.get("/health"), server.post("/judge", &case)] {
        let status = answer.status;
        assert_eq!(status, 200, "{}", answer.text());
    }
}
