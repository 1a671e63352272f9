//! The model: tower, projector, newline vector and decoder.

use candle_core::{DType, Device, Result, Tensor};
use critic::{Batch, ContentHash, Visual};

use super::{
    anatomy::{Anatomy, VisionSource},
    names::Names,
    packing::pack,
    processor::Normalisation,
    reward_head::RewardHead,
};
use crate::{
    decoders::Qwen2,
    error::LoadError,
    kv_cache::LayerCache,
    layers::{Activation, Linear},
    vision::Siglip,
    weights::Weights,
};

/// Tiles that go through the tower at once: bounds its scores to this times heads times patches squared.
const TILES_AT_ONCE: usize = 8;

/// A loaded LLaVA-OneVision model.
#[derive(Debug)]
pub struct Model {
    anatomy: Anatomy,
    normalisation: Normalisation,
    vision: Siglip,
    projector: [Linear; 2], // [E] -> [C] -> [C]
    projector_activation: Activation,
    newline: Tensor, // [C]
    decoder: Qwen2,
    reward_head: Option<RewardHead>,
    device: Device,
    dtype: DType,
}

impl Model {
    /// Reads the model from a checkpoint's weights; `tower` are those of a vision tower that is kept elsewhere.
    pub(crate) fn load(
        anatomy: Anatomy,
        normalisation: Normalisation,
        (weights, tower): (&Weights, Option<&Weights>),
        (device, dtype): (&Device, DType),
    ) -> std::result::Result<Self, LoadError> {
        let names = Names::detect(weights);
        let vision = match tower {
            Some(tower) => Siglip::load(tower, Names::vision_alone(tower), &anatomy.vision)?,
            None => Siglip::load(weights, names.vision, &anatomy.vision)?,
        };
        let (seen, size) = (anatomy.vision.hidden_size, anatomy.text.hidden_size);
        let layer = |index: usize, input| {
            let form = weights.form().of_the_rest();
            Linear::load((weights, form), names.projector[index], (input, size), anatomy.projector_bias)
        };
        Ok(Self {
            vision,
            projector: [layer(0, seen)?, layer(1, size)?],
            projector_activation: anatomy.projector_activation,
            newline: weights.get(names.newline, &[size])?,
            decoder: Qwen2::load(weights, (names.text, names.head), &anatomy.text, (device, dtype))?,
            reward_head: RewardHead::load(weights, size)?,
            device: device.clone(),
            dtype,
            anatomy,
            normalisation,
        })
    }

    /// The tower that `mm_vision_tower` names, when the checkpoint does not hold one itself.
    pub(crate) fn tower_elsewhere<'a>(anatomy: &'a Anatomy, weights: &Weights) -> Option<&'a str> {
        match &anatomy.vision_source {
            VisionSource::CheckpointOr(tower) if !Names::detect(weights).has_vision(weights) => Some(tower),
            VisionSource::CheckpointOr(_) | VisionSource::Checkpoint => None,
        }
    }

    /// What the configuration says.
    pub fn anatomy(&self) -> &Anatomy {
        &self.anatomy
    }

    /// Whether the checkpoint has a reward head.
    pub fn has_reward_head(&self) -> bool {
        self.reward_head.is_some()
    }

    /// Where the model's tensors are.
    pub(crate) fn place(&self) -> (&Device, DType) {
        (&self.device, self.dtype)
    }

    /// Normalised pixels `[N, 3, size, size]` of tiles, each `[size, size, 3]`.
    ///
    /// # Errors
    /// What the tensor library says.
    pub fn pixels(&self, tiles: &[&[u8]]) -> Result<Tensor> {
        let size = self.anatomy.geometry.tile_size;
        let values: Vec<f32> = tiles.iter().flat_map(|tile| self.normalisation.planes(tile)).collect();
        Tensor::from_vec(values, (tiles.len(), 3, size, size), &self.device)?.to_dtype(self.dtype)
    }

    /// The tower's residual stream for `pixels`: after the embedding and after each layer, `[N, P, E]` each. The last
    /// one is what the projector gets.
    ///
    /// # Errors
    /// What the tensor library says.
    pub fn hidden_states(&self, pixels: &Tensor) -> Result<Vec<Tensor>> {
        self.vision.hidden_states(pixels)
    }

    /// Features `[N, P, E]` of the tower to vectors `[N, P, C]` of the decoder.
    ///
    /// # Errors
    /// What the tensor library says.
    pub fn project(&self, features: &Tensor) -> Result<Tensor> {
        let (tiles, patches, seen) = features.dims3()?;
        let x = self.projector[0].forward(&features.reshape((tiles * patches, seen))?)?;
        let x = self.projector[1].forward(&self.projector_activation.forward(&x)?)?;
        x.reshape((tiles, patches, self.anatomy.text.hidden_size))
    }

    /// For each of `visuals` the vectors `[length, C]` that replace its placeholders. Tiles of all of them go through
    /// the tower together.
    ///
    /// # Errors
    /// What the tensor library says.
    pub fn features(&self, visuals: &[&Visual]) -> Result<Vec<Tensor>> {
        let tiles: Vec<&[u8]> = visuals
            .iter()
            .flat_map(|visual| (0..visual.tiles.count()).map(|index| visual.tiles.tile(index)))
            .collect();
        if tiles.is_empty() {
            return Ok(Vec::new());
        }
        let projected: Result<Vec<Tensor>> = tiles
            .chunks(TILES_AT_ONCE)
            .map(|tiles| self.project(&self.vision.forward(&self.pixels(tiles)?)?))
            .collect();
        let projected = Tensor::cat(&projected?, 0)?; // [tiles, P, C]
        let mut first = 0;
        let pack = |visual: &&Visual| {
            let count = visual.tiles.count();
            let own = projected.narrow(0, first, count)?;
            first += count;
            pack(&own, visual.packing, &self.anatomy.geometry, &self.newline)
        };
        visuals.iter().map(pack).collect()
    }

    /// The rows `[T, C]` that go into the decoder: embedded tokens, with `features_of` in the place of placeholders.
    ///
    /// # Errors
    /// What the tensor library says.
    pub fn embed(
        &self,
        batch: &Batch,
        mut features_of: impl FnMut(&ContentHash) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut rows = Vec::new();
        for chunk in &batch.chunks {
            let mut position = chunk.start;
            let text = |from: usize, to: usize| {
                self.decoder.embed(&chunk.tokens[from - chunk.start..to - chunk.start])
            };
            for visual in &chunk.visuals {
                let start = visual.start.max(position);
                let end = (visual.start + visual.length).min(chunk.end());
                if start > position {
                    rows.push(text(position, start)?);
                }
                rows.push(features_of(&visual.hash)?.narrow(0, start - visual.start, end - start)?);
                position = end;
            }
            if position < chunk.end() {
                rows.push(text(position, chunk.end())?);
            }
        }
        Tensor::cat(&rows, 0)
    }

    /// Runs embedded rows `[T, C]` of `batch` through the decoder, to normalised hidden states `[T, C]`.
    pub(crate) fn decode(&self, rows: &Tensor, batch: &Batch, caches: &mut [LayerCache]) -> Result<Tensor> {
        self.decoder.forward(rows, batch, caches)
    }

    /// Hidden states `[rows, C]` to logits `[rows, V]`.
    pub(crate) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.decoder.logits(hidden)
    }

    /// Hidden states `[rows, C]` to rewards `[rows, 1]`.
    pub(crate) fn rewards(&self, hidden: &Tensor) -> Result<Tensor> {
        match &self.reward_head {
            Some(head) => head.forward(hidden),
            None => candle_core::bail!("the checkpoint has no reward head"),
        }
    }
}
