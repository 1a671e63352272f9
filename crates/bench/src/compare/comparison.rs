//! The course of a comparison: which programs are measured, in which order.

use std::fs;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    CompareDevice, CompareOptions, Host, Part,
    contender::{Contender, ProgramName, gguf_name},
    measures::{self, Batch, ImagePlan, Judging, LanguagePlan},
    programs::{Gguf, Language, Room, Transformers},
    record::Record,
    scene,
};
use crate::{error::BenchError, extent::Extent, steps::Bounds, weight_form::Form};

/// A comparison in progress.
pub(super) struct Comparison<'a> {
    pub(super) options: &'a CompareOptions,
    pub(super) runtime: &'a Runtime,
    pub(super) bounds: Bounds,
    /// The folder of the critic profile and the converted weights.
    pub(super) folder: TempDir,
    pub(super) record: Record<'a>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(
        options: &'a CompareOptions,
        runtime: &'a Runtime,
        bounds: Bounds,
        record: Record<'a>,
    ) -> Result<Self, BenchError> {
        let folder = tempfile::tempdir().map_err(BenchError::File)?;
        let critics = folder.path().join("critics");
        fs::create_dir(&critics).map_err(BenchError::File)?;
        fs::write(critics.join("compared.toml"), scene::profile(&options.model)).map_err(BenchError::File)?;
        Ok(Self { options, runtime, bounds, folder, record })
    }

    pub(super) fn run(&mut self, host: &dyn Host) -> Result<(), BenchError> {
        self.tell_what_is_left_out();
        if self.wants(Part::Startup) {
            let rounds = self.choose(5, 1);
            self.record.open(measures::startup(self.runtime, &self.options.gavel, rounds)?);
            self.record.save();
        }
        let with_transformers =
            [Part::Image, Part::Language, Part::Reward].into_iter().any(|part| self.wants(part));
        let mut transformers = if with_transformers { self.transformers() } else { None };
        let device = self.options.device;
        let (width, height) = device.image();
        let mut tiles = host.tiles(width, height);
        let shows_images = [Part::Image, Part::Reward, Part::Growth].into_iter().any(|part| self.wants(part));
        if device == CompareDevice::Cpu && shows_images {
            tiles = self.image(host, transformers.as_mut())?;
        }
        if self.wants(Part::Language) {
            self.beside_transformers(transformers.as_mut())?;
            if device == CompareDevice::Cpu {
                self.beside_language_engines()?;
            }
        }
        if self.wants(Part::Reward) {
            self.reward(transformers.as_mut(), tiles)?;
        }
        drop(transformers);
        if self.wants(Part::Growth) { self.growth(tiles) } else { Ok(()) }
    }

    /// Measures the features of an image with critics in this process and the peer; returns the number of its
    /// tiles.
    fn image(&mut self, host: &dyn Host, peer: Option<&mut Transformers>) -> Result<usize, BenchError> {
        let critics = Form::ALL.map(|form| host.critic(form).map(|critic| (form, critic)));
        let mut critics = critics.into_iter().collect::<Result<Vec<_>, _>>().map_err(BenchError::Critic)?;
        let plan = ImagePlan { bounds: self.bounds, rounds: self.choose(7, 1) };
        let (mut section, tiles) = measures::image(&mut critics, peer, plan, &mut self.record)?;
        let (device, transformers) = (CompareDevice::Cpu, Contender::transformers(CompareDevice::Cpu));
        for (form, target) in [(Form::F32, Some(1.5)), (Form::Q8, None), (Form::Q4, None)] {
            section.compare(Contender::gavel(device, form), transformers, target);
        }
        self.record.open([section]);
        self.record.save();
        Ok(tiles)
    }

    fn wants(&self, part: Part) -> bool {
        let named = self.options.parts.is_empty() || self.options.parts.contains(&part);
        named && self.options.device.measures(part)
    }

    /// Notes the parts that were not requested and are not measured on this device, and the peers that are not
    /// measured there.
    fn tell_what_is_left_out(&mut self) {
        let device = self.options.device;
        let left_out = Part::ALL.into_iter().filter(|part| !device.measures(*part)).map(Part::name);
        let left_out: Vec<&str> = left_out.collect();
        if self.options.parts.is_empty() && !left_out.is_empty() {
            self.record.skip(left_out.join(", "), &"only language and reward are measured on a GPU");
        }
        if device == CompareDevice::Cuda && self.wants(Part::Language) {
            self.record.skip("llama.cpp and mistral.rs", &"they are not asked on a GPU");
        }
    }

    pub(super) fn choose<T>(&self, full: T, quick: T) -> T {
        self.options.extent.choose(full, quick)
    }

    /// Prefill and decode of several sequences with prompts of 1000 tokens, for all forms of Gavel and
    /// transformers.
    fn beside_transformers(&mut self, peer: Option<&mut Transformers>) -> Result<(), BenchError> {
        let device = self.options.device;
        // The number of sequences, and the tokens that each decodes. Small sizes suit an emulated GPU, which is
        // slow.
        let batches: &[(usize, usize)] = match (device, self.options.extent) {
            (CompareDevice::Cpu, Extent::Full) => &[(1, 32), (8, 16)],
            (CompareDevice::Cpu, Extent::Quick) => &[(1, 4), (8, 2)],
            (CompareDevice::Cuda, Extent::Full) => &[(1, 64), (8, 64), (32, 64)],
            (CompareDevice::Cuda, Extent::Quick) => &[(1, 2), (2, 2)],
        };
        let prompt = self.choose(1000, 100);
        let batch =
            |(sequences, steps): &(usize, usize)| Batch { sequences: *sequences, prompt, steps: *steps };
        let batches: Vec<Batch> = batches.iter().map(batch).collect();
        let mut programs: Vec<Box<dyn Language + '_>> = Vec::new();
        for server in self.gavels(&Form::ALL)? {
            programs.push(Box::new(server));
        }
        if let Some(transformers) = peer {
            programs.push(Box::new(transformers));
        }
        let (rounds, title) = (self.choose(3, 1), "Gavel and transformers");
        let plan = LanguagePlan { batches: &batches, rounds, bounds: self.bounds, device, title };
        measures::language(&mut programs, &plan, &mut self.record)?;
        for section in self.record.last::<2>() {
            let target = (device == CompareDevice::Cpu).then_some(1.5);
            for (form, target) in [(Form::F32, target), (Form::Q8, None), (Form::Q4, None)] {
                section.compare(Contender::gavel(device, form), Contender::transformers(device), target);
            }
        }
        self.record.save();
        Ok(())
    }

    /// The language model alone, with weights in the same form, for 1 to 32 sequences.
    fn beside_language_engines(&mut self) -> Result<(), BenchError> {
        let (device, prompt) = (CompareDevice::Cpu, self.choose(250, 50));
        // So many tokens for few sequences that decoding takes longer than the variation between runs.
        let most = self.choose(128, 4);
        let batches = [1, 8, 32].map(|sequences| {
            let steps = (most / sequences).max(self.choose(16, 2));
            Batch { sequences, prompt, steps }
        });
        for form in [Form::F32, Form::Q8] {
            let mut programs: Vec<Box<dyn Language + '_>> = vec![];
            let gavel = self.gavel(form)?;
            let texts = gavel.texts();
            programs.push(Box::new(gavel));
            if let Some(file) = self.gguf(form) {
                let file = Gguf { form, path: &file, vocabulary: self.bounds.size.vocabulary };
                // Twice the planned room, since words may have more tokens than estimated.
                let room = Room { sequences: 32, tokens: 2 * (prompt + most) };
                if let Some(peer) = self.llama_cpp(file, room) {
                    programs.push(Box::new(peer));
                }
                if let Some(peer) = self.mistralrs(file, room, texts) {
                    programs.push(Box::new(peer));
                }
            }
            let (rounds, title) = (self.choose(3, 1), format!("weights in {}", gguf_name(form)));
            let plan = LanguagePlan { batches: &batches, rounds, bounds: self.bounds, device, title: &title };
            measures::language(&mut programs, &plan, &mut self.record)?;
            for section in self.record.last::<2>() {
                for peer in [ProgramName::LlamaCpp, ProgramName::MistralRs] {
                    let peer = Contender::with_gguf(peer, form);
                    section.compare(Contender::gavel(device, form), peer, Some(1.0));
                }
            }
            self.record.save();
        }
        Ok(())
    }

    fn reward(&mut self, mut peer: Option<&mut Transformers>, tiles: usize) -> Result<(), BenchError> {
        let servers = self.gavels(&[Form::F32, Form::Q8])?;
        let (device, responses) = (self.options.device, self.choose(5, 2));
        let with_reasons = match device {
            CompareDevice::Cpu => 4.0,
            CompareDevice::Cuda => 10.0,
        };
        for (reasons, rounds, target) in
            [(0, self.choose(3, 1), 10.0), (self.choose(100, 4), self.choose(2, 1), with_reasons)]
        {
            let bounds = self.bounds;
            let judging = Judging { responses, reasons, tiles, rounds, target, device, bounds };
            measures::reward(&servers, peer.as_deref_mut(), &judging, &mut self.record)?;
        }
        Ok(())
    }

    fn growth(&mut self, tiles: usize) -> Result<(), BenchError> {
        let mut server = self.gavel(Form::F32)?;
        let lengths = self.choose(1024..=32_768, 64..=256);
        self.record.open(measures::against_context(&mut server, self.bounds, lengths)?);
        self.record.save();
        let most = self.choose(32, 4);
        self.record.open([measures::against_responses(&server, self.bounds, tiles, most)?]);
        self.record.save();
        Ok(())
    }
}
