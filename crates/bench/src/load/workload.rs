//! Requests for verdicts with different images, questions and response lengths; equal seeds give equal
//! requests.

use std::ops::RangeInclusive;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{drawn_image::DrawnImage, error::BenchError};

const QUESTIONS: [&str; 6] = [
    "What colour is the largest shape?",
    "How many rectangles are there?",
    "Describe the picture.",
    "Which shape is furthest to the left, and what is to the right of it?",
    "Is there anything red in the picture? Say where it is, and what stands next to it.",
    "What is in the middle?",
];

const SENTENCES: [&str; 6] = [
    "There is a red rectangle on a light background.",
    "It is green.",
    "Two shapes overlap near the middle, and the smaller one is in front.",
    "The picture shows three rectangles of different sizes.",
    "A dark shape is at the left edge.",
    "Nothing else can be seen.",
];

/// One in this many requests reuses the image of an earlier one.
const SHARING: usize = 4;

/// The properties of a workload's requests.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    /// The range of the images' side lengths, in pixels.
    pub(crate) sides: RangeInclusive<u32>,
    /// Tokens that the critic may write.
    pub(crate) max_tokens: usize,
    /// `mode` of the requests.
    pub(crate) mode: Option<String>,
}

/// Requests whose images have not been encoded into their bodies yet.
#[derive(Debug)]
pub(crate) struct Workload {
    cases: Vec<Case>,
    kind: Kind,
}

#[derive(Debug)]
struct Case {
    image: DrawnImage,
    question: &'static str,
    response: String,
}

impl Workload {
    /// Generates `count` requests.
    pub(crate) fn new(count: usize, kind: Kind, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut cases: Vec<Case> = Vec::with_capacity(count);
        for index in 0..count {
            let image = if index % SHARING == SHARING - 1 {
                cases[random.random_range(0..index)].image.clone()
            } else {
                DrawnImage::draw(&mut random, kind.sides.clone())
            };
            let question = QUESTIONS[random.random_range(0..QUESTIONS.len())];
            let sentences = random.random_range(1..=5);
            let sentence = |_| SENTENCES[random.random_range(0..SENTENCES.len())];
            let response = (0..sentences).map(sentence).collect::<Vec<_>>().join(" ");
            cases.push(Case { image, question, response });
        }
        Self { cases, kind }
    }

    /// The request bodies, with images of a shade that makes them differ from those of every other shade.
    pub(crate) fn bodies(&self, shade: u8) -> Result<Vec<Bytes>, BenchError> {
        let body = |case| Ok(self.body(case, shade)?.to_string().into());
        self.cases.iter().map(body).collect()
    }

    /// The request bodies, each with a placeholder for a number that makes it unique.
    pub(crate) fn numbered_bodies(&self) -> Result<Vec<NumberedBody>, BenchError> {
        let body = |case| Ok(NumberedBody::new(self.body(case, 0)?));
        self.cases.iter().map(body).collect()
    }

    fn body(&self, case: &Case, shade: u8) -> Result<Value, BenchError> {
        let image = BASE64_STANDARD.encode(case.image.png(shade)?);
        let mut body = json!({
            "question": case.question,
            "images": [format!("data:image/png;base64,{image}")],
            "response": case.response,
            "max_tokens": self.kind.max_tokens,
            // Otherwise a server that remembers verdicts would only be measured for that.
            "memo": false,
        });
        if let Some(mode) = &self.kind.mode {
            body["mode"] = mode.as_str().into();
        }
        Ok(body)
    }
}

/// A body with a placeholder for a number at the end of the response.
#[derive(Debug, Clone)]
pub(crate) struct NumberedBody {
    before: String,
    after: String,
}

impl NumberedBody {
    fn new(mut body: Value) -> Self {
        const PLACE: &str = "{number}";
        body["response"] = format!("{} {PLACE}", body["response"].as_str().unwrap_or_default()).into();
        let text = body.to_string();
        let (before, after) = text.split_once(PLACE).expect("the place was just made");
        Self { before: before.to_owned(), after: after.to_owned() }
    }

    /// The body with `number` in place of the placeholder.
    pub(crate) fn with(&self, number: u64) -> Bytes {
        format!("{}{number}{}", self.before, self.after).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::{Kind, Workload};

    fn workload(seed: u64) -> Workload {
        Workload::new(16, Kind { sides: 8..=32, max_tokens: 9, mode: Some("score".into()) }, seed)
    }

    #[test]
    fn requests_differ_and_some_share_a_image() {
        let bodies = workload(5).bodies(0).unwrap();
        let bodies: Vec<Value> = bodies.iter().map(|body| serde_json::from_slice(body).unwrap()).collect();
        let different =
            |field: &str| bodies.iter().map(|body| body[field].to_string()).collect::<BTreeSet<_>>();
        assert_eq!(different("images").len(), 12, "every fourth shows the picture of another");
        assert!(different("question").len() > 2);
        assert!(different("response").len() > 8);
        assert_eq!((&bodies[0]["max_tokens"], &bodies[0]["mode"]), (&9.into(), &"score".into()));
    }

    #[test]
    fn a_seed_repeats_and_a_shade_gives_other_images_with_the_same_texts() {
        let bodies = |seed, shade| workload(seed).bodies(shade).unwrap();
        assert_eq!(bodies(5, 1), bodies(5, 1));
        assert_ne!(bodies(5, 1), bodies(6, 1));
        for (one, other) in bodies(5, 1).iter().zip(&bodies(5, 2)) {
            let [one, other]: [Value; 2] = [one, other].map(|body| serde_json::from_slice(body).unwrap());
            assert_eq!((&one["question"], &one["response"]), (&other["question"], &other["response"]));
            assert_ne!(one["images"], other["images"]);
        }
    }

    #[test]
    fn a_number_makes_a_body_unlike_all_others() {
        let body = &workload(5).numbered_bodies().unwrap()[0];
        let read: Value = serde_json::from_slice(&body.with(41)).unwrap();
        assert!(read["response"].as_str().unwrap().ends_with(" 41"));
        assert_ne!(body.with(1), body.with(2));
    }
}
