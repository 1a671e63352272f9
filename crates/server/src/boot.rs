//! From options to a critic that is ready: the only file that names where critics come from.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use bench::{CompareOptions, CompareReport, Form, Host, MachineLimits};
use critic_candle::{HubOptions, Options, Precision, Source, WeightForm};
use judge::{Critic, EngineConfig, Judge, RubricError, RubricLibrary};

use crate::{
    command::{CriticOptions, HubArguments, InspectOptions, PrecisionChoice, QuantizeChoice, WeightsChoice},
    metrics::{EngineMetrics, Metrics},
};

/// Loads the critic and starts its engine.
pub(crate) fn start(options: &CriticOptions, config: EngineConfig) -> anyhow::Result<(Judge, Metrics)> {
    let library = library(options.config_dir.as_deref())?;
    let hub = hub(&options.hub);
    let (name, source) = find(options.model.as_deref(), &hub)?;
    let precision = match options.precision {
        PrecisionChoice::F32 => Precision::F32,
        PrecisionChoice::Bf16 => Precision::Bf16,
        PrecisionChoice::F16 => Precision::F16,
    };
    let weights = match (options.quantize, options.weights) {
        (Some(QuantizeChoice::Q8), _) => WeightForm::Q8,
        (Some(QuantizeChoice::Q4), _) => WeightForm::Q4,
        (None, WeightsChoice::Auto) => WeightForm::Stored,
        (None, WeightsChoice::F32) => WeightForm::F32,
    };
    ensure!(
        options.quantize.is_none() || precision == Precision::F32,
        "--quantize is for computing in 32-bit floats: leave --precision out"
    );
    let options = Options {
        precision,
        weights,
        cache_bytes: options.cache_mib << 20,
        image_cache_bytes: options.image_cache_mib << 20,
        hub,
        ..Options::new(source)
    };
    let mut critic =
        critic_candle::load(&options).with_context(|| format!("the critic {name:?} cannot be loaded"))?;
    critic.warm_up().with_context(|| format!("the critic {name:?} cannot run"))?;
    Ok(observed(name, critic, library, config))
}

/// The rubrics and profiles: those built in, and those of a folder.
///
/// # Errors
/// [`RubricError::Library`] with everything that is wrong with any file.
pub(crate) fn library(folder: Option<&Path>) -> Result<RubricLibrary, RubricError> {
    folder.map_or_else(RubricLibrary::compiled_in, RubricLibrary::with_folder)
}

/// Starts an engine whose critic computes nothing, under a name by which it is asked like the small critic.
pub(crate) fn start_null(config: EngineConfig) -> anyhow::Result<(Judge, Metrics)> {
    let name = format!("{}-null", embedded::NAME);
    Ok(observed(name, bench::null_critic(), RubricLibrary::compiled_in()?, config))
}

/// A judge and the figures of its engine.
fn observed(name: String, critic: Critic, library: RubricLibrary, config: EngineConfig) -> (Judge, Metrics) {
    let metrics = Metrics::new(&name);
    let observer = Arc::new(EngineMetrics::new(metrics.clone()));
    (Judge::observed(name, critic, library, config, observer), metrics)
}

/// Tells what a checkpoint is.
pub(crate) fn inspect(options: &InspectOptions) -> anyhow::Result<impl Display> {
    let (name, source) = find(options.model.as_deref(), &hub(&options.hub))?;
    critic_candle::inspect(&source).with_context(|| format!("the checkpoint {name:?} cannot be inspected"))
}

/// Compares the critic with other programs. `choose` makes the options of a checkpoint's name and, if it has one, folder.
pub(crate) fn compare(
    (model, hub_arguments): (Option<&str>, &HubArguments),
    choose: impl FnOnce(String, Option<PathBuf>) -> anyhow::Result<CompareOptions>,
) -> anyhow::Result<CompareReport> {
    let hub = hub(hub_arguments);
    let (name, source) = find(model, &hub)?;
    let folder = match &source {
        Source::Folder(folder) => Some(folder.clone()),
        Source::Embedded(_) => None,
    };
    let size = critic_candle::inspect(&source)?.size();
    let limits = || {
        let (reading_gb_per_s, arithmetic_gflops) = critic_candle::machine_limits();
        MachineLimits { reading_gb_per_s, arithmetic_gflops }
    };
    let critic = |form| {
        let weights = match form {
            Form::F32 => WeightForm::F32,
            Form::Q8 => WeightForm::Q8,
            Form::Q4 => WeightForm::Q4,
        };
        Ok(critic_candle::load(&Options { weights, hub: hub.clone(), ..Options::new(source.clone()) })?)
    };
    let host = Host { size, limits: &limits, critic: &critic };
    Ok(bench::compare(&host, &choose(name, folder)?)?)
}

fn hub(arguments: &HubArguments) -> HubOptions {
    HubOptions {
        endpoint: arguments.hub_endpoint.clone(),
        cache: arguments.hub_cache.clone(),
        token: arguments.hub_token.clone(),
        revision: arguments.revision.clone(),
        offline: arguments.offline,
    }
}

/// Name and place of a checkpoint. A folder is called by its last part, a repository by its id.
fn find(model: Option<&str>, hub: &HubOptions) -> anyhow::Result<(String, Source)> {
    let Some(model) = model else {
        return Ok((embedded::NAME.to_owned(), Source::Embedded(embedded::FILES)));
    };
    let folder = critic_candle::resolve(model, hub)?;
    let is_folder = Path::new(model).is_dir();
    let last_part =
        folder.canonicalize().ok().and_then(|folder| Some(folder.file_name()?.to_string_lossy().into()));
    let name = last_part.filter(|_| is_folder).unwrap_or_else(|| model.to_owned());
    Ok((name, Source::Folder(folder)))
}
