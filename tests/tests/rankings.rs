//! Rankings of what Jina's clients send: texts and images in objects.

use gavel_tests::{Server, scene};
use serde_json::{Value, json};

const QUESTION: &str = "What colour is the circle?";
const ANSWER: &str = "The circle is orange.";

/// The scores of a ranking, best first.
fn scores(ranked: &Value) -> Vec<(u64, f64)> {
    let results = ranked["results"].as_array().map_or(&[][..], Vec::as_slice);
    let score = |result: &Value| Some((result["index"].as_u64()?, result["relevance_score"].as_f64()?));
    results.iter().filter_map(score).collect()
}

#[test]
fn objects_with_a_text_and_an_image_are_ranked_like_parts() {
    let server = Server::with_options(&[]);
    let image = json!({ "type": "image_url", "image_url": { "url": scene() } });
    let content = |text: &str| json!({ "content": [image, { "type": "text", "text": text }] });
    for path in ["/rerank", "/v1/rerank", "/v2/rerank"] {
        let ask = |query: Value, documents: Value| {
            let ranked = server.ok(path, &json!({ "query": query, "documents": documents, "top_n": 3 }));
            let scores = scores(&ranked);
            assert_eq!(scores.len(), documents.as_array().map_or(1, Vec::len), "{path}: {ranked}");
            scores
        };
        let texts = json!(["I like music.", { "text": ANSWER }, content(ANSWER)]);
        let objects = json!([
            { "text": "I like music." },
            { "text": ANSWER },
            { "text": ANSWER, "image": scene() },
        ]);
        let plain = ask(json!(QUESTION), texts.clone());
        assert_eq!(ask(json!(QUESTION), objects.clone()), plain, "{path}");
        // The image of a document is shown.
        let score_of = |index: u64| plain.iter().find(|(found, _)| *found == index).map(|(_, score)| *score);
        assert_ne!(score_of(1), score_of(2));
        let shown = json!({ "text": QUESTION, "image": scene() });
        assert_eq!(ask(shown, objects), ask(content(QUESTION), texts), "{path}");
        let single = json!({ "text": ANSWER, "image": { "url": scene() } });
        assert_eq!(ask(json!(QUESTION), single), ask(json!(QUESTION), json!([content(ANSWER)])), "{path}");
    }
    // A list is one of parts, and never the members of an object in their order.
    let listed = json!({ "query": QUESTION, "documents": [[ANSWER, scene()]] });
    assert_eq!(server.post("/v1/rerank", &listed).status, 400);
    // A pair of vLLM's clients may have such a document too.
    let pair = |text: Value| {
        server.ok("/score", &json!({ "text_1": QUESTION, "text_2": text }))["data"][0]["score"].clone()
    };
    assert_eq!(pair(json!({ "text": ANSWER, "image": scene() })), pair(content(ANSWER)));
}

#[test]
fn a_document_that_is_an_image_alone_is_refused_with_what_to_send() {
    let server = Server::with_options(&[]);
    for (document, param) in [
        (json!({ "image": scene() }), "documents[1]"),
        (json!({ "text": " ", "image": scene() }), "documents[1]"),
        (json!({ "content": [{ "type": "image", "image": scene() }] }), "documents[1]"),
    ] {
        let refused =
            server.post("/v1/rerank", &json!({ "query": QUESTION, "documents": [ANSWER, document] }));
        let (status, error) = (refused.status, refused.json()["error"].take());
        assert_eq!((status, error["code"].as_str()), (400, Some("unsupported_content")), "{error}");
        assert_eq!(error["param"], param);
        assert!(error["message"].as_str().is_some_and(|told| told.contains(r#"{"text": …, "image": …}"#)));
    }
}

#[test]
fn an_image_alone_is_a_question_if_it_is_said_what_answers_are_ranked_for() {
    let server = Server::with_options(&[]);
    let image = json!({ "type": "image_url", "image_url": { "url": scene() } });
    let ask = |query: &Value, instruction: Value| {
        let documents = json!([ANSWER, "I like music."]);
        server.post(
            "/v1/rerank",
            &json!({ "query": query, "documents": documents, "instruction": instruction }),
        )
    };
    let ranked = |query: &Value| {
        let answer = ask(query, json!(QUESTION)).json();
        let scores = scores(&answer);
        assert_eq!(scores.len(), 2, "{answer}");
        scores
    };
    let (alone, parts) = (json!({ "image": scene() }), json!({ "content": [image] }));
    assert_eq!(ranked(&alone), ranked(&parts));
    for query in [alone, parts, json!(" ")] {
        let refused = ask(&query, json!(null));
        let (status, error) = (refused.status, refused.json()["error"].take());
        assert_eq!((status, error["param"].as_str()), (400, Some("query")), "{error}");
        assert!(error["message"].as_str().is_some_and(|told| told.contains("instruct")), "{error}");
    }
}
