//! Rows of each form, with the members of the published files and content of our own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{fs, path::PathBuf};

use evaluation::{
    Ask, Asking, DefaultRubrics, EvaluationError, Form, Image, Item, Label, LabelledSet, ReferenceScale, read,
};
use rubric::{Direction, Preference};
use serde_json::{Value, json};

fn read_text(text: &str, form: Option<Form>) -> Result<LabelledSet, EvaluationError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.json");
    fs::write(&path, text).unwrap();
    read(&path, form, Some(&PathBuf::from("pictures")))
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// Reads rows whose form must be detected from the first one.
fn read_rows(rows: &[Value], form: Form) -> LabelledSet {
    let set = read_text(&lines(rows), None).unwrap();
    assert_eq!(set.form, form);
    set
}

fn file(name: &str) -> Image {
    Image::File(PathBuf::from("pictures").join(name))
}

fn preference(item: &Item) -> (&str, &str, Preference) {
    match &item.label {
        Label::Preference { responses: [first, second], better } => (first, second, *better),
        other => panic!("{other:?} is no preference"),
    }
}

fn score(item: &Item) -> (&str, f64, Option<ReferenceScale>) {
    match &item.label {
        Label::Score { response, score, scale } => (response, *score, *scale),
        other => panic!("{other:?} is no score"),
    }
}

const HIGHER: Option<Direction> = Some(Direction::Higher);

fn one_to_five(direction: Option<Direction>) -> Option<ReferenceScale> {
    Some(ReferenceScale { min: 1.0, max: 5.0, direction })
}

#[test]
fn our_own_rows_are_read_as_other_programs_write_them() {
    let row = json!({ "question": "What?", "image": null, "images": null, "frames": null, "response": "A dog.",
        "responses": null, "score": 4, "scale": null, "preference": null, "scores": null });
    let set = read_text(&format!("\u{feff}{row}\r\n"), None).unwrap();
    assert_eq!((score(&set.items[0]), set.left_out.len()), (("A dog.", 4.0, None), 0));
    assert!(set.items[0].images.is_empty() && set.items[0].frames.is_empty());
    assert_eq!(read_text(&format!("\u{feff}[{row}]"), None).unwrap().items.len(), 1);
}

#[test]
fn our_own_rows_have_one_label_each() {
    let set = read_rows(
        &[
            json!({ "id": 7, "question": "What?", "image": "a.png", "response": "A dog.", "score": 4, "scale": { "min": 1, "max": 5 } }),
            json!({ "prompt": "What?", "images": ["data:image/png;base64,AAAA"], "responses": ["A.", "B."], "preference": "tie", "rubric": "better" }),
            json!({ "question": "What?", "responses": ["A.", "B.", "C."], "scores": [1, 2, 3] }),
            json!({ "question": "What?", "response": "A." }),
            json!({ "question": "What?", "responses": ["A.", "B."], "preference": "left" }),
            json!({ "question": "What?", "responses": ["A.", "B."], "scores": [1] }),
            json!({ "question": "What?", "response": "A.", "score": 4, "scale": { "min": 5, "max": 5 } }),
            json!({ "question": "What?", "response": "A.", "score": 7, "scale": { "min": 1, "max": 5 } }),
        ],
        Form::Gavel,
    );
    assert_eq!(set.items[0].id, "7");
    assert_eq!(set.items[0].images, [file("a.png")]);
    assert_eq!(score(&set.items[0]), ("A dog.", 4.0, one_to_five(None)));
    assert_eq!(set.items[1].images, [Image::Inline("data:image/png;base64,AAAA".into())]);
    assert_eq!(set.items[1].rubric.as_deref(), Some("better"));
    assert_eq!(preference(&set.items[1]), ("A.", "B.", Preference::Tie));
    let worths = vec![1.0, 2.0, 3.0];
    assert_eq!(
        set.items[2].label,
        Label::Group { responses: ["A.", "B.", "C."].map(str::to_owned).into(), worths }
    );
    assert_eq!(set.left_out.iter().map(|row| row.row).collect::<Vec<_>>(), [4, 5, 6, 7, 8]);
    let ids: std::collections::HashSet<&str> = set.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids.len(), 3, "rows without a name of their own have different ones");
}

#[test]
fn frames_and_criteria_of_our_own_rows_are_asked_about() {
    let scale = json!({ "min": 1, "max": 5, "step": 0.5, "direction": "higher" });
    let video = json!(["data:image/png;base64,AAAA", "data:image/png;base64,BBBB"]);
    let set = read_rows(
        &[
            json!({ "question": "What?", "frames": video, "response": "A.", "score": 4, "criteria": "Is it short?", "scale": scale }),
            json!({ "question": "What?", "frames": ["f.png"], "responses": ["A.", "B."], "preference": "first", "criteria": "Shorter." }),
            json!({ "question": "What?", "response": "A.", "score": 4, "criteria": "c", "rubric": "r" }),
        ],
        Form::Gavel,
    );
    assert_eq!(set.items[1].frames, [file("f.png")]);
    assert_ne!(set.items[0].image_key(), set.items[1].image_key());
    let rubrics = DefaultRubrics { pointwise: Some("usual".into()), pairwise: None };
    let verdict = Ask { item: 0, asking: Asking::Verdict };
    let body = verdict.body(&set.items, &rubrics).unwrap();
    assert_eq!((&body["frames"], &body["criteria"]), (&video, &json!("Is it short?")));
    assert_eq!(body["scale"], json!({ "min": 1, "max": 5, "step": 0.5 }));
    assert!(body.get("rubric").is_none(), "criteria take the place of a rubric: {body}");
    assert_eq!(set.left_out[0].row, 3);
}

#[test]
fn rows_of_vl_rewardbench_rank_the_better_response_lower() {
    let row = |ranks: [u8; 2]| {
        json!({ "id": "x", "image_path": "images/a.jpg", "query": "<image>\nWhat is it?", "response": ["One.", "Two."],
            "human_ranking": ranks, "models": ["m", "n"], "judge": "human", "rationale": null, "query_source": "s" })
    };
    let mut bytes = row([1, 0]);
    bytes["image"] = json!({ "bytes": "AAAA", "path": null });
    let mut numbers = row([0, 0]);
    numbers["image"] = json!({ "bytes": [0, 0, 0] });
    // The first bytes of a PNG file in base64, and a name that is valid base64 of something else.
    let (png, name) = ("iVBORw0KGgoAAAANSUhEUg==", "images/a");
    let [mut inline, mut path] = [row([0, 1]), row([0, 1])];
    inline["image"] = json!(png);
    path["image"] = json!(name);
    let mut three = row([0, 1]);
    three["response"] = json!(["One.", "Two.", "Three."]);
    let set = read_rows(&[row([0, 1]), bytes, numbers, inline, path, three], Form::VlRewardbench);
    assert_eq!(set.items[0].question, "What is it?");
    assert_eq!(set.items[0].images, [file("images/a.jpg")]);
    let better: Vec<Preference> = set.items.iter().map(|item| preference(item).2).collect();
    let [first, second, tie] = [Preference::First, Preference::Second, Preference::Tie];
    assert_eq!(better, [first, second, tie, first, first]);
    assert_eq!(set.items[1].images, [Image::Inline("AAAA".into())]);
    assert_eq!(set.items[1].images, set.items[2].images);
    assert_eq!(set.items[3].images, [Image::Inline(png.into())]);
    assert_eq!(set.items[4].images, [file(name)]);
    assert_eq!(set.left_out[0].row, 6);
}

#[test]
fn files_of_mllm_as_a_judge_score_compare_and_order() {
    let shared =
        json!({ "id": 3, "image_path": "1.jpg", "original_dataset": "d", "instruction": "What is it?" });
    let with = |members: Value| {
        let mut row = shared.clone();
        row.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        row
    };
    let answers = ["A cat.", "A dog.", "A cow."].map(|answer| json!({ "name": "m", "answer": answer }));
    let set = read_rows(
        &[
            with(json!({ "score_id": 1, "name": "m", "answer": "A cat.", "human": "4" })),
            with(json!({ "pair_id": 2, "answer1": answers[0], "answer2": answers[1], "human_answer": "B" })),
            with(json!({ "pair_id": 2, "answer1": answers[0], "answer2": answers[1], "human": "C" })),
            with(json!({ "answers": answers, "human_answer": "CAB" })),
            with(json!({ "score_id": 4, "answer": "A cat.", "human": 9 })),
            with(json!({ "answers": answers, "human_answer": "CAA" })),
            with(json!({ "answers": answers, "human_answer": "CA" })),
            with(json!({ "answers": answers, "human_answer": "CABD" })),
            with(json!({ "pair_id": 2, "answer1": answers[0], "answer2": answers[1], "human_answer": "D" })),
        ],
        Form::MllmAsAJudge,
    );
    assert_eq!(score(&set.items[0]), ("A cat.", 4.0, one_to_five(HIGHER)));
    assert_eq!(preference(&set.items[1]), ("A cat.", "A dog.", Preference::Second));
    assert_eq!(preference(&set.items[2]).2, Preference::Tie);
    let Label::Group { worths, .. } = &set.items[3].label else { panic!("a batch is a group") };
    assert_eq!(worths, &[2.0, 1.0, 3.0]);
    let ids: Vec<&str> = set.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["score-1", "pair-2", "pair-2@3", "batch-3"]);
    assert_eq!(set.left_out.iter().map(|row| row.row).collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
}

fn conversation(human: &str, gpt: &str) -> Value {
    json!({ "id": "c", "image": "a.png", "source": "s",
        "conversations": [{ "from": "human", "value": human }, { "from": "gpt", "value": gpt }] })
}

#[test]
fn conversations_of_llava_critic_are_read_in_all_their_layouts() {
    let pair = |first: &str, second: &str| {
        format!(
            "<image>\nPlease judge.\nQuestion: [What is it? [sic]]\n{first}: [A cat.\nIt sleeps.]\n{second}: [A dog.]\nASSISTANT:\n"
        )
    };
    let bench = "[Question]\nWhat is it?\n\n[Assistant 1]\nA cat.\n\n[End of Assistant 1]\n\n[Assistant 2]\nA dog.\n\n\
                 [End of Assistant 2]\n\n[System]\nGive two scores.";
    let arena = "Judge.\n<|User Prompt|>\nWhat is it?\n\n<|The Start of Assistant A's Answer|>\nA cat.\n<|The End of Assistant A's \
                 Answer|>\n\n<|The Start of Assistant B's Answer|>\nA dog.\n<|The End of Assistant B's Answer|>";
    let rows = vec![
        conversation(
            "<image>\nScore the response out of 100.\nQuestion: [What is it?]\nGround Truth: [A cat.]\nThe LMM response: [A dog.]\nASSISTANT:\n ",
            "Score: [20]. It is a cat.",
        ),
        conversation(
            &pair("The first response", "The second response"),
            "The better response: [first] It is a cat.",
        ),
        conversation(&pair("Response 1", "Response 2"), "It is a cat. The better response: [2]"),
        conversation(&pair("Response A", "Response B"), "Two responses are equally good."),
        conversation(bench, "8 3\nThe second is wrong."),
        conversation(arena, "It is a cat. My final verdict is [[A>>B]]"),
        conversation(
            "Rate it from 0 to 100.\nText Caption: A cat sleeps.\n\nBe strict.",
            "Right.\nFinal Score: 85",
        ),
        conversation("Question: [What is it?]\nThe LMM response: [A dog.]", "It is bad.\nRating: 2"),
        conversation("Hello.", "Score: [20]"),
        conversation(&pair("Response 1", "Response 2"), "I cannot tell."),
        conversation(
            &pair("Response 1", "Response 2"),
            "The better response: [1], no: the better response: [2]",
        ),
    ];
    let set = read_text(&Value::from(rows).to_string(), None).unwrap();
    assert_eq!(set.form, Form::LlavaCritic);
    let up_to = |max| Some(ReferenceScale { min: 0.0, max, direction: HIGHER });
    assert_eq!(score(&set.items[0]), ("A dog.", 20.0, up_to(100.0)));
    assert_eq!(set.items[0].reference.as_deref(), Some("A cat."));
    assert_eq!(set.items[0].images, [file("a.png")]);
    for (item, better) in set.items[1..4].iter().zip([Preference::First, Preference::Second, Preference::Tie])
    {
        assert_eq!(preference(item), ("A cat.\nIt sleeps.", "A dog.", better));
        assert_eq!(item.question, "What is it? [sic]");
    }
    assert_eq!(score(&set.items[4]), ("A dog.", 3.0, up_to(10.0)));
    assert_eq!(preference(&set.items[5]), ("A cat.", "A dog.", Preference::First));
    assert_eq!(score(&set.items[6]), ("A cat sleeps.", 85.0, up_to(100.0)));
    assert_eq!(score(&set.items[7]), ("A dog.", 2.0, up_to(6.0)));
    assert_eq!(set.left_out.iter().map(|row| row.row).collect::<Vec<_>>(), [9, 10, 11]);
}

#[test]
fn images_and_contexts_of_conversations_are_read_in_every_form() {
    let bench = "[Context]\nA cat on a mat.\n\n[Question]\nWhat is it?\n\n[Assistant 1]\nA cat.\n\n[End of Assistant 1]\n\n\
                 [Assistant 2]\nA dog.\n\n[End of Assistant 2]";
    let png = "iVBORw0KGgoAAAANSUhEUg==";
    let images = [
        json!({ "bytes": png, "path": null }),
        json!(png),
        json!([{ "path": "a.png" }, "b.png"]),
        json!(null),
    ];
    let mut rows: Vec<Value> = images
        .iter()
        .map(|image| {
            let mut row = conversation(bench, "8 3\nNo dog.");
            row["image"] = image.clone();
            row
        })
        .collect();
    let mut wrong = conversation(bench, "8 3");
    wrong["image"] = json!([7]);
    rows.push(wrong);
    let set = read_rows(&rows, Form::LlavaCritic);
    let inline = Image::Inline(png.into());
    let wanted = [vec![inline.clone()], vec![inline], vec![file("a.png"), file("b.png")], vec![]];
    for (item, images) in set.items.iter().zip(&wanted) {
        assert_eq!(&item.images, images);
        assert_eq!(
            (item.question.as_str(), item.description.as_deref()),
            ("What is it?", Some("A cat on a mat."))
        );
    }
    assert_eq!((set.items.len(), set.left_out[0].row), (4, 5));
}

#[test]
fn a_label_counts_whatever_is_said_of_single_aspects() {
    let arena = "<|User Prompt|>\nWhat is it?\n\n<|The Start of Assistant A's Answer|>\nA cat.\n<|The End of Assistant A's \
                 Answer|>\n\n<|The Start of Assistant B's Answer|>\nA dog.\n<|The End of Assistant B's Answer|>";
    let pair = |name: &str| {
        format!("Judge.\nQuestion: [What is it?]\n{name} 1: [A cat.]\n{name} 2: [A dog.]\nASSISTANT:\n")
    };
    let style = "In style they are equally good.";
    let [first, second, tie] = [Preference::First, Preference::Second, Preference::Tie];
    let turns = [
        (arena.to_owned(), format!("{style} My final verdict is: [[A>>B]]"), Some(first)),
        (arena.to_owned(), format!("{style} My final verdict is: [[B>A]]"), Some(second)),
        (arena.to_owned(), format!("[[A>B]] at first, and then [[B>A]]. {style}"), None),
        (arena.to_owned(), "The two responses are equally good.".to_owned(), None),
        (pair("Response"), format!("{style} The better response: [1]."), Some(first)),
        (pair("Response"), format!("{style} My verdict: [[B]]"), Some(second)),
        (pair("Response"), format!("[[A]], no: [[B]]. {style}"), None),
        (pair("Response"), "Two responses are equally good.".to_owned(), Some(tie)),
        (pair("Answer"), format!("{style}\nOverall Judgment: Answer 2 is slightly better."), Some(second)),
        (pair("Answer"), "Answer 1 is better.\nThe better response: [2]".to_owned(), Some(second)),
    ];
    let rows: Vec<Value> = turns.iter().map(|(human, gpt, _)| conversation(human, gpt)).collect();
    let set = read_text(&Value::from(rows).to_string(), None).unwrap();
    let left_out: Vec<usize> = set.left_out.iter().map(|row| row.row).collect();
    let mut items = set.items.iter();
    for (index, (_, gpt, better)) in turns.iter().enumerate() {
        let read = (!left_out.contains(&(index + 1))).then(|| preference(items.next().unwrap()).2);
        assert_eq!(read, *better, "{gpt}");
    }
}

#[test]
fn the_scale_is_that_of_the_instructions_and_not_of_what_is_judged() {
    let lower = Some(Direction::Lower);
    let scale = |min, max, direction| Some(ReferenceScale { min, max, direction });
    let caption = |text: &str| {
        format!("Text Caption: [{text}]\n\nFrom 0 to 100, how much do you rate for this Text Caption?")
    };
    let fields = |instructions: &str, response: &str| {
        format!(
            "{instructions}\nQuestion: [Is 1 out of 3 red?]\nThe LMM response: [{response}]\nASSISTANT:\n"
        )
    };
    let turns = [
        (caption("1 out of 200 balloons is red."), "Good.\nFinal Score: 85", 85.0, scale(0.0, 100.0, HIGHER)),
        (caption("2 out of 3 people wear hats."), "Good.\nFinal Score: 85", 85.0, scale(0.0, 100.0, HIGHER)),
        (
            "Rate it from 0 to 10.\nText Caption: [1 out of 3 is red.]\n\nBe strict.".into(),
            "Good.\nFinal Score: 8",
            8.0,
            scale(0.0, 10.0, HIGHER),
        ),
        (fields("Score it between 1 and 5.", "5 out of 7."), "Score: 4", 4.0, scale(1.0, 5.0, HIGHER)),
        (fields("Score it on a 1-5 scale.", "5 out of 7."), "Score: 4", 4.0, scale(1.0, 5.0, HIGHER)),
        (fields("Judge.", "5 out of 7."), "Score: [85]", 85.0, scale(0.0, 100.0, HIGHER)),
        (fields("Score it out of 10.", "5 out of 7."), "Score: [8]", 8.0, scale(0.0, 10.0, HIGHER)),
        (fields("Give a score from 1 to 5.", "5 out of 7."), "Score: 4", 4.0, scale(1.0, 5.0, HIGHER)),
        (
            fields("Give a score from 0 to 4, the lower the better, written as \"Rating: N\".", "Yes."),
            "It is mild.\nRating: 1",
            1.0,
            scale(0.0, 4.0, lower),
        ),
        (
            fields(
                "Give a score from 1 to 10: write the number alone as the first line, then explain it.",
                "Yes.",
            ),
            "7\nIt is right.",
            7.0,
            scale(1.0, 10.0, HIGHER),
        ),
    ];
    let rows: Vec<Value> = turns.iter().map(|(human, gpt, ..)| conversation(human, gpt)).collect();
    let set = read_text(&Value::from(rows).to_string(), None).unwrap();
    assert!(set.left_out.is_empty(), "{:?}", set.left_out);
    // Where a response ends that has the name of a field in it is not known.
    let within = [conversation(&fields("Judge.", "It is a cat.\nAnswer: [B]"), "Score: [8]")];
    let error = read_text(&json!(within).to_string(), Some(Form::LlavaCritic)).unwrap_err();
    assert!(error.to_string().contains("no layout that is known"), "{error}");
    for (item, (human, _, wanted, scale)) in set.items.iter().zip(&turns) {
        let (_, found, found_scale) = score(item);
        assert_eq!((found, found_scale), (*wanted, *scale), "{human}");
    }
}

#[test]
fn captions_end_where_the_instructions_begin() {
    let instructions = "From 0 to 100, how much do you rate for this Text Caption?\nBe strict.\n\nThank you.";
    let paragraphs = "A cat sleeps.\n\nA dog looks on.\n\nFrom 0 to 100, the light is at 50.";
    let captions = [
        (format!("Text Caption: {paragraphs}\n{instructions}"), paragraphs),
        (format!("Text Caption: {paragraphs}\n\n{instructions}"), paragraphs),
        (format!("Rate it from 0 to 100.\nText Caption: [{paragraphs}]\n\nBe strict."), paragraphs),
        ("Text Caption: A cat.\nIt sleeps.".to_owned(), "A cat.\nIt sleeps."),
    ];
    let rows: Vec<Value> =
        captions.iter().map(|(human, _)| conversation(human, "Right.\nFinal Score: 85")).collect();
    let set = read_text(&Value::from(rows).to_string(), None).unwrap();
    let read: Vec<&str> = set.items.iter().map(|item| score(item).0).collect();
    assert_eq!(read, captions.each_ref().map(|(_, caption)| *caption));
}

#[test]
fn what_cannot_be_read_is_told() {
    let told = |text: &str, form| read_text(text, form).unwrap_err().to_string();
    assert!(told("{\"a\": 1}", None).contains("--form"));
    assert!(told("{\"question\": ", None).contains("row 1"));
    assert!(told("{\"question\": \"?\"}", None).contains("neither a response"));
    assert!(told("", None).contains("--form"));
    assert!(told("{\"query\": \"?\"}", Some(Form::VlRewardbench)).contains("no row"));
    let missing = read(&PathBuf::from("nowhere.jsonl"), None, None).unwrap_err();
    assert!(missing.to_string().contains("nowhere.jsonl"));
}
