//! The known chat formats: how their turns begin, and the marks around them.

use super::Speaker::{self, Assistant, System, User};

/// A chat format. Marks at the beginning and the end of texts are common to all formats; see [`BOUNDARY_MARKS`].
pub(super) struct ChatFormat {
    /// The texts that begin a turn, each with its speaker.
    pub(super) openers: &'static [(&'static str, Speaker)],
    /// Texts that may follow an opener directly and belong to it, as the rest of the turn's header.
    pub(super) headers: &'static [&'static str],
    /// Marks inside of turns, other than the assistant's, that are not part of the text.
    pub(super) inner_marks: &'static [&'static str],
    /// The mark before the assistant's words to the user; the part of a turn before it is dropped.
    pub(super) final_channel: Option<&'static str>,
    /// Where a turn can begin.
    pub(super) turn_start: TurnStart,
}

/// Where a turn can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnStart {
    /// Anywhere: the openers are marks that do not occur in plain text.
    Anywhere,
    /// At the beginning of a word.
    Word,
    /// At the beginning of a line.
    Line,
}

impl ChatFormat {
    /// A format whose openers are marks that occur in no plain text.
    const fn marked(openers: &'static [(&'static str, Speaker)]) -> Self {
        Self { openers, headers: &[], inner_marks: &[], final_channel: None, turn_start: TurnStart::Anywhere }
    }
}

/// The known formats. The format of a text is the one whose opener comes first; if two begin at the same place, the
/// earlier one in this list.
pub(super) const FORMATS: &[ChatFormat] = &[
    // ChatML: Qwen, LLaVA-OneVision, InternVL, and Phi 4 with a separator.
    ChatFormat {
        headers: &["<|im_sep|>"],
        ..ChatFormat::marked(&[
            ("<|im_start|>system", System),
            ("<|im_start|>user", User),
            ("<|im_start|>assistant", Assistant),
        ])
    },
    // Llama 3.
    ChatFormat::marked(&[
        ("<|start_header_id|>system<|end_header_id|>", System),
        ("<|start_header_id|>user<|end_header_id|>", User),
        ("<|start_header_id|>assistant<|end_header_id|>", Assistant),
    ]),
    // Llama 4.
    ChatFormat::marked(&[
        ("<|header_start|>system<|header_end|>", System),
        ("<|header_start|>user<|header_end|>", User),
        ("<|header_start|>assistant<|header_end|>", Assistant),
    ]),
    // Gemma.
    ChatFormat::marked(&[("<start_of_turn>user", User), ("<start_of_turn>model", Assistant)]),
    // DeepSeek, with its full-width bars, and DeepSeek-VL 2.
    ChatFormat::marked(&[("<｜User｜>", User), ("<｜Assistant｜>", Assistant)]),
    ChatFormat::marked(&[("<|User|>:", User), ("<|Assistant|>:", Assistant)]),
    // gpt-oss, whose assistant writes its reasoning and its answer in different channels.
    ChatFormat {
        headers: &["<|message|>"],
        final_channel: Some("<|channel|>final<|message|>"),
        ..ChatFormat::marked(&[
            ("<|start|>system", System),
            ("<|start|>developer", System),
            ("<|start|>user", User),
            ("<|start|>assistant", Assistant),
        ])
    },
    // Command R, Aya.
    ChatFormat {
        headers: &["<|START_RESPONSE|>"],
        ..ChatFormat::marked(&[
            ("<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", System),
            ("<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", User),
            ("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", Assistant),
        ])
    },
    // Kimi.
    ChatFormat {
        headers: &["<|im_middle|>"],
        ..ChatFormat::marked(&[
            ("<|im_system|>system", System),
            ("<|im_user|>user", User),
            ("<|im_assistant|>assistant", Assistant),
        ])
    },
    // Phi 3, Zephyr, GLM.
    ChatFormat::marked(&[("<|system|>", System), ("<|user|>", User), ("<|assistant|>", Assistant)]),
    // Llama 2 and Mistral: the answer follows the end of the instruction.
    ChatFormat {
        inner_marks: &["<<SYS>>", "<</SYS>>", "[/SYSTEM_PROMPT]"],
        ..ChatFormat::marked(&[("[SYSTEM_PROMPT]", System), ("[INST]", User), ("[/INST]", Assistant)])
    },
    // Vicuna and LLaVA 1.5.
    ChatFormat {
        turn_start: TurnStart::Word,
        ..ChatFormat::marked(&[("USER:", User), ("ASSISTANT:", Assistant)])
    },
    // LLaMA-Factory for models without a format of their own; Idefics, SmolVLM, DeepSeek-VL.
    ChatFormat {
        turn_start: TurnStart::Line,
        ..ChatFormat::marked(&[
            ("System:", System),
            ("Human:", User),
            ("User:", User),
            ("Assistant:", Assistant),
        ])
    },
    // Alpaca.
    ChatFormat {
        turn_start: TurnStart::Line,
        ..ChatFormat::marked(&[("### Instruction:", User), ("### Response:", Assistant)])
    },
];

/// Marks at the beginning and the end of texts and turns of all formats: tokens that begin, end or pad them.
const BOUNDARY_MARKS: &[&str] = &[
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "<bos>",
    "<eos>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|finetune_right_pad_id|>",
    "<|finetune_right_pad|>",
    "<|eot|>",
    "<|eom|>",
    "<end_of_turn>",
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜▁pad▁｜>",
    "<|end|>",
    "<|return|>",
    "<|startoftext|>",
    "<|vision_pad|>",
    "<|END_RESPONSE|>",
    "<|END_OF_TURN_TOKEN|>",
    "<BOS_TOKEN>",
    "<EOS_TOKEN>",
    "<PAD>",
    "[gMASK]",
    "<sop>",
    "[BOS]",
    "[EOS]",
    "[PAD]",
    "[EOS_TOKEN]",
    "<end_of_utterance>",
];

/// Further marks at the end: the beginning of a next turn, at which generation was stopped.
const STOP_MARKS: &[&str] = &["<|user|>", "<|observation|>", "<|im_start|>"];

/// Removes [`BOUNDARY_MARKS`], [`STOP_MARKS`] and white space from the end.
pub(super) fn without_end_marks(text: &str) -> &str {
    let mut text = text.trim_end();
    while let Some(rest) = end_marks().find_map(|mark| text.strip_suffix(mark)) {
        text = rest.trim_end();
    }
    text
}

/// Removes [`BOUNDARY_MARKS`] and white space from the beginning.
pub(super) fn without_start_marks(text: &str) -> &str {
    let mut text = text.trim_start();
    while let Some(rest) = BOUNDARY_MARKS.iter().find_map(|mark| text.strip_prefix(mark)) {
        text = rest.trim_start();
    }
    text
}

/// Removes such marks and white space from both ends.
pub(super) fn without_boundary_marks(text: &str) -> &str {
    without_start_marks(without_end_marks(text))
}

/// Whether a text ends with such a mark.
pub(super) fn ends_with_boundary_mark(text: &str) -> bool {
    end_marks().any(|mark| text.ends_with(mark))
}

/// All marks that may be at the end of a text.
fn end_marks() -> impl Iterator<Item = &'static str> {
    BOUNDARY_MARKS.iter().chain(STOP_MARKS).copied()
}
