//! Transcripts that trainers send: the answer is a part of the text, and the work for each byte does not grow with
//! the text.

#[path = "../../crates/server/src/dialects/scoring/transcript/mod.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod transcript;

use transcript::Transcript;

use super::bytes::Bytes;

/// Panics when an answer is parsed that is not in the text, or a question that is empty.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let place = bytes.byte();
    let text = bytes.text();
    if let Some(found) = Transcript::parse(&text) {
        assert!(found.answer.len() <= text.len());
        assert!(!is_silent(&found.question), "a question without a character in {text:?}");
        // Every word of the answer is in the text.
        for word in found.answer.split_whitespace().filter(|word| !word.contains('<')) {
            assert!(text.contains(word) || text.contains('<'), "{word:?} is not in {text:?}");
        }
    }
    let middle = text.char_indices().map(|(place, _)| place).nth(usize::from(place)).unwrap_or(text.len());
    let (prompt, _) = text.split_at(middle);
    if let Some(found) = Transcript::after(prompt, &text) {
        // If the prompt begins the answer, that beginning is part of the answer.
        assert!(text.contains(&found.answer), "{:?} is not in {text:?}", found.answer);
        assert!(!is_silent(&found.question));
    }
    let other = format!("{prompt}\u{1}");
    assert!(
        text.contains('\u{1}') || Transcript::after(&other, &text).is_none(),
        "{text:?} does not begin so"
    );
}

fn is_silent(question: &transcript::Question) -> bool {
    question.read(|text| Ok::<_, ()>(text.to_owned())).is_ok_and(|text| text.is_empty())
}
