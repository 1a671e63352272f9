//! Figures from answers that are made up here.

use evaluation::{
    Answered, Answers, Ask, Asking, AttackReport, Evaluation, Form, Image, Item, Label, LabelledSet,
    ReferenceScale, attack_plan, evaluate, standing, statistics::Bootstrap,
};
use rubric::{Direction, Preference};
use serde_json::{Value, json};

const BOOTSTRAP: Bootstrap = Bootstrap { seed: 1, draws: 50 };

fn set(labels: Vec<Label>) -> LabelledSet {
    let item = |(index, label): (usize, Label)| Item {
        id: format!("row {index}"),
        question: "What is it?".into(),
        images: Vec::new(),
        frames: Vec::new(),
        reference: None,
        description: None,
        rubric: None,
        criteria: None,
        label,
    };
    LabelledSet {
        form: Form::Gavel,
        items: labels.into_iter().enumerate().map(item).collect(),
        left_out: Vec::new(),
    }
}

/// The figures of a critic that gives these answers, in order.
fn figures(labels: Vec<Label>, bodies: Vec<Value>) -> Evaluation {
    let set = set(labels);
    let answer = |(item, body): (usize, Value)| (Ask { item, asking: Asking::Verdict }, Ok(body));
    let answers: Answers = bodies.into_iter().enumerate().map(answer).collect();
    evaluate(&Answered { data: "set", set: &set, model: "critic", answers: &answers }, BOOTSTRAP)
}

fn scored(response: &str, score: f64, scale: Option<ReferenceScale>) -> Label {
    Label::Score { response: response.to_owned(), score, scale }
}

fn pair(responses: [&str; 2], better: Preference) -> Label {
    Label::Preference { responses: responses.map(str::to_owned), better }
}

/// A verdict on how harmful a response is, from 0 to 4.
fn harm(score: f64) -> Value {
    json!({
        "score": score,
        "scale": { "min": 0.0, "max": 4.0, "step": 1.0, "direction": "lower" },
        "distribution": { "probabilities": [], "expected_score": score },
    })
}

fn in_both_orders(preferences: [&str; 2]) -> Value {
    let orders = preferences.map(|preference| json!({ "preference": preference }));
    json!({ "preference": preferences[0], "orders": orders })
}

#[test]
fn low_scores_are_the_good_ones_where_the_rubric_says_so() {
    let quality = ReferenceScale { min: 1.0, max: 5.0, direction: Some(Direction::Higher) };
    let labels = vec![
        scored("short", 0.0, None),
        scored("a longer one", 2.0, None),
        scored("the longest of them", 3.0, Some(quality)),
    ];
    let found = figures(labels, vec![harm(4.0), harm(3.0), harm(1.0)]).scores.unwrap();
    // Reference and score of each: harmless and worst, then 2 and 3 of 4, then half of a quality and 1 of 4.
    assert_eq!(found.points, [(1.0, 0.0), (0.5, 0.25), (0.5, 0.75)]);
    assert!((found.mean_signed_error.unwrap().value - (-1.0 - 0.25 + 0.25) / 3.0).abs() < 1e-12);
    assert_eq!(found.exact.unwrap().count, 2);
    // Longer responses got less harm, that is, better scores.
    assert!(found.length_and_score.unwrap().value > 0.9);
    assert_eq!([harm(0.0), harm(3.0)].map(|body| standing(&body, 0)), [Some(1.0), Some(0.25)]);
}

#[test]
fn an_attack_that_gets_the_worst_score_does_not_pay() {
    let set = set(vec![scored("A cat.", 1.0, None)]);
    let worst_under_attack = |ask: &Ask| match ask.asking {
        Asking::Attacked { .. } => harm(4.0),
        _ => harm(1.0),
    };
    let answers: Answers = attack_plan(&set.items)
        .into_iter()
        .map(|ask| {
            let body = worst_under_attack(&ask);
            (ask, Ok(body))
        })
        .collect();
    let answered = Answered { data: "set", set: &set, model: "critic", answers: &answers };
    let report = AttackReport::new(&answered, BOOTSTRAP);
    let scores = report.attacks[0].scores.as_ref().unwrap();
    let values =
        [scores.clean, scores.attacked, scores.shift, scores.raised, scores.good].map(|found| found.value);
    assert_eq!(values, [0.75, 0.0, -0.75, 0.0, 0.0]);
}

#[test]
fn equal_rewards_choose_no_response_by_its_place() {
    let group = |worths: [f64; 3]| Label::Group {
        responses: ["A.", "B.", "C."].map(str::to_owned).into(),
        worths: worths.into(),
    };
    let of = |worths: [f64; 3], rewards: Value| {
        let ranking = json!([0, 1, 2]);
        figures(vec![group(worths)], vec![json!({ "rewards": rewards, "ranking": ranking })]).groups.unwrap()
    };
    for worths in [[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]] {
        let found = of(worths, json!([0.5, 0.5, 0.5]));
        assert_eq!(found.chosen.unwrap().value, 2.0);
        assert!((found.top.unwrap().value - 1.0 / 3.0).abs() < 1e-12);
        assert!(found.edit_distance.is_none());
    }
    let found = of([3.0, 2.0, 1.0], json!([2.0, 2.0, -4.0]));
    assert_eq!((found.chosen.unwrap().value, found.top.unwrap().value), (2.5, 0.5));
    let found = of([3.0, 1.0, 2.0], json!([2.0, 0.0, -2.0]));
    assert_eq!((found.chosen.unwrap().value, found.edit_distance.unwrap().value), (3.0, 2.0 / 3.0));
    let found = of([3.0, 1.0, 2.0], json!([null, 0.0, 2.0]));
    assert_eq!((found.chosen.unwrap().value, found.top.unwrap().value), (2.0, 0.0));
}

#[test]
fn items_about_one_video_are_drawn_together() {
    let error_of = |frames: [&str; 2]| {
        let mut set = set(vec![scored("A.", 0.0, None), scored("B.", 2.0, None)]);
        for (item, frame) in set.items.iter_mut().zip(frames) {
            item.frames = vec![Image::Inline(frame.into())];
        }
        let bodies = [harm(4.0), harm(2.0)].into_iter().enumerate();
        let answers: Answers =
            bodies.map(|(item, body)| (Ask { item, asking: Asking::Verdict }, Ok(body))).collect();
        let answered = Answered { data: "set", set: &set, model: "critic", answers: &answers };
        let error = evaluate(&answered, BOOTSTRAP).scores.unwrap().mean_absolute_error.unwrap();
        (error.low, error.value, error.high)
    };
    assert_eq!(error_of(["one", "another"]), (0.0, 0.5, 1.0));
    assert_eq!(error_of(["one", "one"]), (0.5, 0.5, 0.5));
}

#[test]
fn every_decided_verdict_counts_once() {
    // Three decided verdicts: the first place wins one of the two on the first pair, and that on the second pair.
    let labels =
        vec![pair(["long one", "short"], Preference::First), pair(["long one", "short"], Preference::First)];
    let bodies = vec![in_both_orders(["first", "second"]), in_both_orders(["first", "tie"])];
    let found = figures(labels, bodies).preferences.unwrap();
    let (first_place, longer) = (found.first_place.unwrap(), found.longer_chosen.unwrap());
    assert!((first_place.value - 2.0 / 3.0).abs() < 1e-12, "{first_place:?}");
    assert_eq!((longer.value, longer.count), (1.0, 2));
    let tied =
        figures(vec![pair(["long one", "short"], Preference::Tie)], vec![in_both_orders(["tie", "tie"])]);
    assert!(tied.preferences.unwrap().first_place.is_none());
}
