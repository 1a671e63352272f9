//! Compiles each file of kernels into one binary for several GPUs, if the feature `cuda` is enabled.

#![expect(
    clippy::disallowed_methods,
    reason = "Cargo and whoever builds tell a build script what to do by the environment"
)]

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode},
};

/// Machine code for A100 and H100, and PTX that drivers compile for newer GPUs. Code for 8.0 runs on 8.6 and 8.9,
/// too.
const TARGETS: [&str; 3] =
    ["arch=compute_80,code=sm_80", "arch=compute_90,code=sm_90", "arch=compute_90,code=compute_90"];

/// Machine code for B200 and RTX 50, if the compiler supports them: without it their drivers compile the PTX when the
/// program first runs, which takes a while. Code for 10.0 runs on 10.3, too, and code for 12.0 on 12.1.
const YOUNGER: [(&str, &str); 2] =
    [("sm_100", "arch=compute_100,code=sm_100"), ("sm_120", "arch=compute_120,code=sm_120")];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    println!("cargo::rerun-if-changed=cuda");
    println!("cargo::rerun-if-env-changed=NVCC");
    println!("cargo::rerun-if-env-changed=CUDA_HOME");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut sources: Vec<PathBuf> =
        fs::read_dir("cuda")?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
    sources.sort();
    let compiled = env::var_os("CARGO_FEATURE_CUDA").is_some();
    if compiled {
        compile(&sources, &out)?;
    }
    let mut list = String::from("&[\n");
    for source in &sources {
        let name = stem(source);
        // Not an image that a driver accepts: the error then reports that this program was built without kernels.
        let image = match compiled {
            true => format!("include_bytes!({:?})", out.join(format!("{name}.fatbin"))),
            false => "b\"none\\0\"".to_owned(),
        };
        list += &format!("    Image {{ name: {name:?}, bytes: {image} }},\n");
    }
    fs::write(out.join("images.rs"), list + "]\n")
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the targets for which code is generated.
fn targets(nvcc: &Path) -> io::Result<Vec<&'static str>> {
    let listing = Command::new(nvcc).arg("--list-gpu-code").output();
    let listed = listing.map_err(|error| no_compiler(nvcc, &error))?.stdout;
    let listed = String::from_utf8_lossy(&listed);
    let is_known = |name: &str| listed.split_whitespace().any(|listed| listed == name);
    let younger = YOUNGER.iter().filter(|(name, _)| is_known(name)).map(|(_, target)| *target);
    Ok(TARGETS.into_iter().chain(younger).collect())
}

fn no_compiler(nvcc: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("{}: {error}; the feature `cuda` needs CUDA's compiler", nvcc.display()))
}

/// Compiles all sources, with as many compilers at once as Cargo has jobs.
fn compile(sources: &[PathBuf], out: &Path) -> io::Result<()> {
    let nvcc = env::var_os("NVCC").map(PathBuf::from).unwrap_or_else(|| {
        env::var_os("CUDA_HOME").map_or_else(|| "nvcc".into(), |home| Path::new(&home).join("bin/nvcc"))
    });
    let targets = targets(&nvcc)?;
    let jobs: usize = env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(1);
    for sources in sources.chunks(jobs.max(1)) {
        let start = |source: &PathBuf| {
            let mut command = Command::new(&nvcc);
            command.args(["-O3", "-std=c++17", "--fatbin"]);
            targets.iter().for_each(|target| {
                command.args(["-gencode", target]);
            });
            command.arg("-o").arg(out.join(format!("{}.fatbin", stem(source)))).arg(source);
            command.spawn().map_err(|error| no_compiler(&nvcc, &error))
        };
        let running: Vec<Child> = sources.iter().map(start).collect::<io::Result<_>>()?;
        for (mut child, source) in running.into_iter().zip(sources) {
            if !child.wait()?.success() {
                return Err(io::Error::other(format!("{} does not compile", source.display())));
            }
        }
    }
    Ok(())
}
