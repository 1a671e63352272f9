//! What a checkpoint is and how much memory it needs, without loading it.

use std::{fmt, sync::Arc};

use critic::ModelSize;

use crate::{
    architectures::Architecture,
    error::LoadError,
    layers::ComputeDevice,
    load::read_architecture,
    parallel::Rank,
    source::Source,
    weights::{WeightForm, Weights},
};

/// A checkpoint, described. Its `Display` is a short table.
#[derive(Debug, Clone)]
pub struct Inspection {
    architecture: Arc<dyn Architecture>,
    parameters: usize,
    stored_bytes: usize,
    /// Bytes in memory, when all is kept as it is stored.
    kept_bytes: usize,
    /// How many tensors are stored in which type.
    types: Vec<String>,
    /// Weights of the layers of tower and decoder, as far as the checkpoint has them, and of the head.
    quantisable: (usize, usize),
    /// Whether the embeddings are the head, too.
    tied: bool,
}

/// Reads the configuration and the headers of the weights.
///
/// # Errors
/// [`LoadError`] when a file is missing, damaged or not understood.
pub fn inspect(source: &Source) -> Result<Inspection, LoadError> {
    let architecture = read_architecture(source)?;
    let naming = architecture.gguf_naming();
    let weights = Weights::open(source, naming, &Rank::alone(ComputeDevice::Kernels), WeightForm::Stored)?;
    let text = architecture.text();
    let tower = match architecture.tower_elsewhere(&weights) {
        Some(_) => 0,
        None => architecture.vision().product_weights(),
    };
    Ok(Inspection {
        parameters: weights.parameter_count(),
        stored_bytes: weights.stored_bytes(),
        kept_bytes: weights.kept_bytes(),
        types: weights.types().into_iter().map(|(name, count)| format!("{count} {name}")).collect(),
        quantisable: (tower + text.product_weights(), text.vocabulary * text.hidden_size),
        tied: text.ties_head(&weights, architecture.decoder_names(&weights)),
        architecture,
    })
}

impl Inspection {
    /// Number of weights.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Of what the model is made.
    pub fn size(&self) -> ModelSize {
        let (vision, text) = (self.architecture.vision(), self.architecture.text());
        ModelSize {
            decoder_weights: text.product_weights(),
            head_weights: text.vocabulary * text.hidden_size,
            decoder_layers: text.layers,
            attention_width: text.heads * text.head_size,
            cached_numbers: text.cache_bytes_per_position(1),
            vocabulary: text.vocabulary,
            tower_weights: vision.product_weights(),
            tower_layers: vision.layers,
            tower_width: vision.hidden_size,
            tile_size: vision.image_size,
            patches: vision.patches_per_side().pow(2),
            projector_weights: self.architecture.projector_weights(),
        }
    }

    /// Tiles that an image of this many pixels is cut into when it is the only one.
    pub fn tiles(&self, width: u32, height: u32) -> usize {
        self.architecture.tiles(height as usize, width as usize)
    }

    /// Bytes of the weights in memory when they are kept in `form`. Where the head is tied, quantising adds to it: the
    /// table of embeddings stays as it is.
    pub fn weight_bytes(&self, form: WeightForm) -> usize {
        let (layers, head) = self.quantisable;
        let stored = |weights: usize| share(self.kept_bytes, weights, self.parameters);
        let quantised = layers + if self.tied { 0 } else { head };
        let others = self.parameters.saturating_sub(quantised);
        match form {
            WeightForm::Stored => self.kept_bytes,
            WeightForm::F32 => self.parameters * 4,
            // Blocks of 32 with a scale of two bytes; what is stored in fewer bits stays as it is.
            WeightForm::Q8 => stored(others) + stored(layers + head).min((layers + head) * 34 / 32),
            WeightForm::Q4 => stored(others) + stored(layers + head).min(layers * 18 / 32 + head * 34 / 32),
        }
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (vision, text) = (self.architecture.vision(), self.architecture.text());
        let mebibytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        writeln!(formatter, "architecture     {}", self.architecture.name())?;
        writeln!(formatter, "parameters       {:.2} million", self.parameters as f64 / 1e6)?;
        writeln!(
            formatter,
            "vision tower     {} layers of {}, {} heads, tiles of {} px, {} patches a tile",
            vision.layers,
            vision.hidden_size,
            vision.heads,
            vision.image_size,
            vision.patches_per_side().pow(2)
        )?;
        writeln!(
            formatter,
            "decoder          {} layers of {}, {} heads over {} key/value heads, vocabulary {}, {} head",
            text.layers,
            text.hidden_size,
            text.heads,
            text.kv_heads,
            text.vocabulary,
            if self.tied { "tied" } else { "own" }
        )?;
        writeln!(formatter, "context          {} tokens", text.context_length)?;
        writeln!(formatter, "images         {}", self.architecture.describe_images())?;
        let position = text.cache_bytes_per_position(4);
        writeln!(formatter, "size on disk     {:.1} MiB", mebibytes(self.stored_bytes))?;
        writeln!(formatter, "tensors on disk  {}", self.types.join(", "))?;
        for (name, form) in [
            ("weights stored", WeightForm::Stored),
            ("weights in f32", WeightForm::F32),
            ("weights in q8", WeightForm::Q8),
            ("weights in q4", WeightForm::Q4),
        ] {
            writeln!(formatter, "{name:<16} {:.1} MiB", mebibytes(self.weight_bytes(form)))?;
        }
        write!(
            formatter,
            "cache in f32     {position} bytes a token, {:.1} MiB for one whole context",
            mebibytes(position * text.context_length)
        )
    }
}

/// The bytes of `part` weights of `whole` that take `bytes`, all of them as much.
fn share(bytes: usize, part: usize, whole: usize) -> usize {
    // Weights times bytes of the largest models do not fit into 64 bits.
    (part as u128 * bytes as u128).checked_div(whole as u128).unwrap_or(0) as usize
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn weights_of_a_72b_model_have_their_share() {
        assert_eq!(share(146_000_000_000, 72_000_000_000, 73_000_000_000), 144_000_000_000);
        assert_eq!(share(0, 0, 0), 0);
    }
}
