//! Files of rubrics, critic profiles and forms: refused with the file's name, or usable for prompts and for parsing.

use std::fs;

use rubric::{AnswerForm, Case, Responses, RubricLibrary};

use super::{bytes::Bytes, scratch::Scratch};

const FOLDERS: [&str; 3] = ["rubrics", "critics", "forms"];

thread_local! {
    static FOLDER: Scratch = make();
}

fn make() -> Scratch {
    let folder = Scratch::new("library");
    for name in FOLDERS {
        fs::create_dir_all(folder.join(name)).expect("a folder can be made");
    }
    folder
}

fn case(pair: bool) -> Case {
    let text = "An {answer} with <|im_end|> in it.";
    let responses = match pair {
        true => Responses::Pair(text.into(), "B".into()),
        false => Responses::One(text.into()),
    };
    Case {
        reference: Some("A reference.".into()),
        description: Some("A description.".into()),
        ..Case::new("Which {question}?", responses)
    }
}

/// Panics when a file that cannot be used is accepted, or an error does not name the file.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let kind = FOLDERS[bytes.below(FOLDERS.len())];
    let text = bytes.text();
    FOLDER.with(|folder| {
        let file = folder.join(kind).join("given.toml");
        fs::write(&file, &text).expect("a file can be written");
        let library = RubricLibrary::with_folder(folder);
        fs::remove_file(&file).expect("the file is there");
        match library {
            Err(error) => {
                let told = error.to_string();
                assert!(told.contains("given.toml"), "{told:?} does not name the file");
            }
            Ok(library) => use_all(&library),
        }
    });
}

/// Renders a prompt for every rubric in every format, and parses all answers that its choices allow.
fn use_all(library: &RubricLibrary) {
    for profile in library.profiles() {
        for rubric in library.rubrics() {
            for format in profile.formats() {
                let pair = rubric.kind == rubric::Kind::Pairwise;
                let Ok(prompt) = profile.render(&case(pair), rubric, format) else { continue };
                assert!(!prompt.messages.is_empty());
                let Some(choices) = format.choices(rubric) else { continue };
                for (text, outcome) in choices.texts {
                    let mut parser = format.parser(rubric);
                    let begun = parser.text().to_owned();
                    let Some(rest) = choices.lead.strip_prefix(begun.as_str()) else { continue };
                    // This form is parsed only after a thought.
                    let thought = if format.answer(rubric) == AnswerForm::ThinkAnswer {
                        "<think>Hm.</think>"
                    } else {
                        ""
                    };
                    parser.push(&format!("{thought}{rest}{text}"));
                    let read = parser.finish(rubric::Ending::Complete).map(|verdict| verdict.outcome);
                    assert_eq!(read, Ok(outcome), "{} {} {text:?}", rubric.name, format.name);
                }
            }
        }
    }
    for form in library.forms() {
        let texts: Vec<&str> = form.fingerprint.iter().map(String::as_str).collect();
        assert!(library.form_of(&texts).is_some(), "{} is not found by its own fingerprint", form.name);
    }
}
