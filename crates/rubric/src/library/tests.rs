//! The files that are compiled in, and folders that replace them.

use critic::{EncodedImage, Part, Role};

use super::RubricLibrary;
use crate::{Case, Kind, Responses, Rubric, RubricError, Scale};

fn case(responses: Responses) -> Case {
    let images = vec![EncodedImage::new(*b"one"), EncodedImage::new(*b"two")];
    Case { question: "What is it?".into(), images, responses, reference: Some("A cat.".into()) }
}

#[test]
fn everything_compiled_in_is_valid_and_renders() {
    let library = RubricLibrary::compiled_in().unwrap();
    assert!(library.rubrics().count() >= 2);
    for profile in library.profiles.values() {
        for responses in [Responses::One("A dog.".into()), Responses::Pair("A dog.".into(), "A cow.".into())]
        {
            let case = case(responses);
            let rubric = library.rubric(profile.default_rubric(case.kind())).unwrap();
            let prompt = profile.render(&case, rubric, profile.format(rubric.kind, None).unwrap()).unwrap();
            let parts = &prompt.messages.last().unwrap().parts;
            assert_eq!(parts.len(), 3, "two pictures, then one text");
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
    assert_eq!(rubric.scale, Some(Scale { min: 0.0, max: 100.0, step: 1.0 }));
    let prompt = profile.render(&case, rubric, profile.format(rubric.kind, None).unwrap()).unwrap();
    assert_eq!(prompt.messages.len(), 1, "the system text is the chat format's");
    assert_eq!(prompt.messages[0].role, Role::User);
    assert_eq!(
        prompt.messages[0].parts[2],
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
        profile.render(&pair, rubric, profile.format(rubric.kind, None).unwrap()).unwrap().messages[0].parts[2],
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
    let rubric =
        Rubric::inline(Kind::Pointwise, "Is it funny?".into(), Some(Scale { min: 1.0, max: 5.0, step: 0.5 }))
            .unwrap();
    let prompt = profile
        .render(&case(Responses::One("A dog.".into())), &rubric, profile.format(rubric.kind, None).unwrap())
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
        .render(&case(Responses::One("A dog.".into())), rubric, profile.format(rubric.kind, None).unwrap())
        .unwrap_err();
    assert!(matches!(error, RubricError::WrongKind { .. }), "{error}");
    assert!(matches!(library.rubric("no-such"), Err(RubricError::Unknown(name)) if name == "no-such"));
}

#[test]
fn a_profile_with_an_unknown_field_or_a_missing_kind_does_not_load() {
    let head = "name = \"p\"\ndefault_pointwise = \"x\"\ndefault_pairwise = \"y\"\n";
    let format = |kind: &str, answer: &str, part: &str| {
        format!("[[formats]]\nname = \"f\"\nkind = \"{kind}\"\nparts = [\"{part}\"]\nanswer = \"{answer}\"\n")
    };
    for (formats, word) in [
        (format("pointwise", "score_line", "{answer}"), "answer"),
        (format("pointwise", "better_line", "{question}"), "another kind"),
        (format("pointwise", "score_line", "{question}"), "no pairwise"),
        (format("pointwise", "score_line", "") + "colour = 1\n", "form"),
    ] {
        let error = RubricLibrary::default().add_profile("p.toml", &format!("{head}{formats}")).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn what_a_critic_can_decide_for_is_what_its_rubric_has() {
    let library = RubricLibrary::compiled_in().unwrap();
    let choices = |critic: &str, rubric: &Rubric| {
        let profile = library.profile_for(critic);
        let found = profile.format(rubric.kind, None).unwrap().choices(rubric)?;
        Some((found.lead, found.texts.into_iter().map(|(text, _)| text).collect::<Vec<_>>()))
    };
    let told = |lead: &str, texts: &[&str]| {
        Some((lead.to_owned(), texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()))
    };
    let scale = Scale { min: 0.0, max: 1.0, step: 0.5 };
    let scored = Rubric::inline(Kind::Pointwise, "Is it funny?".into(), Some(scale)).unwrap();
    assert_eq!(choices("gavel-mini", &scored), told("Score: ", &["0\n", "0.5\n", "1\n"]));
    assert_eq!(choices("llava-critic-7b", &scored), told("Score: [", &["0]", "0.5]", "1]"]));
    let compared = Rubric::inline(Kind::Pairwise, "Which is funnier?".into(), None).unwrap();
    assert_eq!(choices("gavel-mini", &compared), told("Better: ", &["1\n", "2\n", "tie\n"]));
    let fine = Scale { min: 0.0, max: 1.0, step: 0.0001 };
    let fine = Rubric::inline(Kind::Pointwise, "Is it funny?".into(), Some(fine)).unwrap();
    assert_eq!(choices("gavel-mini", &fine), None);
}

#[test]
fn a_format_can_be_named_and_a_held_out_one_only_so() {
    let library = RubricLibrary::compiled_in().unwrap();
    let mini = library.profile_for("gavel-mini");
    assert_eq!(mini.format(Kind::Pointwise, None).unwrap().name, "plain");
    assert!(mini.format(Kind::Pairwise, Some("unseen")).unwrap().held_out);
    let error = mini.format(Kind::Pairwise, Some("none")).unwrap_err().to_string();
    assert!(error.contains("\"none\"") && error.contains("\"plain\""), "{error}");
}
