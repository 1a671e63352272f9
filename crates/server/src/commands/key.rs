//! `gavel key new`: makes a key and its entry for a file of keys.

use std::io::{self, Write};

use anyhow::{bail, ensure};

use crate::{
    access::{new_key, read_keys},
    options::KeyCommand,
    process::stdout::stdout,
};

/// Runs `gavel key`: prints a new key on standard error and its entry on standard output.
pub(crate) fn run(command: &KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::New { id } => {
            let (key, digest) = new_key();
            let entry = format!("[[keys]]\nid = {}\nsha256 = \"{digest}\"\n", toml::Value::from(id.as_str()));
            if let Err(problems) = read_keys(&entry) {
                let reasons: Vec<String> = problems.into_iter().map(|problem| problem.reason).collect();
                bail!("{id:?} is no id of a key: {}", reasons.join("; "));
            }
            ensure!(!entry.contains(&key), "the entry must not have the key");
            // Only the entry is on standard output, so that it can be appended to a file.
            writeln!(io::stderr(), "The key, which is shown this once and kept nowhere: {key}")?;
            writeln!(stdout(), "{entry}")?;
            Ok(())
        }
    }
}
