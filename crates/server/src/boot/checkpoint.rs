//! Commands on checkpoints that load no critic.

use std::fmt::Display;

use anyhow::Context;
use critic_candle::{GgufForm, MadeForm, MakeOptions, Source};

use super::source::{find, hub, shape_of};
use crate::options::{ConvertOptions, GgufFormChoice, InspectOptions, MadeFormChoice, MakeModelArguments};

/// Reports the architecture, the size and the memory need of a checkpoint, without loading it.
pub(crate) fn inspect(options: &InspectOptions) -> anyhow::Result<impl Display> {
    let (name, source) = find(options.model.as_deref(), &hub(&options.hub))?;
    critic_candle::inspect(&source).with_context(|| format!("the checkpoint {name:?} cannot be inspected"))
}

/// Writes the language model of a checkpoint as GGUF; returns its number of weights.
pub(crate) fn convert(options: &ConvertOptions) -> anyhow::Result<usize> {
    let (name, source) = find(Some(&options.model), &hub(&options.hub))?;
    let form = match options.form {
        GgufFormChoice::F32 => GgufForm::F32,
        GgufFormChoice::F16 => GgufForm::F16,
        GgufFormChoice::Q8_0 => GgufForm::Q8_0,
        GgufFormChoice::Q4_0 => GgufForm::Q4_0,
        GgufFormChoice::Iq4Nl => GgufForm::Iq4Nl,
    };
    let converted = critic_candle::convert(&source, &options.file, form);
    converted.with_context(|| format!("the checkpoint {name:?} cannot be converted"))
}

/// Writes a critic with random weights and the small critic's vocabulary; returns its number of weights.
pub(crate) fn make_model(arguments: &MakeModelArguments) -> anyhow::Result<usize> {
    let options = MakeOptions {
        shape: shape_of(arguments.shape),
        seed: arguments.seed,
        form: match arguments.form {
            MadeFormChoice::F32 => MadeForm::F32,
            MadeFormChoice::Bf16 => MadeForm::Bf16,
            MadeFormChoice::Q8 => MadeForm::Q8,
            MadeFormChoice::Q4 => MadeForm::Q4,
        },
    };
    let vocabulary = Source::Embedded(embedded::FILES);
    critic_candle::make_model(&arguments.folder, &vocabulary, options).context("no model was made")
}
