//! Runs cases on a checkpoint: cuts prompts into segments, and runs sequences to logits.

use candle_core::Tensor;
use critic::{
    Backend, BackendError, Batch, BlockId, CacheScope, Chunk, Encoded, EncodedImage, ImageTiling, Logits,
    Message, Part, Prompt, Role, SequenceId, StepOutput, TokenId, Wants,
};
use critic_candle::{CandleBackend, Segment, SegmentEncoder};

use crate::golden::{Case, path};

fn read_images(files: &[String]) -> Vec<EncodedImage> {
    files.iter().map(|file| EncodedImage::new(std::fs::read(path(file)).unwrap())).collect()
}

/// Encodes the raw prompt of a case, cut at its control tokens and markers.
pub(crate) fn encode_raw(processor: &dyn SegmentEncoder, case: &Case) -> Encoded {
    let images = read_images(&case.images);
    let frames = read_images(&case.video_frames);
    let mut segments = Vec::new();
    let mut next_image = images.iter();
    let mut rest = case.prompt.as_str();
    const MARKS: [&str; 4] = ["<|im_start|>", "<|im_end|>", "<image>", "<video>"];
    while !rest.is_empty() {
        let found = MARKS.iter().filter_map(|mark| rest.find(mark).map(|at| (at, *mark))).min();
        let Some((at, mark)) = found else {
            segments.push(Segment::Text(rest));
            break;
        };
        segments.push(Segment::Text(&rest[..at]));
        segments.push(match mark {
            "<image>" => Segment::Image(next_image.next().unwrap()),
            "<video>" => Segment::Video(&frames),
            control => Segment::Control(processor.control(control).unwrap()),
        });
        rest = &rest[at + mark.len()..];
    }
    processor.encode_segments(&segments, ImageTiling::Trained, CacheScope::default()).unwrap()
}

/// Encodes the messages of a case in the checkpoint's chat format; `None` where the case has only a raw prompt.
pub(crate) fn encode_messages(processor: &dyn SegmentEncoder, case: &Case) -> Option<Encoded> {
    let mut images = read_images(&case.images).into_iter();
    let messages = case.messages.as_ref()?.iter().map(|message| Message {
        role: match message.role.as_str() {
            "system" => Role::System,
            "user" => Role::User,
            _ => Role::Assistant,
        },
        parts: message
            .content
            .iter()
            .map(|part| match part.kind.as_str() {
                "image" => Part::Image(images.next().unwrap()),
                "video" => Part::Video(read_images(&case.video_frames)),
                _ => Part::Text(part.text.clone()),
            })
            .collect(),
    });
    let prompt = Prompt { messages: messages.collect(), ..Default::default() };
    Some(processor.encode(&prompt).unwrap())
}

/// A sequence on a backend, with blocks of its own.
pub(crate) struct Sequence {
    id: SequenceId,
    encoded: Encoded,
    generated: Vec<TokenId>,
    computed: usize,
    block_table: Vec<BlockId>,
}

impl Sequence {
    /// A sequence whose blocks are `first_block`, `first_block + stride`, and so on.
    pub(crate) fn new(encoded: Encoded, first_block: u32, stride: u32) -> Self {
        let blocks = (encoded.tokens.len() + 64).div_ceil(32) as u32;
        Self {
            id: SequenceId(u64::from(first_block)),
            encoded,
            generated: Vec::new(),
            computed: 0,
            block_table: (0..blocks).map(|index| BlockId(first_block + index * stride)).collect(),
        }
    }

    /// A sequence with the same first `blocks` blocks of tokens and other tokens after them, in blocks of its own.
    pub(crate) fn ending_otherwise(&self, blocks: usize, first_block: u32) -> Self {
        let mut encoded = self.encoded.clone();
        encoded.tokens[blocks * 32..].reverse();
        Self::new(encoded, first_block, 1)
    }

    /// This sequence with the first `blocks` blocks of `other`, which has computed their keys and values already.
    pub(crate) fn after(mut self, other: &Self, blocks: usize) -> Self {
        self.block_table[..blocks].copy_from_slice(&other.block_table[..blocks]);
        self.computed = blocks * 32;
        self
    }

    pub(crate) fn is_prefilled(&self) -> bool {
        self.computed >= self.encoded.tokens.len()
    }

    /// The next tokens as a chunk, at most `most`.
    pub(crate) fn chunk(&self, most: usize) -> Chunk {
        let mut tokens = self.encoded.tokens.clone();
        tokens.extend(&self.generated);
        let end = tokens.len().min(self.computed + most);
        Chunk {
            sequence: self.id,
            tokens: tokens[self.computed..end].to_vec(),
            start: self.computed,
            block_table: self.block_table.clone(),
            visuals: self
                .encoded
                .visuals
                .iter()
                .filter(|visual| visual.start < end && self.computed < visual.start + visual.length)
                .cloned()
                .collect(),
            wants: if end == tokens.len() { Wants::Logits } else { Wants::Nothing },
        }
    }

    pub(crate) fn advance(&mut self, count: usize) {
        self.computed += count;
    }

    pub(crate) fn push(&mut self, token: TokenId) {
        self.generated.push(token);
    }
}

/// Runs the whole prompt in chunks of `step` tokens and returns the hidden states `[T, C]` of all positions.
pub(crate) fn prefill(backend: &mut CandleBackend, sequence: &mut Sequence, step: usize) -> Tensor {
    let mut hidden = Vec::new();
    while !sequence.is_prefilled() {
        let batch = Batch { chunks: vec![sequence.chunk(step)] };
        hidden.push(backend.hidden(&batch).unwrap());
        sequence.advance(batch.token_count());
    }
    Tensor::cat(&hidden, 0).unwrap()
}

/// Decodes greedily from the logits `first`; returns the rows of logits of `count` tokens, starting with `first`.
pub(crate) fn decode(
    backend: &mut CandleBackend,
    sequence: &mut Sequence,
    first: Vec<f32>,
    count: usize,
) -> Vec<Vec<f32>> {
    let mut rows = vec![first];
    for _ in 1..count {
        sequence.push(TokenId(argmax(&rows[rows.len() - 1]) as u32));
        let batch = Batch { chunks: vec![sequence.chunk(1)] };
        rows.push(logits_of(backend.forward(&batch)).remove(0));
        sequence.advance(1);
    }
    rows
}

/// The rows of logits that a step returned, in which nothing but logits was wanted.
pub(crate) fn logits_of(outputs: Result<Vec<StepOutput>, BackendError>) -> Vec<Logits> {
    outputs.unwrap().into_iter().map(|output| output.into_logits().unwrap()).collect()
}

pub(crate) fn argmax(row: &[f32]) -> usize {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap()
}

/// Log-probabilities of one row of logits.
pub(crate) fn log_softmax(row: &[f32]) -> Vec<f32> {
    let largest = f64::from(row[argmax(row)]);
    let total: f64 = row.iter().map(|logit| (f64::from(*logit) - largest).exp()).sum();
    row.iter().map(|logit| (f64::from(*logit) - largest - total.ln()) as f32).collect()
}
