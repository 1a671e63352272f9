//! Prompts in the shape of those that real programs send (`tests/data/forms`): each gets the form of its program,
//! and a prompt that is only much like one gets none.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use gavel_tests::Server;
use serde_json::{Value, json};
use toml::Table;

/// A prompt with places for the judged texts.
struct Prompt {
    program: String,
    /// The form that it must get, if any.
    form: Option<String>,
    /// The role and the text of each message.
    messages: Vec<(&'static str, String)>,
}

/// The TOML files of a folder below that of the tests.
fn tables(folder: &str) -> Vec<Table> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| toml::from_str(&fs::read_to_string(file).unwrap()).unwrap()).collect()
}

impl Prompt {
    fn read(table: &Table) -> Self {
        let text = |name: &str| table.get(name).map(|value| value.as_str().unwrap().to_owned());
        let messages = ["system", "user"].into_iter().filter_map(|role| Some((role, text(role)?))).collect();
        Self { program: text("program").unwrap(), form: text("form"), messages }
    }

    /// The form of the answer when `judged` is the first of the judged texts.
    fn form(&self, server: &Server, judged: &str) -> Option<String> {
        let filled = |text: &str| {
            text.replace("$question", "What colour is the circle?")
                .replace("$reference", "orange")
                .replace("$second", "The circle is purple.")
                .replace("$first", judged)
        };
        let message =
            |(role, text): &(&str, String)| json!({ "role": role, "content": filled(text.as_str()) });
        let messages: Vec<Value> = self.messages.iter().map(message).collect();
        let response = server.post("/v1/chat/completions", &json!({ "messages": messages, "max_tokens": 8 }));
        assert_eq!(response.status, 200, "{}", self.program);
        response.header("x-gavel-form").map(str::to_owned)
    }
}

fn prompts() -> Vec<Prompt> {
    let read = |table: &Table| -> Vec<Prompt> {
        let prompts = table["prompt"].as_array().unwrap().iter();
        prompts.map(|prompt| Prompt::read(prompt.as_table().unwrap())).collect()
    };
    tables("data/forms").iter().flat_map(read).collect()
}

/// The instructions of some programs, as a judged text would quote them.
fn quotes() -> Vec<String> {
    let quoted = ["arena-hard", "live-bench", "mt-bench-single", "trl-pairwise"];
    let forms = tables("../config/forms");
    let forms = forms.iter().filter(|form| quoted.contains(&form["name"].as_str().unwrap()));
    let quotes: Vec<String> = forms
        .map(|form| {
            let texts = form["fingerprint"].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
            format!("It is red. {}", texts.collect::<Vec<_>>().join("\n"))
        })
        .collect();
    assert_eq!(quotes.len(), quoted.len());
    quotes
}

#[test]
fn each_prompt_gets_the_form_of_its_program_whatever_is_judged() {
    let server = Server::random();
    let (quotes, mut seen) = (quotes(), BTreeSet::new());
    for prompt in prompts() {
        let (program, form) = (&prompt.program, prompt.form.as_deref());
        assert_eq!(prompt.form(&server, "The circle is orange.").as_deref(), form, "{program}");
        let Some(name) = form else { continue };
        seen.insert(name.to_owned());
        for quote in &quotes {
            assert_eq!(prompt.form(&server, quote).as_deref(), form, "{program}: {quote}");
        }
    }
    assert!(seen.len() > 30, "{seen:?}");
}
