//! The chat formats of known checkpoints: control tokens, role names and places of images.
//!
//! The formats are code. A checkpoint's own template is run only on fixed conversations, to recognise its format,
//! never on text from clients.

mod template;

use critic::{EncodeError, EncodedImage, Message, Part, Prompt, Role, TokenId};

use crate::{error::LoadError, source::Source, tokenizer::Tokenizer};

/// The control tokens that start and end a turn.
pub(crate) const TURN_START: &str = "<|im_start|>";
pub(crate) const TURN_END: &str = "<|im_end|>";

/// A chat format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChatFormat {
    /// The format of checkpoints in the Hugging Face layout.
    Turns(TurnFormat),
    /// LLaVA-NeXT's `qwen_1_5`: a default system turn, an image that is alone in its turn first, and several where the
    /// client placed them.
    Qwen15,
}

/// How turns are written in the Hugging Face layout. Published llava-onevision repositories have a space after the
/// role and a line break before each text; checkpoints written by LLaVA-OneVision's conversion script have a line
/// break after the role, after each image and after each turn. Both place images first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TurnFormat {
    /// The turn that precedes a conversation without a system turn: its content, and the text after its end token.
    /// `None` for no such turn.
    preamble: Option<(String, String)>,
    after_role: &'static str,
    /// Whether images, then videos, precede all text of their turn, or are where the client placed them.
    visuals_first: bool,
    after_visual: &'static str,
    before_text: &'static str,
    after_turn: &'static str,
}

impl ChatFormat {
    /// Recognises the format of a checkpoint by the output of its template.
    ///
    /// # Errors
    /// [`LoadError::MissingFile`] when there is no template, [`LoadError::Unsupported`] when its output matches no
    /// format.
    pub(crate) fn recognise(source: &Source) -> Result<Self, LoadError> {
        let (file, template) = template::read(source)?.ok_or_else(|| LoadError::MissingFile {
            file: "chat_template.jinja".into(),
            folder: source.place(),
            expected: "a chat template, by which its known chat format is recognised",
        })?;
        template::recognise(&template).map_err(|found| LoadError::Unsupported {
            file: source.path(file),
            key: "chat_template",
            found,
            expected:
                "the template of a published llava-onevision checkpoint, of its conversion, or of Qwen2"
                    .into(),
        })
    }

    /// The text between the end token of a turn and the next turn.
    pub(crate) fn after_turn(&self) -> &'static str {
        match self {
            Self::Turns(format) => format.after_turn,
            Self::Qwen15 => "\n",
        }
    }

    /// Writes `prompt` as segments that end where the critic continues.
    ///
    /// # Errors
    /// [`EncodeError::Conversation`] when the prompt has no messages.
    pub(crate) fn write<'a>(
        &'a self,
        prompt: &'a Prompt,
        control: &ControlTokens,
    ) -> Result<Vec<Segment<'a>>, EncodeError> {
        let mut writer = Writer { segments: Vec::new(), control: *control };
        let first = prompt.messages.first().ok_or(EncodeError::Conversation("it has no messages"))?;
        if first.role != Role::System {
            writer.preamble(self);
        }
        for message in &prompt.messages {
            match self {
                Self::Turns(format) => writer.turn(format, message),
                Self::Qwen15 => writer.qwen_turn(message),
            }
        }
        writer.open("assistant\n");
        writer.text(&prompt.reply);
        Ok(writer.segments)
    }
}

/// The control tokens of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ControlTokens {
    /// `<|im_start|>`.
    pub(crate) turn_start: TokenId,
    /// `<|im_end|>`.
    pub(crate) turn_end: TokenId,
}

/// One piece of a prompt in the order in which the model reads it. Neighbouring texts are tokenised as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    /// A control token.
    Control(TokenId),
    /// Text, in which nothing is a control token.
    Text(&'a str),
    /// An image.
    Image(&'a EncodedImage),
    /// A video, as its frames.
    Video(&'a [EncodedImage]),
}

impl ControlTokens {
    /// Looks up the control tokens in the vocabulary of `tokenizer`.
    ///
    /// # Errors
    /// [`LoadError::Tokenizer`] when one is missing.
    pub(crate) fn read(source: &Source, tokenizer: &Tokenizer) -> Result<Self, LoadError> {
        let control = |text: &str| {
            tokenizer.control(text).ok_or_else(|| LoadError::Tokenizer {
                file: source.path("tokenizer.json"),
                reason: format!("it has no control token {text}"),
            })
        };
        Ok(Self { turn_start: control(TURN_START)?, turn_end: control(TURN_END)? })
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

struct Writer<'a> {
    segments: Vec<Segment<'a>>,
    control: ControlTokens,
}

impl<'a> Writer<'a> {
    fn open(&mut self, head: &'a str) {
        self.segments.push(Segment::Control(self.control.turn_start));
        self.text(head);
    }

    fn close(&mut self, tail: &'a str) {
        self.segments.push(Segment::Control(self.control.turn_end));
        self.text(tail);
    }

    fn text(&mut self, text: &'a str) {
        self.segments.push(Segment::Text(text));
    }

    /// Writes the turn that precedes a conversation without a system turn.
    fn preamble(&mut self, format: &'a ChatFormat) {
        let (turn, after) = match format {
            ChatFormat::Turns(TurnFormat { preamble: None, .. }) => return,
            ChatFormat::Turns(TurnFormat { preamble: Some((turn, after)), .. }) => {
                (turn.as_str(), after.as_str())
            }
            ChatFormat::Qwen15 => ("system\nYou are a helpful assistant.", "\n"),
        };
        self.open(turn);
        self.close(after);
    }

    fn turn(&mut self, format: &TurnFormat, message: &'a Message) {
        self.open(role_name(message.role));
        self.text(format.after_role);
        let parts = || message.parts.iter();
        if format.visuals_first {
            let of = |wanted: fn(&Part) -> bool| parts().filter(move |part| wanted(part));
            let images = of(|part| matches!(part, Part::Image(_)));
            let videos = of(|part| matches!(part, Part::Video(_)));
            let texts = of(|part| matches!(part, Part::Text(_)));
            images.chain(videos).chain(texts).for_each(|part| self.part(format, part));
        } else {
            parts().for_each(|part| self.part(format, part));
        }
        self.close(format.after_turn);
    }

    fn part(&mut self, format: &TurnFormat, part: &'a Part) {
        match part {
            Part::Text(text) => {
                self.text(format.before_text);
                self.text(text);
            }
            Part::Image(image) => {
                self.segments.push(Segment::Image(image));
                self.text(format.after_visual);
            }
            Part::Video(frames) => {
                self.segments.push(Segment::Video(frames));
                self.text(format.after_visual);
            }
        }
    }

    /// Writes images at the start of a turn on a line of their own before the text, separated by spaces, as the
    /// critics were trained and evaluated. An image that is alone in its turn goes to the start, as in training
    /// (`preprocess_multimodal`); others stay exactly where they are.
    fn qwen_turn(&mut self, message: &'a Message) {
        let is_text = |part: &&Part| matches!(part, Part::Text(_));
        let mut parts: Vec<&Part> = message.parts.iter().collect();
        if parts.iter().filter(|part| !is_text(part)).count() == 1 {
            parts.sort_by_key(is_text);
        }
        self.open(role_name(message.role));
        self.text("\n");
        let leading = parts.iter().take_while(|part| !is_text(part)).count();
        for (index, part) in parts.into_iter().enumerate() {
            if index > 0 && index < leading {
                self.text(" ");
            }
            if index > 0 && index == leading {
                self.text("\n");
            }
            match part {
                Part::Text(text) => self.text(text),
                Part::Image(image) => self.segments.push(Segment::Image(image)),
                Part::Video(frames) => self.segments.push(Segment::Video(frames)),
            }
        }
        self.close("\n");
    }
}
