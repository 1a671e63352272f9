//! Real clients of other projects on the built server, one test for each file of `tests/clients`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use gavel_tests::{Client, Server, client, reference, run_well};
use tempfile::TempDir;

/// The Python files that are not tests.
const SHARED: [&str; 2] = ["absent", "conftest"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// A server with these options, where `{folder}` is an empty folder that exists as long as the server.
fn server(options: &[&str]) -> (Server, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().to_string_lossy();
    let options: Vec<String> = options.iter().map(|option| option.replace("{folder}", &path)).collect();
    let server = Server::with_options(&options.iter().map(String::as_str).collect::<Vec<_>>());
    (server, folder)
}

/// Runs a file of `tests/clients/python`, if its client is installed.
fn run_python(file: &str, kind: Client, options: &[&str]) {
    let (server, _folder) = server(options);
    let Some(mut python) = client(kind, &server) else { return };
    python
        .current_dir(folder().join("python"))
        .args(["-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"])
        .arg(format!("{file}.py"))
        // The tested packages contain pytest plugins of their own.
        .env("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1");
    run_well(&mut python, b"");
}

/// Makes a test of each Python file, from its name, how it is run, and the options of its server.
macro_rules! python_clients {
    ($($name:ident: $kind:ident, $options:expr;)+) => {
        const PYTHON: &[&str] = &[$(stringify!($name)),+];
        $(
            #[test]
            fn $name() {
                run_python(stringify!($name), Client::$kind, &$options);
            }
        )+
    };
}

python_clients! {
    alpaca_eval_annotators: Python, [];
    alpaca_eval_function: Python, [];
    deepeval_geval: Python, [];
    deepeval_metrics: Python, [];
    example_settings: Python, [];
    fastchat_mt_bench: PythonApart, [];
    instructor_modes: Python, [];
    judges_graders: Python, [];
    litellm_client: Python, [];
    lmms_eval_judge: Python, [];
    lmms_eval_rubric: Python, [];
    ms_swift_plugin: Python, [];
    openapi_document: Python, [];
    openai_batches: Python, ["--data-dir", "{folder}"];
    openai_busy: Python, ["--max-sequences", "1", "--max-waiting", "1"];
    openai_decisions: Python, [];
    openai_python: Python, [];
    openai_responses: Python, [];
    openai_structured: Python, [];
    openai_tools: Python, [];
    openrlhf_reward: PythonApart, [];
    prometheus_eval_judge: Python, [];
    trl_judge: Python, [];
    verdict_units: Python, [];
}

/// Makes a test of each Node file.
macro_rules! node_clients {
    ($($name:ident),+) => {
        const NODE: &[&str] = &[$(stringify!($name)),+];
        $(
            #[test]
            fn $name() {
                let (server, _folder) = server(&["--data-dir", "{folder}"]);
                let Some(mut node) = client(Client::Node, &server) else { return };
                let file = concat!(stringify!($name), ".mjs");
                run_well(node.current_dir(folder().join("node")).arg(file), b"");
            }
        )+
    };
}

node_clients!(openai_node, openai_node_files);

#[test]
fn async_openai() {
    let server = Server::with_options(&[]);
    let Some(mut program) = client(Client::Rust, &server) else { return };
    let address = format!("http://{}", server.address());
    let picture = reference().join("../../training/examples/scene.png");
    let said = run_well(program.arg(address).arg(picture), b"");
    assert!(said.ends_with("all well\n"), "{said}");
}

#[test]
fn every_file_of_a_client_is_run() {
    let listed = |language: &str, ending: &str| -> BTreeSet<String> {
        let files = fs::read_dir(folder().join(language)).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|found| found == ending));
        files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(listed("python", "py"), names(&[PYTHON, &SHARED].concat()));
    assert_eq!(listed("node", "mjs"), names(NODE));
}
