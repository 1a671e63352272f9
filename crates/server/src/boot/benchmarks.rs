//! What the benchmarks measure: steps of a critic, a critic that computes nothing, and a critic beside other programs.

use std::path::PathBuf;

use anyhow::bail;
use bench::{
    CompareDevice, CompareOptions, CompareReport, Extent, Form, Host, HostError, HostLimits, MachineLimits,
    ModelSize, StepsOptions, StepsReport, Widths,
};
use critic_candle::{Device, HubOptions, Inspection, Options, Source, WeightForm};
use judge::{Critic, EngineConfig, Judge, RubricError, RubricLibrary};

use super::{
    Memory, Residency, device, load, observed,
    source::{find, hub},
};
use crate::{
    metrics::Metrics,
    options::{CriticOptions, HubArguments, LimitOptions, QuantizeChoice, WeightsChoice},
};

/// Measures steps of the critic alone; `keep` receives the partial report after each of them.
pub(crate) fn steps(
    options: &CriticOptions,
    extent: Extent,
    keep: &mut dyn FnMut(&StepsReport),
) -> anyhow::Result<StepsReport> {
    let (_, source) = find(options.model.as_deref(), &hub(&options.hub))?;
    let inspection = critic_candle::inspect(&source)?;
    let size = inspection.size();
    let device = device(options);
    let (device_name, (reading_gb_per_s, arithmetic_gflops)) = critic_candle::device_limits(device)?;
    let (stored, number_bytes) = match device {
        Device::Cpu => {
            let bytes = inspection.weight_bytes(WeightForm::Stored) as f64;
            (8.0 * bytes / inspection.parameters() as f64, 4.0)
        }
        Device::Cuda(_) => (16.0, 2.0),
    };
    let (form, float_bits) = match (options.quantize, options.weights) {
        (Some(QuantizeChoice::Q8), _) => (Form::Q8, stored),
        (Some(QuantizeChoice::Q4), _) => (Form::Q4, stored),
        (None, WeightsChoice::Auto) => (Form::F32, stored),
        (None, WeightsChoice::F32) => (Form::F32, 32.0),
    };
    let max_sequences = EngineConfig::default().max_sequences;
    let (mut critic, loaded) = load(options, &LimitOptions::default(), Memory::AsNeeded, max_sequences)?;
    let options = StepsOptions {
        model: loaded.name,
        device: device_name,
        size,
        widths: Widths::of(form, float_bits, number_bytes),
        limits: MachineLimits { reading_gb_per_s, arithmetic_gflops },
        extent,
    };
    Ok(bench::steps(&mut critic, &options, keep))
}

/// Starts an engine whose critic computes nothing. Its name selects the same profile as the small critic's.
pub(crate) fn start_null(config: EngineConfig) -> Result<(Judge, Metrics), RubricError> {
    let name = format!("{}-null", embedded::NAME);
    Ok(observed((name, bench::null_critic()), RubricLibrary::compiled_in()?, config, Residency::default()))
}

/// Compares the critic with other programs. `choose` makes the options from the checkpoint's name and its folder, if
/// it has one; `keep` receives the partial report after each round.
pub(crate) fn compare(
    (model, hub_arguments): (Option<&str>, &HubArguments),
    choose: impl FnOnce(String, Option<PathBuf>) -> anyhow::Result<CompareOptions>,
    keep: &dyn Fn(&CompareReport),
) -> anyhow::Result<CompareReport> {
    let hub = hub(hub_arguments);
    let (name, source) = find(model, &hub)?;
    let folder = match &source {
        Source::Folder(folder) => Some(folder.clone()),
        Source::Embedded(_) => None,
        Source::Drawn(_) => {
            bail!("other programs cannot load {name}: `gavel bench make-model` writes it to a folder")
        }
    };
    let inspection = critic_candle::inspect(&source)?;
    let options = choose(name, folder)?;
    let device = match options.device {
        CompareDevice::Cpu => Device::Cpu,
        CompareDevice::Cuda => Device::Cuda(0),
    };
    Ok(bench::compare(&CompareHost { source, hub, inspection, device, keep }, &options)?)
}

/// What a comparison needs beside the programs that it starts.
struct CompareHost<'a> {
    source: Source,
    hub: HubOptions,
    inspection: Inspection,
    device: Device,
    keep: &'a dyn Fn(&CompareReport),
}

impl Host for CompareHost<'_> {
    fn size(&self) -> ModelSize {
        self.inspection.size()
    }

    fn limits(&self) -> Result<HostLimits, HostError> {
        let (device_name, (reading_gb_per_s, arithmetic_gflops)) = critic_candle::device_limits(self.device)?;
        Ok(HostLimits { device_name, limits: MachineLimits { reading_gb_per_s, arithmetic_gflops } })
    }

    fn tiles(&self, width: u32, height: u32) -> usize {
        self.inspection.tiles(width, height)
    }

    fn critic(&self, form: Form) -> Result<Critic, HostError> {
        let weights = match form {
            Form::F32 => WeightForm::F32,
            Form::Q8 => WeightForm::Q8,
            Form::Q4 => WeightForm::Q4,
        };
        let options = Options { weights, hub: self.hub.clone(), ..Options::new(self.source.clone()) };
        Ok(critic_candle::load(&options)?)
    }

    fn keep(&self, report: &CompareReport) {
        (self.keep)(report);
    }
}
