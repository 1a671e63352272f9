//! What observes a server while it is tested: honest clients, and a watch over its state.

use std::path::PathBuf;

use base64::{Engine, prelude::BASE64_STANDARD};
use rand::{SeedableRng, rngs::StdRng};

use super::{
    honest::{Honest, Sample},
    watch::{Watch, fill},
    wire::Access,
};
use crate::{drawn_image::DrawnImage, error::BenchError};

/// The observers of a server.
#[derive(Debug)]
pub(crate) struct Observers {
    /// Checks the state that the server reports.
    pub(crate) watch: Watch,
    /// Checks the verdicts of honest clients.
    pub(crate) honest: Honest,
}

impl Observers {
    /// Fills the server's caches, starts honest clients with judgements of an image, and records the initial state.
    /// `log` is the file of the server's standard error, if it can be read.
    ///
    /// # Errors
    /// [`BenchError::Subject`] when the server does not judge, or does not report its state.
    pub(crate) fn start(access: &Access, image: &str, log: Option<PathBuf>) -> Result<Self, BenchError> {
        let failed = |reason| BenchError::Subject { host: access.host.clone(), reason };
        // Twice each: what is computed for the first time takes memory that is kept.
        let samples = (0..=Honest::count()).map(|number| {
            let sample = Sample::first(access, image, number)?;
            sample.again(&access.host).map(|()| sample)
        });
        let mut samples = samples.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let canary = samples.remove(0);
        fill(access).map_err(failed)?;
        let honest = Honest::start(&access.host, samples);
        let watch = Watch::start(access, canary, log, &honest).map_err(failed)?;
        Ok(Self { watch, honest })
    }

    /// Every deviation of the server from its required state after a case; `refused` means that all answers of the case
    /// were refusals.
    pub(crate) fn problems(&mut self, refused: bool) -> Vec<String> {
        self.watch.problems(&self.honest, refused)
    }
}

/// The image of the judgements of honest clients: a PNG in base64.
///
/// # Errors
/// [`BenchError::Image`] when it cannot be encoded.
pub(crate) fn sample_image() -> Result<String, BenchError> {
    let image = DrawnImage::of_size(&mut StdRng::seed_from_u64(1), (120, 90)).png(0)?;
    Ok(BASE64_STANDARD.encode(image))
}
