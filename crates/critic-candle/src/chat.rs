//! How known checkpoints write a conversation: control tokens, role names and places of pictures.
//!
//! The formats are code. A checkpoint's own template is compared with the known ones and never run, since it would run
//! on text that clients send.

use critic::{EncodeError, EncodedImage, Message, Part, Prompt, Role, TokenId};

use crate::{error::LoadError, source::Source, tokenizer::Tokenizer};

/// A way to write a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChatFormat {
    /// Published llava-onevision repositories: the role ends with a space, pictures come first in their turn, each text
    /// begins a line, and turns follow each other directly.
    Hub,
    /// What the conversion of LLaVA-OneVision writes: each role and each picture ends a line, pictures first.
    Convert,
    /// LLaVA-NeXT's `qwen_1_5`: a default system turn, pictures where the client put them.
    Qwen15,
}

impl ChatFormat {
    /// Recognises the format of a checkpoint by its template, unless its format is `fixed` whatever the template says.
    pub(crate) fn recognise(source: &Source, fixed: Option<Self>) -> Result<Self, LoadError> {
        let template = read_template(source)?;
        if let Some(format) = fixed {
            return Ok(format);
        }
        let (file, template) = template.ok_or_else(|| LoadError::MissingFile {
            file: "chat_template.jinja".into(),
            folder: source.place(),
            expected: "a chat template, by which its known chat format is recognised",
        })?;
        // Templates write a line break either as itself or escaped.
        let template = template.replace("\\n", "\n");
        let has = |text: &str| template.contains(text);
        if has("message['role'] + ' '") && has("'<image>'") {
            Ok(Self::Hub)
        } else if has("message['role'] + '\n'") && has("'<image>\n'") {
            Ok(Self::Convert)
        } else if has("message['role'] + '\n' + message['content']") && has("You are a helpful assistant") {
            Ok(Self::Qwen15)
        } else {
            Err(LoadError::Unsupported {
                file: source.path(file),
                key: "chat_template",
                found: "not a known one".into(),
                expected:
                    "the template of a published llava-onevision checkpoint, of its conversion, or of Qwen2"
                        .into(),
            })
        }
    }

    /// What stands between the end token of a turn and the next turn.
    pub(crate) fn after_turn(self) -> &'static str {
        match self {
            Self::Hub => "",
            Self::Convert | Self::Qwen15 => "\n",
        }
    }

    /// Writes `prompt` as segments that end where the critic goes on.
    pub(crate) fn write<'a>(
        self,
        prompt: &'a Prompt,
        control: &ControlTokens,
    ) -> Result<Vec<Segment<'a>>, EncodeError> {
        let mut writer = Writer { segments: Vec::new(), control: *control };
        if prompt.messages.is_empty() {
            return Err(EncodeError::Conversation("it has no messages"));
        }
        if self == Self::Qwen15 && prompt.messages[0].role != Role::System {
            writer.open("system\n");
            writer.text("You are a helpful assistant.");
            writer.close("\n");
        }
        for message in &prompt.messages {
            match self {
                Self::Hub => writer.hub_turn(message),
                Self::Convert => writer.convert_turn(message),
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
    /// A picture.
    Image(&'a EncodedImage),
    /// A video, by its frames.
    Video(&'a [EncodedImage]),
}

impl ControlTokens {
    /// Those of a vocabulary.
    ///
    /// # Errors
    /// [`LoadError::Tokenizer`] when it lacks one.
    pub(crate) fn read(source: &Source, tokenizer: &Tokenizer) -> Result<Self, LoadError> {
        let control = |text: &str| {
            tokenizer.control(text).ok_or_else(|| LoadError::Tokenizer {
                file: source.path("tokenizer.json"),
                reason: format!("it has no control token {text}"),
            })
        };
        Ok(Self { turn_start: control("<|im_start|>")?, turn_end: control("<|im_end|>")? })
    }
}

/// The template and the file it is in.
fn read_template(source: &Source) -> Result<Option<(&'static str, String)>, LoadError> {
    if let Some(bytes) = source.read("chat_template.jinja")? {
        return Ok(Some(("chat_template.jinja", String::from_utf8_lossy(&bytes).into_owned())));
    }
    // In transformers' order: the processor's come before the tokenizer's.
    for file in ["chat_template.json", "processor_config.json", "tokenizer_config.json"] {
        let json: Option<serde_json::Value> = source.json(file, "JSON object")?;
        if let Some(template) = json.as_ref().and_then(|json| default_template(&json["chat_template"])) {
            return Ok(Some((file, template.into())));
        }
    }
    Ok(None)
}

/// A template, or of several with names the one that is used where none is named.
fn default_template(templates: &serde_json::Value) -> Option<&str> {
    let named = |template: &&serde_json::Value| template["name"] == "default";
    let several = || templates.as_array()?.iter().find(named)?["template"].as_str();
    templates.as_str().or_else(several)
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
    fn open(&mut self, head: &'static str) {
        self.segments.push(Segment::Control(self.control.turn_start));
        self.text(head);
    }

    fn close(&mut self, tail: &'static str) {
        self.segments.push(Segment::Control(self.control.turn_end));
        self.text(tail);
    }

    fn text(&mut self, text: &'a str) {
        self.segments.push(Segment::Text(text));
    }

    fn images(message: &'a Message) -> impl Iterator<Item = &'a EncodedImage> {
        message.parts.iter().filter_map(|part| match part {
            Part::Image(image) => Some(image),
            Part::Text(_) | Part::Video(_) => None,
        })
    }

    fn videos(message: &'a Message) -> impl Iterator<Item = &'a [EncodedImage]> {
        message.parts.iter().filter_map(|part| match part {
            Part::Video(frames) => Some(frames.as_slice()),
            Part::Text(_) | Part::Image(_) => None,
        })
    }

    fn texts(message: &'a Message) -> impl Iterator<Item = &'a str> {
        message.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Image(_) | Part::Video(_) => None,
        })
    }

    fn hub_turn(&mut self, message: &'a Message) {
        self.open(role_name(message.role));
        self.text(" ");
        self.segments.extend(Self::images(message).map(Segment::Image));
        self.segments.extend(Self::videos(message).map(Segment::Video));
        for text in Self::texts(message) {
            self.text("\n");
            self.text(text);
        }
        self.close("");
    }

    fn convert_turn(&mut self, message: &'a Message) {
        self.open(role_name(message.role));
        self.text("\n");
        for image in Self::images(message) {
            self.segments.push(Segment::Image(image));
            self.text("\n");
        }
        for video in Self::videos(message) {
            self.segments.push(Segment::Video(video));
            self.text("\n");
        }
        for text in Self::texts(message) {
            self.text(text);
        }
        self.close("\n");
    }

    /// Pictures that open a turn stand on a line of their own before the text, several with spaces between, as the
    /// critics were trained and evaluated; others stand exactly where they are.
    fn qwen_turn(&mut self, message: &'a Message) {
        self.open(role_name(message.role));
        self.text("\n");
        let leading = message.parts.iter().take_while(|part| !matches!(part, Part::Text(_))).count();
        for (index, part) in message.parts.iter().enumerate() {
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
