//! Text of a conversation: no control token comes of it, and it comes back as it was.

use std::sync::OnceLock;

use critic::{Message, Part, Processor, Prompt, Role};
use critic_candle::{Checkpoint, ImageLimits, LlavaProcessor, Options, Source};

use super::bytes::Bytes;

/// The processor of the critic that the program carries.
pub fn processor() -> &'static LlavaProcessor {
    static PROCESSOR: OnceLock<LlavaProcessor> = OnceLock::new();
    PROCESSOR.get_or_init(|| {
        let image_limits = ImageLimits { pixels: 1 << 20, ..ImageLimits::default() };
        let options = Options { image_limits, ..Options::new(Source::Embedded(embedded::FILES)) };
        Checkpoint::load(&options).expect("the embedded checkpoint loads").processor
    })
}

/// Panics when text becomes structure, or is changed on its way.
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
    // The same conversation without a word has the same control tokens.
    let silent = |message: &Message| Message::text(message.role, "");
    let scaffold = Prompt { messages: messages.iter().map(silent).collect(), ..Prompt::default() };
    let prompt = Prompt { messages, ..Prompt::default() };
    let control = |prompt: &Prompt| {
        let encoded = processor.encode(prompt).map(|encoded| encoded.tokens);
        encoded
            .map(|tokens| tokens.into_iter().filter(|token| processor.is_control(*token)).collect::<Vec<_>>())
    };
    match (control(&prompt), control(&scaffold)) {
        (Ok(found), Ok(wanted)) => assert_eq!(found, wanted, "{prompt:?}"),
        (Err(_), Err(_)) => {}
        (found, wanted) => panic!("{found:?} and {wanted:?} of {prompt:?}"),
    }
    for text in texts {
        let tokens = processor.tokenize(&text).expect("any text can be tokenised");
        assert!(tokens.iter().all(|token| !processor.is_control(*token)), "{text:?} has a control token");
        assert!(tokens.iter().all(|token| (token.0 as usize) < processor.vocabulary()));
        let back: Vec<u8> = tokens.iter().flat_map(|token| processor.token_bytes(*token)).collect();
        // The vocabulary's normaliser composes characters, which leaves those of ASCII alone.
        if text.is_ascii() {
            assert_eq!(String::from_utf8_lossy(&back), text);
        }
        assert!(std::str::from_utf8(&back).is_ok(), "{text:?} comes back broken");
    }
}
