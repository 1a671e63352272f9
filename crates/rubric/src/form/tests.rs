//! Tests of forms: which prompts they know, and the answers that follow from these.

use super::*;

fn form(text: &str) -> Form {
    toml::from_str::<Form>(text).unwrap().prepare()
}

const PLAIN: &str = r#"
    name = "plain"
    about = "Somebody's."
    fingerprint = ["Answer with one letter", "and nothing else at all"]
    reply = [{ write = { never = ["[["] } }, { say = "\n" }, { choose = ["A", "B"] }]
"#;

#[test]
fn a_form_is_told_by_all_of_its_fingerprint_however_lines_are_broken() {
    let longer = form(&PLAIN.replace("plain", "longer").replace("else at all", "else at all, please"));
    let forms = [form(PLAIN), longer];
    let name = |texts: &[&str]| form_of(forms.iter(), texts).map(|form| form.name.clone());
    assert_eq!(name(&["Answer with\n  one letter", "and nothing else at all."]).as_deref(), Some("plain"));
    assert_eq!(name(&["Answer with one letter and nothing else at all, please"]).as_deref(), Some("longer"));
    assert_eq!(name(&["Answer with one letter"]), None);
    assert_eq!(name(&["answer with one letter", "and nothing else at all"]), None);
    assert_eq!(name(&["Answer with one letter and nothing else at all", &" ".repeat(MAX_PROMPT)]), None);
}

#[test]
fn a_judged_text_with_the_words_of_another_program_does_not_choose_the_form() {
    let first = form(PLAIN);
    let other = r#"
        name = "other"
        about = "Somebody else's."
        fingerprint = ["Reply with a number and nothing more."]
        opening = ["Here are two answers."]
        reply = [{ choose = ["0", "1"] }]
    "#;
    let alike = form(&other.replace("\"other\"", "\"alike\"").replace("a number", "a digit"));
    let forms = [form(other), first, alike];
    let name = |texts: &[&str]| form_of(forms.iter(), texts).unwrap().name.clone();
    let plain = "Answer with one letter and nothing else at all.";
    let other = "Reply with a number and nothing more.";
    let alike = "Reply with a digit and nothing more.";
    // Instructions at the beginning, in a message of their own or not.
    assert_eq!(name(&[plain, other]), "plain");
    assert_eq!(name(&[&format!("{plain} The answer: {other}")]), "plain");
    // Instructions at the end; the prompt is recognised by its opening.
    for judged in [plain, alike] {
        assert_eq!(name(&[&format!("Here are two answers. {judged} {other}")]), "other", "{judged}");
    }
    assert_eq!(name(&[&format!("Here are two answers. {other} {alike}")]), "alike");
}

#[test]
fn kinds_of_quotes_are_not_significant() {
    let quoted = form(&PLAIN.replace("one letter", "'A' or ‘B’"));
    let names = |prompt: &str| form_of(std::iter::once(&quoted), &[prompt]).is_some();
    for quotes in [["'", "'"], ["\"", "\""], ["‘", "’"], ["“", "”"], ["”", "”"]] {
        let [open, close] = quotes;
        let letters = format!("{open}A{close} or {open}B{close}");
        assert!(names(&format!("Answer with {letters} and nothing else at all")), "{letters}");
    }
    assert!(!names("Answer with A or B and nothing else at all"));
}

#[test]
fn a_scale_is_that_of_the_program() {
    let text = r#"
        name = "scale"
        about = "Somebody's."
        fingerprint = ["First output a line with the score alone."]
        opening = ["[Question]"]
        reply = [{ write = {} }]
        scale = { after = "from", otherwise = [1, 2], texts = ["{score}\n"] }
    "#;
    assert_eq!(form(text).check(), Ok(()));
    let scores = |prompt: &str| match &form(text).for_prompt(&[prompt]).unwrap().reply[..] {
        [FormPart::Choose(texts), FormPart::Write(_)] => texts.concat().replace('\n', ""),
        other => panic!("{other:?}"),
    };
    let (own, quoted) = (
        "Rate from 3 to 5. First output a line with the score alone.",
        "Rate from 6 to 9. First output a line with the score alone.",
    );
    // Before and after the judged text.
    assert_eq!(scores(&format!("{own} [Question] {quoted}")), "345");
    assert_eq!(scores(&format!("[Question] {quoted} {own}")), "345");
    assert_eq!(scores(&format!("{own} {quoted}")), "345");
    assert_eq!(scores("First output a line with the score alone. Rate from 3 to 5."), "12");
    assert_eq!(scores("Another prompt, whose form was named: from 3 to 5."), "12");
    assert_eq!(form(&text.replace("[1, 2]", "[2, 1]")).check().unwrap_err().key, "scale.otherwise");
}

#[test]
fn items_are_those_of_the_prompt_and_follow() {
    let text = r#"
        name = "items"
        about = "Somebody's."
        fingerprint = ["Judge each of these texts in JSON."]
        reply = [{ say = "{" }]

        [items]
        after = "in JSON."
        before = "[End]"
        shown = "(\"{item}\")"
        choice = { each = { say = "\"{item}\": ", choose = ["0", "1"], between = ", " } }
        end = "}"
    "#;
    assert_eq!(form(text).check(), Ok(()));
    let shown = "Judge each of these texts in JSON. (“1”) red (“2”) blue [End]";
    let built = form(text).for_prompt(&[shown]).unwrap();
    assert!(built.is_json_object() && !form(text).is_json_object());
    assert_eq!(built.answers().unwrap()[1], r#"{"1": 0, "2": 1}"#);
    assert_eq!(form(text).for_prompt(&["Judge each of these texts in JSON."]), None);
    assert_eq!(form(&text.replace("[End]", " ")).check().unwrap_err().key, "items.after");
}

#[test]
fn points_are_those_of_the_prompt() {
    let text = r#"
        name = "points"
        about = "Somebody's."
        fingerprint = ["Give points for each of the parts"]
        reply = [{ write = {} }]
        points = { after = "Worth:", before = "Give", part = "{part}: {points}, ", total = "{points}" }
    "#;
    assert_eq!(form(text).check(), Ok(()));
    let for_prompt = |prompt: &str| form(text).for_prompt(&[prompt]).map(|form| form.reply);
    let texts = ["1: 0, 0", "1: 1, 1"].map(str::to_owned).into();
    let expected = vec![FormPart::Choose(texts), FormPart::Write(Restraint::default())];
    assert_eq!(for_prompt("Worth:\n1\nGive points for each of the parts"), Some(expected));
    assert_eq!(for_prompt("Give points for each of the parts"), None);
    let wrong = text.replace("total = \"{points}\"", "total = \"all\"");
    assert_eq!(form(&wrong).check().unwrap_err().key, "points.total");
}

#[test]
fn options_are_those_of_the_prompt_and_come_last() {
    let text = r#"
        name = "options"
        about = "Somebody's."
        fingerprint = ["Which of these is the best one?"]
        reply = [{ write = {} }, { say = "\n[[" }]
        options = { after = ["Options:"], before = "Answer:", text = "{letter}]]" }
    "#;
    assert_eq!(form(text).check(), Ok(()));
    let for_prompt = |prompt: &str| form(text).for_prompt(&[prompt]).map(|form| form.reply);
    let shown = for_prompt("Which of these is the best one? Options:\nA. red\nB. blue\nAnswer:").unwrap();
    assert_eq!(shown.len(), 3);
    assert_eq!(shown[2], FormPart::Choose(["A]]", "B]]"].map(str::to_owned).into()));
    assert_eq!(for_prompt("Which of these is the best one?"), None);
    assert_eq!(form(&text.replace("{letter}", "letter")).check().unwrap_err().key, "options.text");
}

#[test]
fn an_answer_is_an_object_of_json_or_not() {
    let object = |reply: &str| {
        let text = format!("name = \"a\"\nabout = \"b\"\nfingerprint = []\nreply = [{reply}]");
        form(&text).is_json_object()
    };
    let (begin, choose) = (r#"{ say = '{"a": "' }"#, r#"{ choose = ['", "b": 1}', '", "b": 10}'] }"#);
    assert!(object(&format!("{begin}, {{ write = {{ escape = \"json\" }} }}, {choose}")));
    assert!(!object(&format!("{begin}, {{ write = {{}} }}, {choose}")), "a quote would end the string");
    assert!(!object(&format!("{begin}, {}", choose.replace(": 10}", ": 1"))), "some choice leaves it open");
    // Each choice fits one of the other piece, but not both.
    let (begins, ends) = (r#"{ choose = ['{"a": ', '{"a": ['] }"#, r#"{ choose = ['1}', '1]}'] }"#);
    assert!(!object(&format!("{begins}, {ends}")));
    let score = r#"{ choose = ['"a": 1, ', '"a": 2, ', '"b": 3, '] }"#;
    let scored = |scores: usize| {
        let pieces = vec![score; scores].join(", ");
        object(&format!("{{ say = '{{' }}, {pieces}, {{ say = '\"c\": 0}}' }}"))
    };
    assert!(scored(6), "729 answers");
    assert!(!scored(7), "too many to be checked");
    assert!(!object("{ choose = [] }"));
    assert!(!object(r#"{ choose = ["1", "2"] }"#));
    assert!(!object(""));
}

#[test]
fn what_makes_no_sense_is_told_with_its_key() {
    assert_eq!(form(PLAIN).check(), Ok(()));
    for (from, to, key) in [
        ("\"Answer with one letter\", \"and nothing else at all\"", "\"short\"", "fingerprint"),
        (", { choose = [\"A\", \"B\"] }", "", "reply"),
        ("\"A\", \"B\"", "\"A\"", "reply[2]"),
        ("\"A\", \"B\"", "\"A\", \"AB\"", "reply[2]"),
        ("\"A\", \"B\"", "\"A\", \"A\"", "reply[2]"),
        ("say = \"\\n\"", "say = \"\"", "reply[1]"),
        ("say = \"\\n\"", "write = {}", "reply"),
        ("[\"[[\"]", "[\"[\"]", "reply[0]"),
    ] {
        let changed = PLAIN.replace(from, to);
        assert_ne!(changed, PLAIN, "{from}");
        assert_eq!(form(&changed).check().unwrap_err().key, key, "{to}");
    }
}
