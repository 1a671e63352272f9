//! Where a checkpoint comes from: the program itself, a folder, the hub, or random numbers.

use std::{path::Path, sync::Arc};

use clap::ValueEnum;
use critic_candle::{HubOptions, Shape, Source};

use super::BootError;
use crate::options::{HubArguments, ShapeChoice};

/// Where the files of models are downloaded from and kept, by the options.
pub(super) fn hub(arguments: &HubArguments) -> HubOptions {
    HubOptions {
        endpoint: arguments.hub_endpoint.clone(),
        cache: arguments.hub_cache.clone(),
        token: arguments.hub_token.clone(),
        revision: arguments.revision.clone(),
        offline: arguments.offline,
    }
}

/// Prefix of `--model` for a critic whose weights are drawn at load time; its shape follows. No id on the hub has
/// this form.
const RANDOM: &str = "random:";

/// The seed of these weights, which is the default of `gavel bench make-model`.
const SEED: u64 = 1;

/// The shape that an option chooses.
pub(super) fn shape_of(choice: ShapeChoice) -> Shape {
    match choice {
        ShapeChoice::Small => Shape::Small,
        ShapeChoice::SevenB => Shape::SevenB,
        ShapeChoice::SeventyTwoB => Shape::SeventyTwoB,
    }
}

/// Refuses a `model` that can only mean a folder but is none, before the hub is asked for it.
fn check_path(model: &str) -> Result<(), BootError> {
    let path = Path::new(model);
    if path.exists() && !path.is_dir() {
        return Err(BootError::File { model: model.to_owned() });
    }
    let is_path = ["./", "../", "/", "~"].iter().any(|start| model.starts_with(start));
    if is_path && !path.is_dir() {
        return Err(BootError::NoFolder { model: model.to_owned() });
    }
    Ok(())
}

/// The name and the source of a checkpoint. A folder is named by the last component of its path, a repository by its
/// id.
pub(super) fn find(model: Option<&str>, hub: &HubOptions) -> Result<(String, Source), BootError> {
    let Some(model) = model else {
        return Ok((embedded::NAME.to_owned(), Source::Embedded(embedded::FILES)));
    };
    if let Some(shape) = model.strip_prefix(RANDOM) {
        let shape = ShapeChoice::from_str(shape, true)
            .map_err(|_| BootError::UnknownShape { model: model.to_owned() })?;
        let vocabulary = Source::Embedded(embedded::FILES);
        let drawn = critic_candle::drawn_checkpoint(shape_of(shape), SEED, &vocabulary)
            .map_err(|error| BootError::Vocabulary(Box::new(error)))?;
        return Ok((model.replace(':', "-"), Source::Drawn(Arc::new(drawn))));
    }
    check_path(model)?;
    let folder = critic_candle::resolve(model, hub)?;
    let is_folder = Path::new(model).is_dir();
    let last_part =
        folder.canonicalize().ok().and_then(|folder| Some(folder.file_name()?.to_string_lossy().into()));
    let name = last_part.filter(|_| is_folder).unwrap_or_else(|| model.to_owned());
    Ok((name, Source::Folder(folder)))
}
