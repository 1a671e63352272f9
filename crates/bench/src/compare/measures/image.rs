//! Image features: tiles through the vision tower and the projector, measured on the model itself in this
//! process.

use std::time::Instant;

use critic::{Batch, BlockId, Chunk, Critic, EncodedImage, Message, Part, Prompt, Role, SequenceId};

use crate::{
    compare::{
        CompareDevice,
        contender::Contender,
        programs::Transformers,
        record::Record,
        report::{Measured, Section, Unit},
        scene::Scene,
    },
    error::BenchError,
    steps::Bounds,
    weight_form::Form,
};

/// How the features of an image are measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ImagePlan {
    /// The machine's limits.
    pub(crate) bounds: Bounds,
    /// The number of rounds.
    pub(crate) rounds: usize,
}

/// Computes the features of new images with each critic and the peer, in turn; returns the section, and the
/// tiles per image.
///
/// # Errors
/// [`BenchError::Critic`] when a critic fails.
pub(crate) fn image(
    critics: &mut [(Form, Critic)],
    mut peer: Option<&mut Transformers>,
    plan: ImagePlan,
    record: &mut Record<'_>,
) -> Result<(Section, usize), BenchError> {
    let ImagePlan { bounds, rounds } = plan;
    let mut tiles_of_all = 0;
    let mut section = Section::new("Features of one image of 600 x 400", Unit::Seconds);
    for round in 0..rounds {
        for (form, critic) in critics.iter_mut() {
            let image = Scene::new(round, *form as usize).png()?;
            let (seconds, tiles) = features(critic, image)?;
            tiles_of_all = tiles;
            let limit = bounds.image_s(tiles as f64);
            let gavel = Contender::gavel(CompareDevice::Cpu, *form);
            section.sample(&format!("{tiles} tiles"), gavel, Measured::with_limit(seconds, limit));
        }
        let Some(transformers) = peer.as_deref_mut() else { continue };
        match transformers.encode_image(&Scene::new(round, 0).base64()?) {
            Ok((seconds, tiles)) => {
                let limit = bounds.image_s(tiles);
                let measured = Measured::with_limit(seconds, limit);
                let program = Contender::transformers(CompareDevice::Cpu);
                section.sample(&format!("{tiles} tiles"), program, measured);
            }
            Err(error) => {
                record.skip("features of an image: transformers", &error);
                peer = None;
            }
        }
    }
    Ok((section, tiles_of_all))
}

/// Times a step over a prompt up to the first position of its image; returns the seconds, and the number of
/// tiles. All tiles pass through the tower in this step; the few text tokens before the image count, too.
fn features(critic: &mut Critic, image: Vec<u8>) -> Result<(f64, usize), BenchError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| BenchError::Critic(error);
    let parts = vec![Part::Image(EncodedImage::new(image)), Part::Text("What is shown?".to_owned())];
    let messages = vec![Message { role: Role::User, parts }];
    let prompt = Prompt { messages, ..Prompt::default() };
    let mut encoded = critic.processor.encode(&prompt).map_err(|error| failed(error.into()))?;
    let visual = encoded.visuals.first().ok_or_else(|| failed("the prompt has lost its image".into()))?;
    let (tiles, end) = (visual.tiles.count(), visual.start + 1);
    encoded.tokens.truncate(end);
    let blocks = end.div_ceil(critic.backend.limits().block_size);
    let chunk = Chunk {
        sequence: SequenceId(0),
        tokens: encoded.tokens,
        start: 0,
        block_table: (0..blocks as u32).map(BlockId).collect(),
        visuals: encoded.visuals,
        wants: critic::Wants::Nothing,
    };
    let begin = Instant::now();
    critic.backend.forward(&Batch { chunks: vec![chunk] }).map_err(|error| failed(error.into()))?;
    Ok((begin.elapsed().as_secs_f64(), tiles))
}
