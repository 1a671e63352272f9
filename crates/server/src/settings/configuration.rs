//! The configuration file: the options of `gavel serve` in TOML. The environment and the command line override it.
//!
//! No option is listed here: sections are the help headings of the options and keys are their names, so that an option
//! added to [`command`](crate::options) can be set in the file, in the environment and on the command line.

use std::{
    error::Error,
    fmt::{self, Display},
    fs,
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, ArgMatches, Command, FromArgMatches, builder::BoolishValueParser, parser::ValueSource,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    environment::{problem_of, variable_of},
    relations::{self, Origin},
};
use crate::{
    access::{KEYS, KeyProblem, read_keys, unknown_forms},
    boot,
    options::ServeOptions,
};

/// The command whose options the file sets.
pub(crate) const SERVE: &str = "serve";

/// Options that are not settings.
const NO_SETTINGS: [&str; 7] =
    ["config", "print_config", "help", "version", "notify_socket", "watchdog_usec", "watchdog_pid"];

/// The settings of a file.
#[derive(Debug)]
pub(crate) struct Configuration {
    settings: Vec<Setting>,
    /// Number of its `[[keys]]`, which are not options.
    keys: usize,
}

/// One setting of a file: the values that an option has if neither the environment nor the command line sets it.
#[derive(Debug)]
struct Setting {
    /// The option's name.
    name: String,
    values: Vec<String>,
    /// The line of its key, from 1.
    line: usize,
}

/// A configuration file that is unreadable or invalid.
#[derive(Debug)]
pub(crate) struct ConfigurationError {
    path: PathBuf,
    problems: Vec<Problem>,
}

/// One error in a file.
#[derive(Debug)]
struct Problem {
    /// Its line, counted from 1; 0 for the file as a whole.
    line: usize,
    text: String,
}

impl From<&KeyProblem> for Problem {
    fn from(problem: &KeyProblem) -> Self {
        Self { line: problem.line, text: problem.to_string() }
    }
}

impl Display for ConfigurationError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        for (index, Problem { line, text }) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            match line {
                0 => write!(formatter, "{separator}{path}: {text}")?,
                line => write!(formatter, "{separator}{path}:{line}: {text}")?,
            }
        }
        Ok(())
    }
}

impl Error for ConfigurationError {}

impl Configuration {
    /// Reads the file at `path` for the options of `serve`.
    ///
    /// # Errors
    /// [`ConfigurationError`] with all problems: an unreadable file, invalid TOML, unknown sections and keys, and
    /// values that the options reject.
    pub(crate) fn read(path: &Path, serve: &Command) -> Result<Self, ConfigurationError> {
        let failed = |problems| ConfigurationError { path: path.to_owned(), problems };
        let text = fs::read_to_string(path)
            .map_err(|error| failed(vec![Problem { line: 0, text: format!("cannot be read: {error}") }]))?;
        let line = |start: usize| text[..start].matches('\n').count() + 1;
        let document = DeTable::parse(&text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            failed(vec![Problem { line: line(start), text: error.message().to_owned() }])
        })?;
        let (mut settings, mut problems) = (Vec::new(), Vec::new());
        let keys = read_keys(&text).unwrap_or_else(|wrong| {
            problems.extend(wrong.iter().map(Problem::from));
            Vec::new()
        });
        let members = document.get_ref().iter().filter(|(section, _)| section.get_ref() != KEYS);
        for (section, members) in members {
            let known = known_keys(serve, section.get_ref());
            let mut tell = |start, text| problems.push(Problem { line: line(start), text });
            let name = section.get_ref();
            let DeValue::Table(members) = members.get_ref() else {
                tell(section.span().start, format!("{name} stands in no section"));
                continue;
            };
            if known.is_empty() {
                let all = sections(serve).join(", ");
                tell(section.span().start, format!("there is no section [{name}]; there are: {all}"));
                continue;
            }
            for (key, value) in members {
                let setting = if known.contains(&key.get_ref().as_ref()) {
                    Setting::new(serve, (key.get_ref(), line(key.span().start)), value)
                } else {
                    Err(format!("no such key; [{name}] has: {}", known.join(", ")))
                };
                match setting {
                    Ok(setting) => settings.push(setting),
                    Err(text) => tell(key.span().start, format!("{name}.{}: {text}", key.get_ref())),
                }
            }
        }
        problems.sort_by_key(|problem| problem.line);
        if problems.is_empty() { Ok(Self { settings, keys: keys.len() }) } else { Err(failed(problems)) }
    }

    /// Reads the file at `path` as [`read`](Self::read) does, and checks that it can be served by itself: that its
    /// settings fit together, and that the forms of its keys exist. Other files that it names are not read, since it may
    /// be checked on another machine. Only where a key names a form, the forms in the folder of rubrics are looked for,
    /// if that folder is there.
    ///
    /// # Errors
    /// As for [`read`](Self::read), and with these problems too.
    pub(crate) fn check(path: &Path, serve: &Command) -> Result<Self, ConfigurationError> {
        let file = Self::read(path, serve)?;
        let failed = |problems| ConfigurationError { path: path.to_owned(), problems };
        let whole = |error: &dyn Display| failed(vec![Problem { line: 0, text: error.to_string() }]);
        let matches =
            file.apply(serve.clone()).try_get_matches_from([SERVE]).map_err(|error| whole(&error))?;
        let broken = relations::broken(serve, &matches, Some(&file));
        let mut problems: Vec<Problem> = broken
            .into_iter()
            .filter_map(|relations::Broken { origin, text }| match origin {
                Origin::File(line) => Some(Problem { line, text }),
                Origin::CommandLine | Origin::Environment => None,
            })
            .collect();
        let options = ServeOptions::from_arg_matches(&matches).map_err(|error| whole(&error))?;
        let folder = options.critic.config_dir;
        let text = fs::read_to_string(path).map_err(|error| whole(&error))?;
        let names_forms = !unknown_forms(&text, |_| false).is_empty();
        if names_forms && folder.as_ref().is_none_or(|folder| folder.is_dir()) {
            match boot::library(folder.as_deref()) {
                Ok(library) => {
                    let unknown = unknown_forms(&text, |name| library.form(name).is_some());
                    problems.extend(unknown.iter().map(Problem::from));
                }
                Err(error) => problems.push(Problem {
                    line: file.line_of("config_dir").unwrap_or(0),
                    text: format!("critic.config_dir: {error}"),
                }),
            }
        }
        problems.sort_by_key(|problem| problem.line);
        if problems.is_empty() { Ok(file) } else { Err(failed(problems)) }
    }

    /// Number of its settings, and of its keys.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.settings.len(), self.keys)
    }

    /// `serve` with the file's values as its defaults.
    pub(crate) fn apply(&self, serve: Command) -> Command {
        self.settings.iter().fold(serve, |serve, setting| setting.apply(serve))
    }

    /// Whether the file sets the option `name`.
    fn sets(&self, name: &str) -> bool {
        self.line_of(name).is_some()
    }

    /// The line at which the file sets the option `name`.
    pub(super) fn line_of(&self, name: &str) -> Option<usize> {
        self.settings.iter().find(|setting| setting.name == name).map(|setting| setting.line)
    }
}

impl Setting {
    fn new(
        serve: &Command,
        (name, line): (&str, usize),
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Self, String> {
        let values = match value.get_ref() {
            DeValue::Array(values) => values.iter().map(|value| text(value.get_ref())).collect(),
            one => text(one).map(|one| vec![one]),
        };
        let setting = Self { name: name.to_owned(), values: values?, line };
        // The option itself checks the value, with the same message as on the command line.
        match setting.apply(serve.clone()).try_get_matches_from([SERVE]) {
            Ok(_) => Ok(setting),
            // A file has keys and no options, and the caller puts the key before the message.
            Err(error) => Err(without_option(&problem_of(&error))),
        }
    }

    fn apply(&self, serve: Command) -> Command {
        serve.mut_arg(&self.name, |option| option.default_values(self.values.clone()))
    }
}

/// The error about a value, without the name of the command-line option.
fn without_option(problem: &str) -> String {
    let named = problem.split_once(" for '--");
    let parts = named.and_then(|(before, rest)| Some((before, rest.split_once('\'')?.1)));
    parts.map_or_else(|| problem.to_owned(), |(before, after)| format!("{before}{after}"))
}

/// A value as it would be written on the command line.
fn text(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|error| error.to_string()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err("a text, a number, true or false is wanted".into())
        }
    }
}

/// The options that can be set.
fn options(serve: &Command) -> impl Iterator<Item = &Arg> {
    serve.get_arguments().filter(|option| !NO_SETTINGS.contains(&option.get_id().as_str()))
}

/// The section of an option: its heading in the help, in lower case.
pub(super) fn section(option: &Arg) -> String {
    option.get_help_heading().unwrap_or("options").to_lowercase()
}

fn sections(serve: &Command) -> Vec<String> {
    let mut sections: Vec<String> = options(serve).map(section).collect();
    sections.sort();
    sections.dedup();
    sections
}

fn known_keys<'a>(serve: &'a Command, name: &str) -> Vec<&'a str> {
    options(serve).filter(|option| section(option) == name).map(|option| option.get_id().as_str()).collect()
}

/// Lets each option without a variable of its own be set by the one that follows from its name.
pub(crate) fn with_environment(serve: Command) -> Command {
    serve.mut_args(|option| {
        let name = option.get_id().as_str();
        if option.get_env().is_some() || NO_SETTINGS.contains(&name) {
            return option;
        }
        let variable = variable_of(name);
        let option = option.env(variable).hide_env(true);
        // Environments write booleans in many ways, such as `1`, `yes` and `on`.
        let is_flag = matches!(option.get_action(), ArgAction::SetTrue);
        if is_flag { option.value_parser(BoolishValueParser::new()) } else { option }
    })
}

/// The settings in force, as a configuration file with the source of each value in a comment. Secrets are left out.
pub(crate) fn in_force(serve: &Command, (matches, file): (&ArgMatches, Option<&Configuration>)) -> String {
    let mut text = String::new();
    for section_name in sections(serve) {
        text += &format!("[{section_name}]\n");
        for option in options(serve).filter(|option| section(option) == section_name) {
            let name = option.get_id().as_str();
            let source = match matches.value_source(name) {
                Some(ValueSource::CommandLine) => "command line",
                Some(ValueSource::EnvVariable) => "environment",
                _ if file.is_some_and(|file| file.sets(name)) => "file",
                _ => "default",
            };
            let values = matches.get_raw(name).map(|values| values.map(|value| quoted(option, value)));
            text += &match values.map(|values| values.collect::<Vec<_>>()) {
                None => format!("# {name} is not set\n"),
                // An option that hides the value of its variable in the help is a secret or may contain one.
                Some(_) if option.is_hide_env_values_set() => format!("# {name} is set ({source})\n"),
                // As true or false, however the environment wrote it.
                Some(_) if matches!(option.get_action(), ArgAction::SetTrue) => {
                    format!("{name} = {} # {source}\n", matches.get_flag(name))
                }
                Some(values) if matches!(option.get_action(), ArgAction::Append) => {
                    format!("{name} = [{}] # {source}\n", values.join(", "))
                }
                Some(values) => format!("{name} = {} # {source}\n", values.join(", ")),
            };
        }
        text.push('\n');
    }
    if let Some(Configuration { keys: 1.., .. }) = file {
        text += "# [[keys]] are in the file and not shown\n";
    }
    text.trim_end().to_owned()
}

/// A value in TOML's syntax.
fn quoted(option: &Arg, value: &std::ffi::OsStr) -> String {
    let text = value.to_string_lossy();
    let is_text = option.get_value_parser().type_id() == clap::builder::ValueParser::string().type_id();
    let plain = text == "true" || text == "false" || text.parse::<f64>().is_ok_and(f64::is_finite);
    if plain && !is_text { text.into_owned() } else { toml::Value::String(text.into_owned()).to_string() }
}
