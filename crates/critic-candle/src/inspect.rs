//! Describes a checkpoint and the memory it needs, without loading it.

use std::{fmt, sync::Arc};

use critic::ModelSize;

use crate::{
    architectures::{Architecture, read_architecture},
    device::ComputeDevice,
    error::LoadError,
    parallel::Rank,
    source::Source,
    weights::{
        StoredType::{self, Iq4Nl, Q8_0},
        WeightForm, Weights,
    },
};

/// The description of a checkpoint. Its `Display` is a short table.
#[derive(Debug, Clone)]
pub struct Inspection {
    architecture: Arc<dyn Architecture>,
    parameters: usize,
    stored_bytes: usize,
    /// Bytes in memory when all weights are kept as stored.
    kept_bytes: usize,
    /// The folder or repository of the vision tower, if the checkpoint refers to one instead of having it.
    tower: Option<String>,
    /// The number of tensors of each stored type, as text.
    types: Vec<String>,
    /// Weights of the layers of the decoder and, if the checkpoint contains it, the tower; then those of the head.
    quantisable: (usize, usize),
    /// Whether the head uses the embedding's weights.
    tied: bool,
}

/// Reads the configuration and the headers of the weights.
///
/// # Errors
/// [`LoadError`] when a file is missing, damaged or not supported.
pub fn inspect(source: &Source) -> Result<Inspection, LoadError> {
    let architecture = read_architecture(source)?;
    let naming = architecture.gguf_naming();
    let weights = Weights::open(source, naming, &Rank::alone(ComputeDevice::Kernels), WeightForm::Stored)?;
    let text = architecture.text();
    let tower = architecture.tower_elsewhere(&weights).map(str::to_owned);
    let tower_weights = if tower.is_some() { 0 } else { architecture.vision().product_weights() };
    Ok(Inspection {
        parameters: weights.parameter_count(),
        stored_bytes: weights.stored_bytes(),
        kept_bytes: weights.kept_bytes(),
        types: weights.types().into_iter().map(|(name, count)| format!("{count} {name}")).collect(),
        quantisable: (tower_weights + text.product_weights(), text.vocabulary * text.hidden_size),
        tied: text.ties_head(&weights, architecture.decoder_names(&weights)),
        tower,
        architecture,
    })
}

impl Inspection {
    /// Number of weights.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// The sizes of the model.
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

    /// Number of tiles that an image of `width` x `height` pixels is cut into when it is the only one of its prompt.
    pub fn tiles(&self, width: u32, height: u32) -> usize {
        self.architecture.tiles(height as usize, width as usize)
    }

    /// Bytes of the weights in memory when they are kept in `form`. Where the head is tied, quantising adds a
    /// quantised copy for the head: the embedding table stays as stored.
    pub fn weight_bytes(&self, form: WeightForm) -> usize {
        let (layers, head) = self.quantisable;
        let stored = |weights: usize| share(self.kept_bytes, weights, self.parameters);
        let quantised = layers + if self.tied { 0 } else { head };
        let others = self.parameters.saturating_sub(quantised);
        let in_blocks = |stored_type: StoredType, weights: usize| {
            let (weights_of_block, bytes) = stored_type.block();
            weights * bytes / weights_of_block
        };
        match form {
            WeightForm::Stored => self.kept_bytes,
            WeightForm::F32 => self.parameters * 4,
            // Weights that are stored in fewer bits stay as they are.
            WeightForm::Q8 => stored(others) + stored(layers + head).min(in_blocks(Q8_0, layers + head)),
            WeightForm::Q4 => {
                stored(others) + stored(layers + head).min(in_blocks(Iq4Nl, layers) + in_blocks(Q8_0, head))
            }
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
        if let Some(tower) = &self.tower {
            writeln!(formatter, "                 of {tower}, whose weights are not counted here")?;
        }
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
        writeln!(formatter, "images           {}", self.architecture.describe_images())?;
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

/// The bytes of `part` weights where `whole` weights take `bytes`, all weights being of equal size.
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
