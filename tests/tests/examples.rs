//! Every file of `examples` is run against the built server, without keys and with one, and prints what it should.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use gavel_tests::{Client, Keys, Server, binary, client, run_well};

/// How a file is tested.
enum Tested {
    /// By running it: it must print all of these texts.
    Prints(&'static [&'static str]),
    /// By a file of `tests/clients/python`, which names it.
    By(&'static str),
}

fn examples() -> BTreeMap<&'static str, Tested> {
    use Tested::{By, Prints};
    let rewards = || Prints(&["The circle is orange. 0.9", "The circle is purple. 0.2"]);
    [
        ("best_of_n.py", Prints(&["The circle is orange. (better than the worst by"])),
        ("curl.sh", Prints(&["\"score\":3.0", "\"preference\":\"first\"", "\"ranking\":[0,1,2]"])),
        (
            "dpo_pairs.py",
            Prints(&[
                r#""chosen": [{"role": "assistant", "content": [{"type": "text", "text": "The circle is orange."}]}]"#,
                r#""rejected": [{"role": "assistant", "content": [{"type": "text", "text": "The cross is green."}]}]"#,
                "training/examples/scene.png",
            ]),
        ),
        ("evaluate.sh", Prints(&["180 items", "Pearson r"])),
        ("llama_factory.yaml", By("example_settings.py")),
        ("lmms_eval.env", By("example_settings.py")),
        ("ms_swift_reward.py", By("ms_swift_plugin.py")),
        ("openai_node.mjs", Prints(&["orange circle"])),
        ("openai_python.py", Prints(&["orange circle"])),
        ("openrlhf_reward.py", Prints(&["The circle is orange. [0.9", "The circle is purple. [0.2"])),
        ("slime_reward.py", rewards()),
        ("trl_reward.py", rewards()),
        ("verl_compute_score.py", rewards()),
        ("vlmevalkit.env", By("example_settings.py")),
        ("with_litellm.py", Prints(&["orange circle", "1. ", "3. I like music."])),
    ]
    .into()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The command that runs a file, if its interpreter and packages are installed.
fn runner(file: &Path, server: &Server) -> Option<Command> {
    let mut command = match file.extension().and_then(|ending| ending.to_str()).unwrap() {
        "sh" => Command::new("bash"),
        "py" => client(Client::Python, server)?,
        "mjs" => client(Client::Node, server)?,
        other => panic!("{}: nothing runs files that end in {other}", file.display()),
    };
    command
        .arg(file)
        .current_dir(root())
        .envs([("LITELLM_LOCAL_MODEL_COST_MAP", "True"), ("NO_PROXY", "*")])
        .env("GAVEL_URL", format!("http://{}", server.address()))
        .env("GAVEL", binary());
    Some(command)
}

#[test]
fn every_example_runs() {
    let folder = root().join("examples");
    let examples = examples();
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = files.filter(|name| name != "README.md" && name != "__pycache__").collect();
    files.sort();
    assert_eq!(files, examples.keys().copied().collect::<Vec<_>>(), "these are tested");
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    let server = Server::with_options(&[]);
    // The same with a key, which the examples take from the environment.
    let keys = Keys::new(&[("a", "")]);
    let keyed = keys.server(&[]);
    // Node searches for packages in the folder of the file and those above it.
    let beside = tempfile::tempdir().unwrap();
    symlink(root().join("tests/clients/node/node_modules"), beside.path().join("node_modules")).unwrap();
    for (name, tested) in examples {
        assert!(index.contains(&format!("[{name}]({name})")), "the index lacks {name}");
        let expected = match tested {
            Tested::By(test) => {
                let text = fs::read_to_string(root().join("tests/clients/python").join(test)).unwrap();
                assert!(text.contains(name), "{test} does not name {name}");
                continue;
            }
            Tested::Prints(expected) => expected,
        };
        let file = beside.path().join(name);
        fs::copy(folder.join(name), &file).unwrap();
        for (server, key) in [(&server, None), (&keyed, Some(keys.key("a")))] {
            let Some(mut command) = runner(&file, server) else { continue };
            match key {
                Some(key) => command.env("GAVEL_API_KEY", key),
                None => command.env_remove("GAVEL_API_KEY"),
            };
            let printed = run_well(&mut command, b"");
            for text in expected {
                assert!(printed.contains(text), "{name} does not print {text:?}:\n{printed}");
            }
        }
    }
}
