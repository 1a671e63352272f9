//! Generates the list of files in `config/rubrics`, `config/critics` and `config/forms` that are compiled in, so
//! that adding a file to a folder is enough.

use std::{env, fmt::Write, fs, io, path::Path};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
    let mut source = String::new();
    for (list, folder) in [("RUBRICS", "rubrics"), ("PROFILES", "critics"), ("FORMS", "forms")] {
        let folder = root.join(folder);
        println!("cargo:rerun-if-changed={}", folder.display());
        let mut files: Vec<_> = fs::read_dir(&folder)?.collect::<Result<_, _>>()?;
        files.retain(|file| file.path().extension().is_some_and(|extension| extension == "toml"));
        files.sort_by_key(fs::DirEntry::file_name);
        writeln!(source, "static {list}: &[(&str, &str)] = &[").expect("a string takes all text");
        for file in files {
            let (name, path) = (file.file_name(), file.path().canonicalize()?);
            let name = name.to_string_lossy();
            writeln!(source, "    ({name:?}, include_str!({path:?})),").expect("a string takes all text");
        }
        source.push_str("];\n");
    }
    let target = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    fs::write(Path::new(&target).join("compiled_in.rs"), source)
}
