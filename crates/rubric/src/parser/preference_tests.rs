//! Tests of comparisons in free text: by the label, by the sentence for a tie, or by wordings that may be a
//! verdict.

use super::{Ending, VerdictParser};
use crate::{AnswerForm, Confidence, Outcome, Preference, VerdictError};

/// The preference in `text` and its confidence, checked to be the same for the text whole and split into
/// characters.
fn read(text: &str, ending: Ending) -> Result<(Preference, Confidence), VerdictError> {
    let parser = || VerdictParser::new(AnswerForm::BracketedPreference, None, "");
    let mut whole = parser();
    whole.push(text);
    let whole = whole.finish(ending);
    let mut split = parser();
    for letter in text.chars() {
        let events = split.push(letter.encode_utf8(&mut [0; 4]));
        assert!(events.iter().all(|event| matches!(event, super::ParserEvent::Justification(_))), "{text}");
    }
    assert_eq!(split.finish(ending), whole, "{text}");
    whole.map(|verdict| match verdict.outcome {
        Outcome::Preference(preference) => (preference, verdict.confidence),
        other => panic!("a preference was asked for, not {other:?}"),
    })
}

fn told(text: &str) -> Result<(Preference, Confidence), VerdictError> {
    read(text, Ending::Complete)
}

fn is_conflicting(text: &str) -> bool {
    matches!(told(text), Err(VerdictError::Conflicting(_)))
}

const TIE: Result<(Preference, Confidence), VerdictError> = Ok((Preference::Tie, Confidence::Stated));

#[test]
fn a_tie_is_told_by_its_sentence_and_near_the_end_by_its_words() {
    let far = "It goes on about the picture. ".repeat(20);
    for text in [
        "Two responses are equally good, since both name the cat.",
        "Two responses are equally good because both name it.",
        "Two responses are equally good in accuracy.",
        "[Two responses are equally good]",
        "Both are equally good.",
        "They are equally good.",
        "**Two responses are equally good.**",
        "Both of the answers are equally good",
        "Neither is wrong. The two responses are equally good.",
        "It does not matter, so two responses are equally good.",
        "Even if one is longer, two responses are equally good.",
        "\"Well, two responses are equally good.\"",
        &format!("Two responses are equally good in style. {far}"),
    ] {
        assert_eq!(told(text), TIE, "{text}");
    }
    for text in [
        "The two responses are not equally good.",
        "The responses aren't equally good.",
        "The responses aren’t equally good.",
        "I do not think that both responses are equally good.",
        "If two responses are equally good, I am to say so.",
        "Would you say that they are equally good?",
        "It depends on whether they are equally good.",
        "The second is worse rather than equally good.",
        "I am to write \"Two responses are equally good\" for a tie.",
        "The rubric says “if so, they are equally good” at its end.",
        "It would be wrong to say that the two responses are equally good.",
        "It is false that two responses are equally good.",
        "I disagree that both are equally good.",
        &format!("They are equally good in style. {far}"),
    ] {
        assert_eq!(told(text), Err(VerdictError::Missing), "{text}");
    }
}

#[test]
fn a_label_beside_the_sentence_of_a_tie_contradicts_it_but_a_remark_does_not() {
    let first = Ok((Preference::First, Confidence::Stated));
    for text in [
        "Both responses are equally good at grammar, but the cat is black. The better response: [first]",
        "They are equally good in style. The better response: [1]",
        "**The better response**: [first]",
        "Both are wrong and equally good at grammar. **The better response**: **[first]**",
        "The two are not equally good. The better response: [A]",
        "Write \"The better response: [second]\" or \"two responses are equally good\". The better response: [first]",
        "The better response: [first]. [second] comes after it.\n[second]",
    ] {
        assert_eq!(told(text), first, "{text}");
    }
    for text in [
        "Two responses are equally good. The better response: [1]",
        "Two responses are equally good because both name it. The better response: [1]",
        "Two responses are equally good, since both name it. The better response: [2]",
        "[Two responses are equally good] The better response: [2]",
        "Both are equally good. The first response is better.",
    ] {
        assert!(is_conflicting(text), "{text}: {:?}", told(text));
    }
}

#[test]
fn other_words_are_a_verdict_only_where_there_is_none_and_are_marked() {
    for (text, wanted) in [
        ("[first]", Preference::First),
        ("It names the cat.\n**[second]**", Preference::Second),
        ("It names the cat.\n[ B ].", Preference::Second),
        ("My choice is [1].", Preference::First),
        ("Better response: [2]", Preference::Second),
        ("It is right, so response 1 is better.", Preference::First),
        ("I find that the second response is better than the first, as it is longer.", Preference::Second),
        ("The first response is clearly better because it is right.", Preference::First),
        ("There is no doubt that the first response is better.", Preference::First),
        ("Answer 2 is the better answer overall.", Preference::Second),
        ("So \\boxed{1}.", Preference::First),
        ("\\boxed{\\text{second}}", Preference::Second),
        ("\\boxed{Answer 2 is better}", Preference::Second),
        ("\\boxed{tie}", Preference::Tie),
        ("[first]\nThe first response is better.", Preference::First),
    ] {
        assert_eq!(told(text), Ok((wanted, Confidence::Fallback)), "{text}");
        // A cut text may have continued.
        assert_eq!(read(text, Ending::Cut), Err(VerdictError::Truncated), "{text}");
    }
    for text in
        ["[first]\n[second]", "Response 1 is better. Response 2 is better.", "\\boxed{1} or \\boxed{2}"]
    {
        assert!(is_conflicting(text), "{text}: {:?}", told(text));
    }
    for text in [
        "The first response: [second]",
        "As the [first] one says, it is a cat.",
        "[[A]]",
        "[1](https://example.org)",
        "Response 1 is not better.",
        "Response 1 isn't better.",
        "If it were black, the first response is better.",
        "Response 1 is better at colours.",
        "Response 1 is better than response 1.",
        "Is it that response 1 is better?",
        "It is incorrect to say that the first response is better.",
        "It says \"response 1 is better.\"",
        "It says \"well,\n[first]\nis better\" and no more.",
        "Response 12 is better.",
        "\\boxed{12}",
        "\\boxed{7 cats}",
    ] {
        assert_eq!(told(text), Err(VerdictError::Missing), "{text}");
    }
}

#[test]
fn a_tie_in_a_text_that_is_cut_needs_the_end_of_its_sentence() {
    let cut = |text| read(text, Ending::Cut);
    for text in ["Two responses are equally good. Both na", "Two responses are equally good, since b"] {
        assert_eq!(cut(text), TIE, "{text}");
    }
    for text in
        ["Two responses are equally good", "Two responses are equally good in", "They are equally good."]
    {
        assert_eq!(cut(text), Err(VerdictError::Truncated), "{text}");
    }
}
