//! Recognises the known format of a checkpoint's chat template: the template is run on fixed conversations, and its
//! output is compared with that of the formats.

use critic::{EncodedImage, Message, Part, Prompt, Role, TokenId};
use minijinja::{Environment, Error, ErrorKind, Value, syntax::SyntaxConfig, value::Serde};
use serde_json::json;

use super::{ChatFormat, ControlTokens, Segment, TURN_END, TURN_START, TurnFormat};
use crate::{error::LoadError, source::Source};

/// Limits of a template's run, ample for a few turns: minijinja's fuel (instructions), and the depth of recursion.
const MOST_STEPS: u64 = 100_000;
const DEEPEST: usize = 20;

/// The name of the template's file and the template, searched for as transformers does: the processor's files come
/// before the tokenizer's. `None` where there is none.
pub(super) fn read(source: &Source) -> Result<Option<(&'static str, String)>, LoadError> {
    let in_json = |file: &'static str| -> Result<Option<(&'static str, String)>, LoadError> {
        let json: Option<serde_json::Value> = source.json(file, "JSON object")?;
        let template = json.as_ref().and_then(|json| default_template(&json["chat_template"]));
        Ok(template.map(|template| (file, template.to_owned())))
    };
    for file in ["processor_config.json", "chat_template.json"] {
        if let Some(found) = in_json(file)? {
            return Ok(Some(found));
        }
    }
    const FILE: &str = "chat_template.jinja";
    match source.read(FILE)? {
        Some(bytes) => Ok(Some((FILE, String::from_utf8_lossy(&bytes).into_owned()))),
        None => in_json("tokenizer_config.json"),
    }
}

/// The template, or of a list of named templates the default one.
fn default_template(templates: &serde_json::Value) -> Option<&str> {
    let named = |template: &&serde_json::Value| template["name"] == "default";
    let several = || templates.as_array()?.iter().find(named)?["template"].as_str();
    templates.as_str().or_else(several)
}

/// The format whose output equals that of `template`.
///
/// # Errors
/// A description of the template when it cannot be run, or its output matches no format.
pub(super) fn recognise(template: &str) -> Result<ChatFormat, String> {
    let template = without_generation(template);
    let run = |conversations: &[Vec<Message>], in_parts: bool| -> Result<Vec<String>, Error> {
        conversations.iter().map(|messages| render(&template, messages, in_parts)).collect()
    };
    let mut failure = None;
    // Some templates do not write videos. Their format is recognised without, and places videos like images.
    for conversations in [conversations(), conversations().map(without_videos)] {
        match run(&conversations, true) {
            Ok(written) => {
                let mut formats = formats(&written[0]);
                if let Some(format) = formats.find(|format| writes(format, &conversations, &written)) {
                    return Ok(format);
                }
            }
            Err(error) => failure = Some(error),
        }
    }
    // Qwen2's own template accepts only text.
    let conversations = conversations().map(of_texts);
    match (run(&conversations, false), failure) {
        (Ok(written), _) if writes(&ChatFormat::Qwen15, &conversations, &written) => Ok(ChatFormat::Qwen15),
        (Ok(_), _) | (Err(_), None) => Err("one that writes conversations in another way".into()),
        (Err(_), Some(error)) => Err(format!("one that cannot be run: {error:#}")),
    }
}

/// Conversations that the formats write differently: with images within text, white space around text, and with or
/// without a system turn.
fn conversations() -> [Vec<Message>; 2] {
    let text = |text: &str| Part::Text(text.into());
    let (image, video) = (|| Part::Image(EncodedImage::new([])), || Part::Video(vec![EncodedImage::new([])]));
    let turn = |role: Role, parts: Vec<Part>| Message { role, parts };
    [
        vec![
            turn(Role::User, vec![image(), text("one"), image(), text(" two \n")]),
            turn(Role::Assistant, vec![text("three ")]),
            turn(Role::User, vec![text("\nfour"), video(), image()]),
        ],
        vec![
            turn(Role::System, vec![text(" five")]),
            turn(Role::User, vec![text("six")]),
            turn(Role::Assistant, vec![text("seven"), text("eight")]),
            turn(Role::User, vec![image(), image(), text("nine")]),
        ],
    ]
}

/// The conversation without its videos.
fn without_videos(mut conversation: Vec<Message>) -> Vec<Message> {
    for message in &mut conversation {
        message.parts.retain(|part| !matches!(part, Part::Video(_)));
    }
    conversation
}

/// The conversation without images and videos, with one text for each turn.
fn of_texts(conversation: Vec<Message>) -> Vec<Message> {
    let one = |message: Message| {
        let texts = message.parts.into_iter().filter_map(|part| match part {
            Part::Text(text) => Some(text),
            Part::Image(_) | Part::Video(_) => None,
        });
        Message { role: message.role, parts: vec![Part::Text(texts.collect())] }
    };
    conversation.into_iter().map(one).collect()
}

/// All turn formats, each with the preamble of `written`.
fn formats(written: &str) -> impl Iterator<Item = ChatFormat> {
    let preamble = preamble(written);
    let choices = |number: usize, texts: [&'static str; 2], bit: usize| texts[number >> bit & 1];
    (0..32).map(move |number| {
        ChatFormat::Turns(TurnFormat {
            preamble: preamble.clone(),
            after_role: choices(number, [" ", "\n"], 0),
            visuals_first: number >> 1 & 1 == 0,
            after_visual: choices(number, ["", "\n"], 2),
            before_text: choices(number, ["\n", ""], 3),
            after_turn: choices(number, ["", "\n"], 4),
        })
    })
}

/// The system turn at the start of `written`, which the template added: its content, and the text between its end
/// and the next turn.
fn preamble(written: &str) -> Option<(String, String)> {
    let (turn, rest) = written.strip_prefix(TURN_START)?.split_once(TURN_END)?;
    let (after, _) = rest.split_once(TURN_START)?;
    turn.starts_with("system").then(|| (turn.to_owned(), after.to_owned()))
}

/// Whether `format` writes all conversations as the template did.
fn writes(format: &ChatFormat, conversations: &[Vec<Message>; 2], written: &[String]) -> bool {
    conversations
        .iter()
        .zip(written)
        .all(|(messages, written)| text_of(format, messages).as_ref() == Some(written))
}

/// The output of `format` for a conversation, with control tokens and images as templates write them.
fn text_of(format: &ChatFormat, messages: &[Message]) -> Option<String> {
    let control = ControlTokens { turn_start: TokenId(0), turn_end: TokenId(1) };
    let prompt = Prompt { messages: messages.to_vec(), ..Prompt::default() };
    let segments = format.write(&prompt, &control).ok()?;
    let text = segments.iter().map(|segment| match segment {
        Segment::Control(token) if *token == control.turn_start => TURN_START,
        Segment::Control(_) => TURN_END,
        Segment::Text(text) => text,
        Segment::Image(_) => "<image>",
        Segment::Video(_) => "<video>",
    });
    Some(text.collect())
}

/// The output of the template for a conversation and the start of the critic's turn, with transformers' settings: a
/// block removes the line break after it and the white space before it.
fn render(template: &str, messages: &[Message], in_parts: bool) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_fuel(Some(MOST_STEPS));
    environment.set_recursion_limit(DEEPEST);
    environment.add_function("raise_exception", |reason: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, reason))
    });
    let part = |part: &Part| match part {
        Part::Text(text) => json!({ "type": "text", "text": text }),
        Part::Image(_) => json!({ "type": "image" }),
        Part::Video(_) => json!({ "type": "video" }),
    };
    let message = |message: &Message| {
        let content = match (in_parts, message.parts.as_slice()) {
            (false, [Part::Text(text)]) => json!(text),
            (_, parts) => parts.iter().map(part).collect(),
        };
        json!({ "role": super::role_name(message.role), "content": content })
    };
    let messages: Vec<serde_json::Value> = messages.iter().map(message).collect();
    environment.render_str(template, Serde(json!({ "messages": messages, "add_generation_prompt": true })))
}

/// Replaces the `generation` blocks of a template, which mark what a model is trained on and are not standard Jinja.
fn without_generation(template: &str) -> String {
    let mut blocks = template.split("{%");
    let mut text = blocks.next().unwrap_or_default().to_owned();
    for block in blocks {
        let (inside, rest) = block.split_once("%}").unwrap_or((block, ""));
        let word = inside.trim_matches(|letter: char| letter.is_whitespace() || "-+".contains(letter));
        let instead = match word {
            "generation" => Some("if true"),
            "endgeneration" => Some("endif"),
            _ => None,
        };
        let inside = instead.map_or_else(|| inside.to_owned(), |instead| inside.replace(word, instead));
        text.extend(["{%", &inside, if block.contains("%}") { "%}" } else { "" }, rest]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Templates of a published repository, of the conversion script, and of Qwen2.
    const HUB: &str = include_str!("../../../../tests/reference/models/tiny56/chat_template.jinja");
    const CONVERT: &str = include_str!("../../../../tests/reference/models/geo384/chat_template.jinja");
    const QWEN2: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
        {{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}\
        {{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
        {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    fn format(template: &str) -> TurnFormat {
        match recognise(template).unwrap() {
            ChatFormat::Turns(format) => format,
            ChatFormat::Qwen15 => panic!("it is of turns with images"),
        }
    }

    #[test]
    fn known_templates_are_told_by_what_they_write() {
        let hub = TurnFormat {
            preamble: None,
            after_role: " ",
            visuals_first: true,
            after_visual: "",
            before_text: "\n",
            after_turn: "",
        };
        let convert = TurnFormat {
            after_role: "\n",
            after_visual: "\n",
            before_text: "",
            after_turn: "\n",
            ..hub.clone()
        };
        assert_eq!((format(HUB), format(CONVERT)), (hub.clone(), convert.clone()));
        assert_eq!(recognise(QWEN2), Ok(ChatFormat::Qwen15));
        // Another template with the same output, then templates with additional output.
        let broken = HUB.replace("{% for", "\n  {%- for").replace("{% end", "\n {%- end");
        assert_eq!(format(&broken), hub);
        assert_eq!(format(&HUB.replace("'<|im_end|>'", "'<|im_end|>' + '\n'")).after_turn, "\n");
        let system = "{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}";
        let greeting = format!("{{% if messages[0].role != 'system' %}}{system}{{% endif %}}{CONVERT}");
        let preamble = Some(("system\nBe brief.".to_owned(), "\n".to_owned()));
        assert_eq!(format(&greeting), TurnFormat { preamble, ..convert });
    }

    #[test]
    fn what_no_format_writes_is_refused() {
        for changed in [
            HUB.replace("part['text']", "part['text'] | trim"),
            HUB.replace("'<|im_start|>assistant", "'<|im_start|>critic"),
            format!("<s>{HUB}"),
            QWEN2.replace("a helpful assistant", "a judge"),
            "{{ messages }}".into(),
        ] {
            assert_eq!(
                recognise(&changed),
                Err("one that writes conversations in another way".into()),
                "{changed}"
            );
        }
        for broken in [
            "{% for",
            "{{ raise_exception('never') }}",
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        ] {
            let refused = recognise(broken).unwrap_err();
            assert!(refused.starts_with("one that cannot be run: "), "{refused}");
        }
    }
}
