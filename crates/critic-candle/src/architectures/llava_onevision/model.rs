//! The model: tower, projector, newline vector and decoder.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};
use critic::{Batch, Medium, TokenId, Visual};
use kernels_cuda::{Mixture, PatchCutter};

use super::{
    config::ModelConfig,
    geometry::{Geometry, Packing},
    names::Names,
    packing::{Features, pack},
    preprocessor::Normalisations,
    reward_head::RewardHead,
};
use crate::{
    architectures::{Model, ModelParts, ModelWeights},
    decoders::{DecoderConfig, Qwen2},
    device::{ComputeDevice, gpu_result},
    error::LoadError,
    kv_cache::{LayerCache, TokensOf},
    layers::{Activation, Linear},
    parallel::Rank,
    rows::Rows,
    vision::Siglip,
    weights::MatrixShape,
};

/// Tiles that the tower runs on at once: bounds its attention scores to this times heads times patches squared.
const TILES_AT_ONCE: usize = 8;

/// A loaded LLaVA-OneVision model.
#[derive(Debug)]
pub(super) struct LlavaModel {
    config: ModelConfig,
    vision: Siglip,
    /// On a GPU, the kernels that normalise tiles and cut them into patches.
    cutters: Option<Cutters>,
    projector: [Linear; 2], // [E] -> [C] -> [C]
    projector_activation: Activation,
    newline: Rows, // [1, C]
    decoder: Qwen2,
    reward_head: Option<RewardHead>,
    rank: Rank,
}

impl LlavaModel {
    /// Loads the model that `config` describes.
    pub(super) fn load(
        config: &ModelConfig,
        ModelWeights { weights, tower }: ModelWeights<'_>,
        max_step_tokens: usize,
    ) -> std::result::Result<Self, LoadError> {
        let names = Names::detect(weights);
        let vision = match tower {
            Some(tower) => Siglip::load(tower, Names::vision_alone(tower), &config.vision)?,
            None => Siglip::load(weights, names.vision, &config.vision)?,
        };
        let (seen, size) = (config.vision.hidden_size, config.text.hidden_size);
        let layer = |index: usize, inputs| {
            let products = weights.products(weights.form().of_the_rest());
            let shape = MatrixShape { outputs: size, inputs };
            Linear::load(products, names.projector[index], shape, config.projector_bias)
        };
        let cutters = match weights.device() {
            ComputeDevice::Kernels | ComputeDevice::Tensors(_) => None,
            ComputeDevice::Gpu(gpu) => {
                let sizes = (config.vision.image_size, config.vision.patch_size);
                let Normalisations { images, videos } = &config.normalisations;
                let cutter = |levels| PatchCutter::new(gpu, levels, sizes);
                Some(Cutters { images: cutter(images.levels())?, videos: cutter(videos.levels())? })
            }
        };
        Ok(Self {
            vision,
            cutters,
            projector: [layer(0, seen)?, layer(1, size)?],
            projector_activation: config.projector_activation,
            newline: weights.device().rows(&weights.get(names.newline, &[size])?.unsqueeze(0)?)?,
            decoder: Qwen2::load(weights, names.decoder, &config.text, max_step_tokens)?,
            reward_head: RewardHead::load(weights, size)?,
            rank: weights.rank().clone(),
            config: config.clone(),
        })
    }

    fn project_rows(&self, features: &Rows) -> Result<Rows> {
        let [mut wide, mut projected] = [Rows::new(), Rows::new()];
        self.projector[0].activated(features, &mut wide, self.projector_activation)?;
        self.projector[1].forward(&wide, &mut projected)?;
        Ok(projected)
    }

    /// Number of tiles that the tower runs on at once.
    fn tiles_at_once(&self) -> usize {
        match self.device() {
            ComputeDevice::Kernels => 1,
            ComputeDevice::Tensors(_) | ComputeDevice::Gpu(_) => TILES_AT_ONCE,
        }
    }

    /// The tower's features `[N * P, E]` of tiles that are all normalised alike.
    fn encode_tiles(&self, tiles: &[&[u8]], kind: Kind) -> Result<Rows> {
        match (&self.cutters, self.device()) {
            (Some(cutters), ComputeDevice::Gpu(gpu)) => {
                let mut patches = Rows::new();
                gpu_result(cutters.of(kind).cut(tiles, patches.on(gpu)?))?;
                self.vision.forward_patches(&patches)
            }
            _ => self.vision.forward(&self.pixels_of(tiles, kind)?),
        }
    }

    /// Normalised pixels `[N, 3, size, size]` of tiles that are all normalised alike.
    fn pixels_of(&self, tiles: &[&[u8]], kind: Kind) -> Result<Tensor> {
        let size = self.config.geometry.tile_size;
        let Normalisations { images, videos } = &self.config.normalisations;
        let normalisation = match kind {
            Kind::Image => images,
            Kind::Video => videos,
        };
        let mut values = vec![0.0; tiles.len() * 3 * size * size];
        for (tile, planes) in tiles.iter().zip(values.chunks_exact_mut(3 * size * size)) {
            normalisation.planes(tile, planes);
        }
        Tensor::from_vec(values, (tiles.len(), 3, size, size), &Device::Cpu)?
            .to_dtype(self.rank.device.dtype())
    }
}

/// The kernels for tiles of each kind, which differ in the normalisation.
#[derive(Debug)]
struct Cutters {
    images: PatchCutter,
    videos: PatchCutter,
}

impl Cutters {
    /// The kernels for tiles of this `kind`.
    fn of(&self, kind: Kind) -> &PatchCutter {
        match kind {
            Kind::Image => &self.images,
            Kind::Video => &self.videos,
        }
    }
}

/// How a tile is normalised: images and videos may be normalised differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Image,
    Video,
}

impl Kind {
    fn of(visual: &Visual) -> Self {
        match visual.medium {
            Medium::Image { .. } => Self::Image,
            Medium::Video => Self::Video,
        }
    }
}

/// How the features of a visual are packed.
///
/// # Errors
/// When an image has neither one tile nor those of its grid, so that there would be no features for some places.
fn packing_of(visual: &Visual, geometry: &Geometry) -> Result<Packing> {
    let found = visual.tiles.count();
    let packing = geometry.packing(visual.medium, found);
    match packing {
        Packing::AnyResolution { tiles: (rows, columns), .. } if found != 1 + rows * columns => {
            candle_core::bail!("an image in a grid of {rows} x {columns} tiles has {found} tiles")
        }
        Packing::AnyResolution { .. } | Packing::Single | Packing::Video => Ok(packing),
    }
}

impl ModelParts for LlavaModel {
    fn hidden_size(&self) -> usize {
        self.config.text.hidden_size
    }

    fn pixels(&self, tiles: &[&[u8]]) -> Result<Tensor> {
        self.pixels_of(tiles, Kind::Image)
    }

    fn hidden_states(&self, pixels: &Tensor) -> Result<Vec<Tensor>> {
        self.vision.hidden_states(pixels)
    }

    fn project(&self, features: &Tensor) -> Result<Tensor> {
        let (tiles, patches, _) = features.dims3()?;
        let projected = self.project_rows(&self.rank.device.rows(&features.flatten_to(1)?)?)?;
        projected.into_tensor()?.reshape((tiles, patches, self.config.text.hidden_size))
    }

    fn features(&self, visuals: &[&Visual]) -> Result<Vec<Tensor>> {
        self.feature_rows(visuals)?.into_iter().map(Rows::into_tensor).collect()
    }
}

impl Model for LlavaModel {
    fn rank(&self) -> &Rank {
        &self.rank
    }

    fn text(&self) -> &DecoderConfig {
        &self.config.text
    }

    fn has_reward_head(&self) -> bool {
        self.reward_head.is_some()
    }

    fn feature_rows(&self, visuals: &[&Visual]) -> Result<Vec<Rows>> {
        let mut projected: Vec<Rows> = Vec::new();
        let mut count = 0;
        for alike in visuals.chunk_by(|one, next| Kind::of(one) == Kind::of(next)) {
            let tiles = alike.iter().flat_map(|visual| {
                let tiles = &visual.tiles;
                (0..tiles.count()).map(|index| tiles.tile(index))
            });
            let tiles: Vec<&[u8]> = tiles.collect();
            for tiles in tiles.chunks(self.tiles_at_once()) {
                projected.push(self.project_rows(&self.encode_tiles(tiles, Kind::of(alike[0]))?)?);
            }
            count += tiles.len();
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut pieces: Vec<(&Rows, Range<usize>)> = Vec::new();
        for rows in projected.iter().chain([&self.newline]) {
            pieces.push((rows, 0..rows.shape()?.0));
        }
        let all = Rows::join(&pieces)?; // [tiles * P + 1, C]
        let newline = all.shape()?.0 - 1;
        let patches = newline / count;
        let mut first = 0;
        let pack = |visual: &&Visual| {
            let tiles = visual.tiles.count();
            let features = Features { first, tiles, newline };
            first += tiles * patches;
            let geometry = &self.config.geometry;
            all.mix(&pack(features, packing_of(visual, geometry)?, geometry))
        };
        visuals.iter().map(pack).collect()
    }

    fn run_most_tiles(&self) -> Result<()> {
        let size = self.config.geometry.tile_size;
        let tile = vec![0; 3 * size * size];
        let tiles = vec![tile.as_slice(); self.tiles_at_once()];
        let projected = self.project_rows(&self.encode_tiles(&tiles, Kind::Image)?)?;
        // Features are packed by another kernel, which is to be loaded as well.
        projected.mix(&[Mixture { rows: [0; 4], weights: [1.0, 0.0, 0.0, 0.0] }])?;
        Ok(())
    }

    /// Three copies of its features: as computed per batch of tiles, joined, and packed. A video is as long as a
    /// context allows.
    fn most_bytes_of_visual(&self) -> usize {
        let ModelConfig { geometry, text, .. } = &self.config;
        let patches = geometry.patches_per_side.pow(2);
        let pooled = geometry.pooled_side().pow(2);
        let frames = text.context_length / pooled.max(1);
        let rows = 3 * (frames * patches).max(geometry.most_features());
        rows * text.hidden_size * self.rank.device.number_bytes()
    }

    fn embed(&self, batch: &Batch) -> Result<Rows> {
        let vocabulary = self.config.text.vocabulary;
        let tokens = batch.chunks.iter().flat_map(|chunk| &chunk.tokens);
        // A placeholder's id may be outside of the table. Any row will do, since features replace it.
        let known = |token: &TokenId| if (token.0 as usize) < vocabulary { *token } else { TokenId(0) };
        self.decoder.embed(&tokens.map(known).collect::<Vec<_>>())
    }

    fn decode(
        &mut self,
        x: &mut Rows,
        wanted: TokensOf<'_>,
        batch: &Batch,
        caches: &mut [LayerCache],
    ) -> Result<()> {
        self.decoder.forward(x, wanted, batch, caches)
    }

    fn normalise(&self, hidden: &Rows) -> Result<Rows> {
        self.decoder.normalise(hidden)
    }

    fn logits(&self, normed: &Rows) -> Result<Vec<Vec<f32>>> {
        self.decoder.logits(normed)
    }

    fn rewards(&self, normed: &Rows) -> Result<Vec<f32>> {
        match &self.reward_head {
            Some(head) => head.forward(normed),
            None => candle_core::bail!("the checkpoint has no reward head"),
        }
    }
}
