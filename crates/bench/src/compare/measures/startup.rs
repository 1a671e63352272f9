//! The time from the start to the first verdict of the embedded critic, and the memory at rest.

use std::{fs, path::Path, process::Command, time::Instant};

use serde_json::json;
use tokio::runtime::Runtime;

use crate::{
    compare::{
        contender::Contender,
        programs::Gavel,
        report::{Figure, Measured, Section, Unit},
        scene::Scene,
    },
    error::BenchError,
    live::process::Running,
};

/// The targets.
const TARGET_S: f64 = 1.0;
const TARGET_MB: f64 = 150.0;

/// Starts `program` `rounds` times as a server that gets one request, and as a command that judges once.
///
/// # Errors
/// [`BenchError`] when it fails.
pub(crate) fn startup(runtime: &Runtime, program: &Path, rounds: usize) -> Result<[Section; 2], BenchError> {
    let mut times = Section::new("From the start to the first verdict, small critic", Unit::Seconds);
    let mut memory = Section::new("Memory at rest, small critic", Unit::Megabytes);
    let folder = tempfile::tempdir().map_err(BenchError::File)?;
    let image = folder.path().join("picture.png");
    let scene = Scene::new(0, 0);
    fs::write(&image, scene.png()?).map_err(BenchError::File)?;
    let (question, response) = ("What is shown?", "Some rectangles.");
    let case = json!({"question": question, "images": [scene.base64()?], "response": response});
    let device = ["--device", "cpu"].map(str::to_owned);
    let gavel = Contender::small_gavel();
    for _ in 0..rounds {
        let begin = Instant::now();
        let server = Gavel::start(runtime, program, gavel, &device)?;
        let listening = begin.elapsed().as_secs_f64();
        let loaded = server.running.resident_bytes();
        server.client.post("/judge", &case)?;
        let judged = begin.elapsed().as_secs_f64();
        note(times.sample("gavel serve: it listens", gavel, Measured::new(listening)), TARGET_S);
        note(times.sample("gavel serve: the first verdict", gavel, Measured::new(judged)), TARGET_S);
        for (setting, bytes) in
            [("when it listens", loaded), ("after the first verdict", server.running.resident_bytes())]
        {
            if let Some(bytes) = bytes {
                note(memory.sample(setting, gavel, Measured::new(bytes as f64 / 1e6)), TARGET_MB);
            }
        }
        drop(server);
        let begin = Instant::now();
        let mut command = Command::new(program);
        command
            .args(["judge", "--device", "cpu", "--question", question, "--response", response, "--image"])
            .arg(&image);
        Running::start("gavel judge", &mut command)?.finish()?;
        let judged = Measured::new(begin.elapsed().as_secs_f64());
        note(times.sample("gavel judge", gavel, judged), TARGET_S);
    }
    Ok([times, memory])
}

fn note(figure: &mut Figure, target: f64) {
    figure.target = Some(target);
}
