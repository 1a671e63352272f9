//! The model: tower, projector, newline vector and decoder.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};
use critic::{Batch, TokenId, Visual};
use kernels_cuda::PatchCutter;

use super::{
    anatomy::{Anatomy, TextAnatomy, VisionSource},
    names::Names,
    packing::{Features, pack},
    processor::Normalisation,
    reward_head::RewardHead,
};
use crate::{
    decoders::Qwen2,
    error::LoadError,
    kv_cache::LayerCache,
    layers::{Activation, Linear, Place, Rows, on_card},
    parallel::Rank,
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
    /// Cuts tiles where the model is on a card.
    cutter: Option<PatchCutter>,
    projector: [Linear; 2], // [E] -> [C] -> [C]
    projector_activation: Activation,
    newline: Rows, // [1, C]
    decoder: Qwen2,
    reward_head: Option<RewardHead>,
    rank: Rank,
}

impl Model {
    /// Reads the model from a checkpoint's weights; `tower` are those of a vision tower that is kept elsewhere.
    pub(crate) fn load(
        anatomy: Anatomy,
        normalisation: Normalisation,
        (weights, tower): (&Weights, Option<&Weights>),
        max_step_tokens: usize,
    ) -> std::result::Result<Self, LoadError> {
        let names = Names::detect(weights);
        let vision = match tower {
            Some(tower) => Siglip::load(tower, Names::vision_alone(tower), &anatomy.vision)?,
            None => Siglip::load(weights, names.vision, &anatomy.vision)?,
        };
        let (seen, size) = (anatomy.vision.hidden_size, anatomy.text.hidden_size);
        let layer = |index: usize, input| {
            let form = weights.form().of_the_rest();
            Linear::load(
                weights.products(form),
                names.projector[index],
                (input, size),
                anatomy.projector_bias,
            )
        };
        let cutter = match weights.place() {
            Place::Kernels | Place::Tensors(_) => None,
            Place::Card(gpu) => {
                let sizes = (anatomy.vision.image_size, anatomy.vision.patch_size);
                Some(PatchCutter::new(gpu, normalisation.levels(), sizes)?)
            }
        };
        Ok(Self {
            vision,
            cutter,
            projector: [layer(0, seen)?, layer(1, size)?],
            projector_activation: anatomy.projector_activation,
            newline: weights.place().rows(&weights.get(names.newline, &[size])?.unsqueeze(0)?)?,
            decoder: Qwen2::load(weights, (names.text, names.head), &anatomy.text, max_step_tokens)?,
            reward_head: RewardHead::load(weights, size)?,
            rank: weights.rank().clone(),
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

    /// Where the model computes.
    pub(crate) fn place(&self) -> &Place {
        &self.rank.place
    }

    /// Which rank of a split decoder it is part of.
    pub(crate) fn rank(&self) -> &Rank {
        &self.rank
    }

    /// The decoder as this rank has it.
    pub(crate) fn own_text(&self) -> TextAnatomy {
        self.rank.shard.of_text(&self.anatomy.text)
    }

    /// Normalised pixels `[N, 3, size, size]` of tiles, each `[size, size, 3]`.
    ///
    /// # Errors
    /// What the tensor library says.
    pub fn pixels(&self, tiles: &[&[u8]]) -> Result<Tensor> {
        let size = self.anatomy.geometry.tile_size;
        let mut values = vec![0.0; tiles.len() * 3 * size * size];
        for (tile, planes) in tiles.iter().zip(values.chunks_exact_mut(3 * size * size)) {
            self.normalisation.planes(tile, planes);
        }
        Tensor::from_vec(values, (tiles.len(), 3, size, size), &Device::Cpu)?
            .to_dtype(self.rank.place.dtype())
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
        let (tiles, patches, _) = features.dims3()?;
        let projected = self.project_rows(&self.rank.place.rows(&features.flatten_to(1)?)?)?;
        projected.into_tensor()?.reshape((tiles, patches, self.anatomy.text.hidden_size))
    }

    fn project_rows(&self, features: &Rows) -> Result<Rows> {
        let [mut wide, mut projected] = [Rows::new(), Rows::new()];
        self.projector[0].activated(features, &mut wide, self.projector_activation)?;
        self.projector[1].forward(&wide, &mut projected)?;
        Ok(projected)
    }

    /// For each of `visuals` the vectors `[length, C]` that replace its placeholders. Tiles of all of them go through
    /// the tower together.
    ///
    /// # Errors
    /// What the tensor library says.
    pub fn features(&self, visuals: &[&Visual]) -> Result<Vec<Tensor>> {
        self.feature_rows(visuals)?.into_iter().map(Rows::into_tensor).collect()
    }

    /// The same where the model computes.
    pub(crate) fn feature_rows(&self, visuals: &[&Visual]) -> Result<Vec<Rows>> {
        let tiles: Vec<&[u8]> = visuals
            .iter()
            .flat_map(|visual| (0..visual.tiles.count()).map(|index| visual.tiles.tile(index)))
            .collect();
        if tiles.is_empty() {
            return Ok(Vec::new());
        }
        let project = |tiles: &[&[u8]]| self.project_rows(&self.see(tiles)?);
        let projected: Vec<Rows> = tiles.chunks(self.tiles_at_once()).map(project).collect::<Result<_>>()?;
        let mut pieces: Vec<(&Rows, Range<usize>)> = Vec::new();
        for rows in projected.iter().chain([&self.newline]) {
            pieces.push((rows, 0..rows.shape()?.0));
        }
        let all = Rows::join(&pieces)?; // [tiles * P + 1, C]
        let newline = all.shape()?.0 - 1;
        let patches = newline / tiles.len();
        let mut first = 0;
        let pack = |visual: &&Visual| {
            let tiles = visual.tiles.count();
            let features = Features { first, tiles, newline };
            first += tiles * patches;
            all.mix(&pack(features, visual.packing, &self.anatomy.geometry))
        };
        visuals.iter().map(pack).collect()
    }

    /// How many tiles go through the tower at once.
    fn tiles_at_once(&self) -> usize {
        match self.place() {
            Place::Kernels => 1,
            Place::Tensors(_) | Place::Card(_) => TILES_AT_ONCE,
        }
    }

    /// Runs as many tiles as go through the tower at once, of no picture.
    pub(crate) fn run_most_tiles(&self) -> Result<()> {
        let size = self.anatomy.geometry.tile_size;
        let tile = vec![0; 3 * size * size];
        self.project_rows(&self.see(&vec![tile.as_slice(); self.tiles_at_once()])?)?;
        Ok(())
    }

    /// The tower's features `[N * P, E]` of tiles.
    fn see(&self, tiles: &[&[u8]]) -> Result<Rows> {
        match (&self.cutter, self.place()) {
            (Some(cutter), Place::Card(gpu)) => {
                let mut patches = Rows::new();
                on_card(cutter.cut(tiles, patches.on(gpu)?))?;
                self.vision.forward_patches(&patches)
            }
            _ => self.vision.forward(&self.pixels(tiles)?),
        }
    }

    /// The most bytes that features of one visual take while they are made: those of all its tiles twice, as they come and
    /// joined, and what is made of them. A video is as long as a context holds.
    pub(crate) fn most_bytes_of_visual(&self) -> usize {
        let Anatomy { geometry, text, .. } = &self.anatomy;
        let patches = geometry.patches_per_side.pow(2);
        let pooled = geometry.pooled_side().pow(2);
        let frames = text.context_length / pooled.max(1);
        let rows = 3 * (frames * patches).max(geometry.most_features());
        rows * text.hidden_size * self.rank.place.number_bytes()
    }

    /// The embedded tokens `[T, C]` of `batch`. Rows of placeholders are those of some token: features are to go there.
    pub(crate) fn embed(&self, batch: &Batch) -> Result<Rows> {
        let vocabulary = self.anatomy.text.vocabulary;
        let tokens = batch.chunks.iter().flat_map(|chunk| &chunk.tokens);
        let known = |token: &TokenId| if (token.0 as usize) < vocabulary { *token } else { TokenId(0) };
        self.decoder.embed(&tokens.map(known).collect::<Vec<_>>())
    }

    /// Runs embedded rows `x` `[T, C]` of `batch` through the decoder; they become the hidden states.
    pub(crate) fn decode(&mut self, x: &mut Rows, batch: &Batch, caches: &mut [LayerCache]) -> Result<()> {
        self.decoder.forward(x, batch, caches)
    }

    /// Hidden states `[rows, C]`, normalised for the head.
    pub(crate) fn normalise(&self, hidden: &Rows) -> Result<Rows> {
        self.decoder.normalise(hidden)
    }

    /// Normalised hidden states `[rows, C]` to the logits of each row, `[V]`.
    pub(crate) fn logits(&self, normed: &Rows) -> Result<Vec<Vec<f32>>> {
        self.decoder.logits(normed)
    }

    /// Normalised hidden states `[rows, C]` to the reward of each row, one number.
    pub(crate) fn rewards(&self, normed: &Rows) -> Result<Vec<Vec<f32>>> {
        match &self.reward_head {
            Some(head) => head.forward(normed),
            None => candle_core::bail!("the checkpoint has no reward head"),
        }
    }
}
