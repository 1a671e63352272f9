//! Text of a conversation: it never becomes a control token, the tokens around it are those around an empty text, and
//! its tokens decode to the same text, in the normal form NFC.

use std::sync::{Arc, OnceLock};

use critic::{Message, Part, Prompt, Role, TokenId};
use critic_candle::{Checkpoint, ImageLimits, Options, SegmentEncoder, Source};
use unicode_normalization::UnicodeNormalization;

use super::bytes::Bytes;

/// The processor of the embedded critic, for images of up to 2^20 pixels.
pub fn processor() -> &'static dyn SegmentEncoder {
    static PROCESSOR: OnceLock<Arc<dyn SegmentEncoder>> = OnceLock::new();
    let processor = PROCESSOR.get_or_init(|| {
        let image_limits = ImageLimits { pixels: 1 << 20, ..ImageLimits::default() };
        let options = Options { image_limits, ..Options::new(Source::Embedded(embedded::FILES)) };
        Checkpoint::load(&options).expect("the embedded checkpoint loads").processor
    });
    processor.as_ref()
}

/// Panics when text becomes structure, or is changed.
pub fn run(data: &[u8]) {
    let processor = processor();
    let mut bytes = Bytes(data);
    let mut messages = Vec::new();
    while !bytes.is_empty() && messages.len() < 8 {
        let role = [Role::User, Role::Assistant, Role::System][bytes.below(3)];
        messages.push(Message { role, parts: vec![Part::Text(bytes.piece())] });
    }
    let texts: Vec<String> = (messages.iter().flat_map(|message| &message.parts))
        .filter_map(|part| match part {
            Part::Text(text) => Some(text.clone()),
            Part::Image(_) | Part::Video(_) => None,
        })
        .collect();
    // The same conversation with empty texts has the same control tokens.
    let silent = |message: &Message| Message::text(message.role, "");
    let scaffold = Prompt { messages: messages.iter().map(silent).collect(), ..Prompt::default() };
    let prompt = Prompt { messages, ..Prompt::default() };
    match (processor.encode(&prompt), processor.encode(&scaffold)) {
        (Ok(found), Ok(wanted)) => {
            compare(&found.tokens, &wanted.tokens, &texts);
            let least = processor.least_tokens(&prompt, 1).expect("it was encoded");
            assert!(least <= found.tokens.len(), "{least} of {} tokens at least", found.tokens.len());
        }
        (Err(_), Err(_)) => {}
        (found, wanted) => panic!("{found:?} and {wanted:?} of {prompt:?}"),
    }
    for text in texts {
        let tokens = processor.tokenize(&text).expect("any text can be tokenised");
        assert!(tokens.iter().all(|token| !processor.is_control(*token)), "{text:?} has a control token");
        assert!(tokens.iter().all(|token| (token.0 as usize) < processor.vocabulary()));
        assert_eq!(written(&tokens), text.nfc().collect::<String>());
        let least = processor.least_text_tokens(&text, 1).expect("any text can be tokenised");
        assert!(least <= tokens.len(), "{least} of {} tokens at least", tokens.len());
    }
}

/// The text of tokens.
fn written(tokens: &[TokenId]) -> String {
    let bytes = tokens.iter().flat_map(|token| processor().token_bytes(*token)).collect();
    String::from_utf8(bytes).expect("tokens of a text are text")
}

/// Control tokens, each with the tokens up to the next one.
fn pieces(tokens: &[TokenId]) -> Vec<(TokenId, &[TokenId])> {
    let places: Vec<usize> =
        (0..tokens.len()).filter(|place| processor().is_control(tokens[*place])).collect();
    let ends = places.iter().skip(1).copied().chain([tokens.len()]);
    places.iter().zip(ends).map(|(start, end)| (tokens[*start], &tokens[start + 1..end])).collect()
}

/// Checks that a conversation has the control tokens of the one with empty texts, and between them the tokens of its
/// texts.
fn compare(found: &[TokenId], scaffold: &[TokenId], texts: &[String]) {
    let (found, scaffold) = (pieces(found), pieces(scaffold));
    let controls =
        |pieces: &[(TokenId, &[TokenId])]| pieces.iter().map(|(control, _)| *control).collect::<Vec<_>>();
    assert_eq!(controls(&found), controls(&scaffold), "{texts:?}");
    let turn = scaffold[0].0;
    let turns: Vec<usize> = (0..scaffold.len()).filter(|place| scaffold[*place].0 == turn).collect();
    // The last turn is that of the reply; before the first there may be one that the chat format adds.
    let said = &turns[turns.len() - 1 - texts.len()..turns.len() - 1];
    for (place, ((_, tokens), (_, silent))) in found.iter().zip(&scaffold).enumerate() {
        let text = said.iter().position(|turn| *turn == place).map_or("", |index| &texts[index]);
        let whole = written(silent) + text;
        assert_eq!(*tokens, processor().tokenize(&whole).expect("any text can be tokenised"), "{whole:?}");
        assert_eq!(written(tokens), whole.nfc().collect::<String>());
    }
}
