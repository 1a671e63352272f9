//! Tests of the compiled-in files and of folders that replace them.

use critic::{EncodedImage, Part, Role};

use super::{Origin, RubricLibrary, form_of};
use crate::{
    AnswerForm, Case, CaseField, Direction, Ending, Kind, Problems, Responses, Rubric, RubricError, Scale,
    VerdictError,
};

fn case(responses: Responses) -> Case {
    let images = vec![EncodedImage::new(*b"one"), EncodedImage::new(*b"two")];
    Case { images, reference: Some("A cat.".into()), ..Case::new("What is it?", responses) }
}

/// A judged text may contain some or all sentences of another program's instructions.
#[test]
fn words_of_another_form_in_a_judged_text_do_not_choose_it() {
    let library = RubricLibrary::compiled_in().unwrap();
    for form in library.forms() {
        let instructions = form.fingerprint.join(" ");
        for other in library.forms().filter(|other| other.name != form.name) {
            let all = other.fingerprint.join(" ");
            let prompts = |words: &str| {
                let last = form
                    .opening
                    .iter()
                    .map(|opening| format!("{opening} The answer: {words} {instructions}"));
                let first = format!("{instructions} The answer: {words}");
                last.chain([first]).collect::<Vec<_>>()
            };
            for prompt in prompts(&all) {
                let found = library.form_of(&[&prompt]).map(|found| found.name.as_str());
                assert_eq!(found, Some(form.name.as_str()), "{} is in {prompt:?}", other.name);
            }
            // Some of the sentences, for which only these two forms are looked for: all forms take long.
            for prompt in other.fingerprint.iter().flat_map(|words| prompts(words)) {
                let found = form_of([form, other].into_iter(), &[&prompt]).map(|found| found.name.as_str());
                assert_eq!(found, Some(form.name.as_str()), "{} is in {prompt:?}", other.name);
            }
        }
    }
}

#[test]
fn everything_compiled_in_is_valid_and_renders() {
    let library = RubricLibrary::compiled_in().unwrap();
    assert!(library.rubrics().count() >= 2);
    for profile in library.profiles() {
        for responses in [Responses::One("A dog.".into()), Responses::Pair("A dog.".into(), "A cow.".into())]
        {
            let case = case(responses);
            let rubric = library.rubric(profile.default_rubric(case.kind())).unwrap();
            let prompt = profile.render(&case, rubric, profile.format(rubric, None).unwrap()).unwrap();
            let parts = &prompt.messages.last().unwrap().parts;
            assert_eq!(parts.len(), 3, "two images, then one text");
            let Part::Text(text) = &parts[2] else { panic!("the text comes last") };
            assert!(text.contains("What is it?") && text.contains("A dog."), "{text}");
            assert_eq!(text.contains("A cow."), case.kind() == Kind::Pairwise, "{text}");
        }
    }
}

#[test]
fn llava_critic_is_asked_in_the_words_of_its_card() {
    let library = RubricLibrary::compiled_in().unwrap();
    let profile = library.profile_for("lmms-lab/LLaVA-Critic-7B");
    assert_eq!(profile.name, "llava-critic");
    let mut case = case(Responses::One("A dog.".into()));
    case.reference = None;
    let rubric = library.rubric(profile.default_rubric(Kind::Pointwise)).unwrap();
    assert_eq!(rubric.scale, Some(Scale { min: 0.0, max: 100.0, step: 1.0, decimals: true }));
    let prompt = profile.render(&case, rubric, profile.format(rubric, None).unwrap()).unwrap();
    assert_eq!(
        prompt.messages.iter().map(|message| message.role).collect::<Vec<_>>(),
        [Role::System, Role::User]
    );
    assert_eq!(prompt.messages[0].parts, [Part::Text("You are a helpful assistant.".into())]);
    assert_eq!(
        prompt.messages[1].parts[2],
        Part::Text(
            "Given an image and a corresponding question, please serve as an unbiased and fair judge to evaluate the \
             quality of answer answers provided by a Large Multimodal Model (LMM). Score the response out of 100 and \
             explain your reasoning with specific details. Your task is provided as follows:\nQuestion: [What is it?]\n\
             The LMM response: [A dog.]\nASSISTANT:\n "
                .into()
        )
    );
    let pair = Case { responses: Responses::Pair("A dog.".into(), "A cow.".into()), ..case };
    let rubric = library.rubric(profile.default_rubric(Kind::Pairwise)).unwrap();
    assert_eq!(
        profile.render(&pair, rubric, profile.format(rubric, None).unwrap()).unwrap().messages[1].parts[2],
        Part::Text(
            "Given an image and a corresponding question, please serve as an unbiased and fair judge to evaluate the \
             quality of the answers provided by a Large Multimodal Model (LMM). Determine which answer is better and \
             explain your reasoning with specific details. Your task is provided as follows:\nQuestion: [What is it?]\n\
             The first response: [A dog.]\nThe second response: [A cow.]\nASSISTANT:\n"
                .into()
        )
    );
}

#[test]
fn an_unknown_checkpoint_is_asked_in_general_words() {
    let library = RubricLibrary::compiled_in().unwrap();
    assert_eq!(library.profile_for("Someone/Gavel-Mini-2").name, "gavel-mini", "a family's own name matches");
    let profile = library.profile_for("tiny56");
    assert_eq!(profile.name, "generic");
    let rubric = Rubric::inline(
        Kind::Pointwise,
        "Is it funny?".into(),
        Some(Scale { min: 1.0, max: 5.0, step: 0.5, decimals: false }),
    )
    .unwrap();
    let prompt = profile
        .render(&case(Responses::One("A dog.".into())), &rubric, profile.format(&rubric, None).unwrap())
        .unwrap();
    let Part::Text(text) = &prompt.messages[0].parts[2] else { panic!("the text comes last") };
    for wanted in ["Is it funny?", "from 1 to 5", "A cat."] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
}

#[test]
fn a_rubric_of_another_kind_is_refused() {
    let library = RubricLibrary::compiled_in().unwrap();
    let profile = library.profile_for("tiny56");
    let rubric = library.rubric(profile.default_rubric(Kind::Pairwise)).unwrap();
    let error = profile
        .render(&case(Responses::One("A dog.".into())), rubric, profile.format(rubric, None).unwrap())
        .unwrap_err();
    assert!(matches!(error, RubricError::WrongKind { .. }), "{error}");
    assert!(matches!(library.rubric("no-such"), Err(RubricError::Unknown { name, .. }) if name == "no-such"));
}

#[test]
fn a_profile_with_an_unknown_field_or_a_missing_kind_does_not_load() {
    let head = "name = \"p\"\ndefault_pointwise = \"x\"\ndefault_pairwise = \"y\"\n";
    let format = |kind: &str, answer: &str, part: &str| {
        format!("[[formats]]\nname = \"f\"\nkind = \"{kind}\"\nparts = [\"{part}\"]\nanswer = \"{answer}\"\n")
    };
    for (formats, word) in [
        (
            format("pointwise", "score_line", "{answer}"),
            "formats[0].parts[0]: it names a field \"answer\" that does not exist",
        ),
        (format("pointwise", "better_line", "{question}"), "another kind"),
        (format("pointwise", "score_line", "{question}"), "no pairwise"),
        (format("pointwise", "score_line", "") + "colour = 1\n", "formats[0].colour"),
    ] {
        let text = format!("{head}{formats}");
        let error = RubricLibrary::default().add_profile("p.toml", &text, Origin::Folder).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn what_a_critic_can_decide_for_is_what_its_rubric_has() {
    let library = RubricLibrary::compiled_in().unwrap();
    let choices = |critic: &str, rubric: &Rubric| {
        let profile = library.profile_for(critic);
        let found = profile.format(rubric, None).unwrap().choices(rubric)?;
        Some((found.lead, found.texts.into_iter().map(|(text, _)| text).collect::<Vec<_>>()))
    };
    let told = |lead: &str, texts: &[&str]| {
        Some((lead.to_owned(), texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()))
    };
    let scale = Scale { min: 0.0, max: 1.0, step: 0.5, decimals: false };
    let scored = Rubric::inline(Kind::Pointwise, "Is it funny?".into(), Some(scale)).unwrap();
    assert_eq!(choices("gavel-mini", &scored), told("Score: ", &["0\n", "0.5\n", "1\n"]));
    assert_eq!(choices("llava-critic-7b", &scored), told("Score: [", &["0]", "0.5]", "1]"]));
    let compared = Rubric::inline(Kind::Pairwise, "Which is funnier?".into(), None).unwrap();
    assert_eq!(choices("gavel-mini", &compared), told("Better: ", &["1\n", "2\n", "tie\n"]));
    let fine = Scale { min: 0.0, max: 1.0, step: 0.0001, decimals: false };
    let fine = Rubric::inline(Kind::Pointwise, "Is it funny?".into(), Some(fine)).unwrap();
    assert_eq!(choices("gavel-mini", &fine), None);
}

#[test]
fn a_format_can_be_named_and_a_held_out_one_only_so() {
    let library = RubricLibrary::compiled_in().unwrap();
    let mini = library.profile_for("gavel-mini");
    let [scored, compared] = ["helpfulness", "better"].map(|name| library.rubric(name).unwrap());
    assert_eq!(mini.format(scored, None).unwrap().name, "plain");
    assert!(mini.format(compared, Some("unseen")).unwrap().held_out);
    let error = mini.format(compared, Some("none")).unwrap_err().to_string();
    assert!(error.contains("\"none\"") && error.contains("\"plain\""), "{error}");
}

#[test]
fn a_rubric_answer_is_asked_for_where_a_format_can_ask_and_else_left_to_the_critic() {
    let library = RubricLibrary::compiled_in().unwrap();
    let asked = |critic: &str, name: &str| {
        let (profile, rubric) = (library.profile_for(critic), library.rubric(name).unwrap());
        let format = profile.format(rubric, None).unwrap();
        let responses = match rubric.kind {
            Kind::Pointwise => Responses::One("A dog.".into()),
            Kind::Pairwise => Responses::Pair("A dog.".into(), "A cow.".into()),
        };
        let described = rubric.fields.contains(&CaseField::Description).then(|| "Fur.".to_owned());
        let case = Case { description: described, ..case(responses) };
        let prompt = profile.render(&case, rubric, format).unwrap();
        let turn = prompt.messages.last().unwrap();
        let Part::Text(text) = turn.parts[2].clone() else { panic!("the text comes last") };
        (format.name.clone(), format.answer(rubric), text)
    };
    let (name, answer, text) = asked("llava-critic-7b", "mmhal");
    assert_eq!((name.as_str(), answer), ("asked-pointwise", AnswerForm::Rating));
    assert!(
        text.contains("\"Rating: N\"") && text.contains("from 0 to 6") && text.contains("[Fur.]"),
        "{text}"
    );
    let (_, answer, text) = asked("tiny56", "safety");
    assert_eq!(answer, AnswerForm::Rating);
    assert!(text.contains("the lower the better"), "{text}");
    let (name, answer, _) = asked("gavel-mini", "mm-vet");
    assert_eq!((name.as_str(), answer), ("plain", AnswerForm::ScoreLine));
    let (name, answer, text) = asked("CodeGoat24/UnifiedReward-Think-7b", "better");
    assert_eq!((name.as_str(), answer), ("thinking", AnswerForm::ThinkAnswer));
    assert!(text.contains("<answer>"), "{text}");
    assert_eq!(asked("CodeGoat24/UnifiedReward-7b", "overall").1, AnswerForm::FinalScore);
    assert_eq!(asked("CodeGoat24/UnifiedReward-7b", "better").1, AnswerForm::AnswerSentence);
}

#[test]
fn an_unusual_scale_is_told_where_a_format_can_tell_it() {
    let library = RubricLibrary::compiled_in().unwrap();
    let scale = |min, max| Some(Scale { min, max, step: 1.0, decimals: false });
    let chosen = |critic: &str, scale, direction| {
        let rubric =
            Rubric { scale, direction, answer: None, ..library.rubric("helpfulness").unwrap().clone() };
        library.profile_for(critic).format(&rubric, None).unwrap().name.clone()
    };
    let (critic, mini) = ("llava-critic-7b", "gavel-mini");
    for min in [0.0, 1.0] {
        assert_eq!(chosen(critic, scale(min, 10.0), Direction::Higher), "card-pointwise");
        assert_eq!(chosen(critic, scale(min, 10.0), Direction::Lower), "asked-pointwise");
    }
    assert_eq!(chosen(critic, scale(-5.0, 5.0), Direction::Higher), "asked-pointwise");
    // This critic is told both ends of the scale, and can be told nothing else.
    assert_eq!(chosen(mini, scale(-5.0, 5.0), Direction::Higher), "plain");
    assert_eq!(chosen(mini, scale(0.0, 10.0), Direction::Lower), "plain");
}

#[test]
fn what_a_rubric_needs_must_be_there_and_be_shown() {
    let library = RubricLibrary::compiled_in().unwrap();
    let rubric = library.rubric("mmhal").unwrap();
    let rendered = |critic: &str, case: &Case| {
        let profile = library.profile_for(critic);
        profile.render(case, rubric, profile.format(rubric, None).unwrap()).map(drop)
    };
    let described = Case { description: Some("A cat.".into()), ..case(Responses::One("A dog.".into())) };
    assert!(rendered("tiny56", &described).is_ok());
    let error = rendered("gavel-mini", &described).unwrap_err();
    assert!(matches!(error, RubricError::NoPlace { field: CaseField::Description, .. }), "{error}");
    // A field that no rubric needs is left out of the prompt, which `leaves_out` reports.
    let plain = library.rubric("helpfulness").unwrap();
    let critic = library.profile_for("llava-critic-7b");
    for (format, leaves_out) in [("card-pointwise", true), ("asked-pointwise", false)] {
        let format = critic.format(plain, Some(format)).unwrap();
        assert!(critic.render(&described, plain, format).is_ok());
        assert_eq!(format.leaves_out(&described), leaves_out);
    }
    let bare = Case { reference: Some(String::new()), ..described };
    let error = rendered("tiny56", &bare).unwrap_err();
    assert!(matches!(error, RubricError::MissingField { field: CaseField::Reference, .. }), "{error}");
}

#[test]
fn every_choice_of_every_rubric_is_read_as_what_it_means_and_begins_no_other() {
    let library = RubricLibrary::compiled_in().unwrap();
    for profile in library.profiles() {
        for rubric in library.rubrics() {
            let format = profile.format(rubric, None).unwrap();
            let Some(choices) = format.choices(rubric) else {
                assert_eq!(format.answer(rubric), AnswerForm::Scalar, "a reward head reads no text");
                continue;
            };
            for (index, (text, outcome)) in choices.texts.iter().enumerate() {
                assert!(choices.texts[..index].iter().all(|(other, _)| !text.starts_with(other.as_str())));
                let lead = if format.answer(rubric) == AnswerForm::ThinkAnswer {
                    "<think>I see.</think>"
                } else {
                    ""
                };
                let mut parser = format.parser(rubric);
                let lead = lead.to_owned() + choices.rest_of_lead(format.reply(rubric)).unwrap();
                parser.push(&format!("{lead}{text}"));
                let read = parser.finish(Ending::Complete).map(|verdict| verdict.outcome);
                assert_eq!(read, Ok(*outcome), "{text:?} of {} for {}", rubric.name, profile.name);
            }
        }
    }
}

#[test]
fn decimals_are_read_where_a_benchmark_reads_them_and_nowhere_else() {
    let library = RubricLibrary::compiled_in().unwrap();
    let read = |name: &str, text: &str| {
        let (profile, rubric) = (library.profile_for("llava-critic-7b"), library.rubric(name).unwrap());
        let mut parser = profile.format(rubric, None).unwrap().parser(rubric);
        parser.push(text);
        parser.finish(Ending::Complete).map(|verdict| verdict.outcome)
    };
    for (name, text) in [
        ("overall", "Score: [87.5]"),
        ("quality", "Score: 87.5/100"),
        ("image-caption", "It names all.\nFinal Score: 87.5"),
        ("llava-bench", "7.5\nwhy"),
        ("wilder", "7.5"),
        ("llava-bench-pair", "7.5 8\nwhy"),
        ("mm-vet", "0.85"),
    ] {
        assert!(read(name, text).is_ok(), "{name}: {text}: {:?}", read(name, text));
        let beyond = text.replace("7.5", "700.5").replace("0.85", "1.05");
        assert!(matches!(read(name, &beyond), Err(VerdictError::OutOfScale { .. })), "{name}: {beyond}");
    }
    for (name, text) in
        [("mmhal", "Rating: 4.5"), ("video-caption", "{\"score\": 4.8}"), ("helpfulness", "Score: [7.5]")]
    {
        assert!(matches!(read(name, text), Err(VerdictError::OutOfScale { .. })), "{name}: {text}");
    }
}

#[test]
fn every_problem_of_a_folder_is_told_with_file_and_key() {
    let root = std::env::temp_dir().join(format!("gavel-rubrics-{}", std::process::id()));
    let rubrics = root.join("rubrics");
    std::fs::create_dir_all(&rubrics).unwrap();
    let head = "version = 1\nkind = \"pointwise\"\nsummary = \"\"\ncriteria = \"x\"\n";
    for (file, text) in [
        ("a.toml", format!("name = \"a\"\n{head}[scale]\nmin = 0\nmax = 1\nstep = 0.3\n")),
        ("b.toml", format!("name = \"b\"\n{head}answer = \"better_line\"\n")),
        ("c.toml", format!("name = \"c\"\ncolour = 1\n{head}")),
        ("d.toml", "name = ".into()),
        ("e.toml", format!("name = \"accuracy\"\n{head}[scale]\nmin = 0\nmax = 1\n")),
        ("f.toml", format!("name = \"accuracy\"\n{head}[scale]\nmin = 0\nmax = 1\n")),
    ] {
        std::fs::write(rubrics.join(file), text).unwrap();
    }
    let found = RubricLibrary::with_folder(&root);
    std::fs::remove_dir_all(&root).unwrap();
    let Err(RubricError::Library(Problems(problems))) = found else { panic!("it has problems: {found:?}") };
    let places: Vec<_> = (problems.iter())
        .map(|problem| (problem.file.rsplit('/').next().unwrap(), problem.key.as_deref()))
        .collect();
    assert_eq!(
        places,
        [
            ("a.toml", Some("scale.step")),
            ("b.toml", Some("answer")),
            ("b.toml", Some("scale")),
            ("c.toml", Some("colour")),
            ("c.toml", Some("scale")),
            ("d.toml", None),
            ("f.toml", Some("name"))
        ]
    );
    assert!(RubricLibrary::with_folder(&root).is_err(), "a folder that is missing is a mistake");
}
