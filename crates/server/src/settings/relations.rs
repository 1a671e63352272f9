//! What options need of each other and which exclude each other, wherever their values come from: the command line, the
//! environment or the configuration file.
//!
//! The attributes of clap for this do not see values of the file, which it knows as defaults: a certificate without its
//! key would pass, and the server would speak plain HTTP.

use clap::{Arg, ArgMatches, Command, parser::ValueSource};

use super::{
    configuration::{Configuration, section},
    environment::variable_of,
};

/// How an option depends on another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// Without the other one it has no effect, or the wrong one.
    Needs,
    /// The other one contradicts it.
    Excludes,
}

/// All relations of options that can be set in a configuration file. An option counts as set if its value differs from
/// its default, since a file may list defaults.
const RELATIONS: [(&str, Relation, &str); 7] = [
    ("tls_cert", Relation::Needs, "tls_key"),
    ("tls_key", Relation::Needs, "tls_cert"),
    ("tls_client_ca", Relation::Needs, "tls_cert"),
    ("judging_log_mib", Relation::Needs, "judging_log"),
    ("judging_log_files", Relation::Needs, "judging_log"),
    ("judging_log_redact", Relation::Needs, "judging_log"),
    ("quantize", Relation::Excludes, "weights"),
];

/// Where the value of an option comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The command line.
    CommandLine,
    /// Its environment variable.
    Environment,
    /// The configuration file, with the line from 1.
    File(usize),
}

/// A relation that does not hold.
#[derive(Debug)]
pub(super) struct Broken {
    /// Where the option that has the relation is set.
    pub(super) origin: Origin,
    /// What is wrong, without the line of the file.
    pub(super) text: String,
}

/// The relations that do not hold for the options in `matches` of `command`, which has no values of the file as
/// defaults. `file` is the one whose values `matches` has, if there is one.
pub(super) fn broken(command: &Command, matches: &ArgMatches, file: Option<&Configuration>) -> Vec<Broken> {
    let find = |name: &str| command.get_arguments().find(|option| option.get_id() == name);
    let mut found = Vec::new();
    for (name, relation, other) in RELATIONS {
        let (Some(option), Some(other)) = (find(name), find(other)) else { continue };
        let Some(origin) = origin_of(option, matches, file) else { continue };
        let told = match (relation, origin_of(other, matches, file)) {
            (Relation::Needs, None) => format!("needs {}, which is not set", named(other, origin)),
            (Relation::Excludes, Some(from)) => format!("cannot be combined with {}", named(other, from)),
            (Relation::Needs, Some(_)) | (Relation::Excludes, None) => continue,
        };
        found.push(Broken { origin, text: format!("{} {told}", named(option, origin)) });
    }
    found
}

/// Where the value of `option` comes from; `None` if it has none, or its default.
fn origin_of(option: &Arg, matches: &ArgMatches, file: Option<&Configuration>) -> Option<Origin> {
    let name = option.get_id().as_str();
    let defaults = option.get_default_values().iter().map(|value| value.as_os_str());
    if matches.get_raw(name)?.eq(defaults) {
        return None;
    }
    match matches.value_source(name)? {
        ValueSource::CommandLine => Some(Origin::CommandLine),
        ValueSource::EnvVariable => Some(Origin::Environment),
        _ => file.and_then(|file| file.line_of(name)).map(Origin::File),
    }
}

/// The name of an option where its value comes from.
fn named(option: &Arg, origin: Origin) -> String {
    let name = option.get_id().as_str();
    match origin {
        Origin::CommandLine => format!("--{}", option.get_long().unwrap_or(name)),
        Origin::Environment => format!("the environment variable {}", variable_of(name)),
        Origin::File(_) => format!("{}.{name}", section(option)),
    }
}
