//! Environment variables: which ones belong to options, and which one has an invalid value.

use std::env;

use clap::{Command, builder::Resettable};

use crate::options::{FILTER_VARIABLE, spelling::meant};

/// Prefix of the variables of this program.
const PREFIX: &str = "GAVEL_";

/// Prefixes of variables that are not options: those of the emulated GPU, of tests on a real GPU, of fault
/// injection in tests, of the systemd unit, of Kubernetes for a service named gavel, of the proxy in front of
/// several servers, and of the examples.
const FOR_OTHERS: [&str; 9] = [
    "GAVEL_EMULATED",
    "GAVEL_REAL_GPU",
    "GAVEL_TEST_FAULTS",
    "GAVEL_OPTIONS",
    "GAVEL_SERVICE_",
    "GAVEL_PORT_",
    "GAVEL_PROXY_",
    "GAVEL_REPLICA",
    "GAVEL_URL",
];

/// The option that can also be set by [`FILTER_VARIABLE`].
const LOG_FILTER: &str = "log_filter";

/// The variable that sets the option `name`: `GAVEL_` and the name in capitals. The log filter has [`FILTER_VARIABLE`]
/// where that is set and its own variable is not.
pub(crate) fn variable_of(name: &str) -> String {
    let own = format!("{PREFIX}{}", name.to_uppercase());
    let is_other = name == LOG_FILTER && log_filter().is_some() && env::var_os(&own).is_none();
    if is_other { FILTER_VARIABLE.into() } else { own }
}

/// The log filter, for commands without an option for it; `None` if the variable is unset, empty or not Unicode.
pub(crate) fn log_filter() -> Option<String> {
    env::var_os(FILTER_VARIABLE)?.into_string().ok().filter(|filter| !filter.is_empty())
}

/// `command` without the variables of its options, and those of its subcommands, that are empty and belong to other
/// programs too, such as `HF_TOKEN`: there an empty variable means the same as none, and files that start containers
/// set them so.
pub(super) fn without_empty(command: Command) -> Command {
    let command = command.mut_args(|option| {
        let empty = option.get_env().is_some_and(|variable| {
            let is_own = variable.to_string_lossy().starts_with(PREFIX);
            !is_own && env::var_os(variable).is_some_and(|value| value.is_empty())
        });
        if empty { option.env(Resettable::Reset) } else { option }
    });
    command.mut_subcommands(without_empty)
}

/// Warnings about variables with the prefix of this program that belong to no option of `command`, sorted.
pub(super) fn unknown_variables(command: &Command) -> Vec<String> {
    let known = variables(command);
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let for_others = |name: &str| FOR_OTHERS.iter().any(|beginning| name.starts_with(beginning));
    let unknown = names.filter(|name| name.starts_with(PREFIX) && !known.contains(name) && !for_others(name));
    let told = unknown.map(|name| {
        let own = name.trim_start_matches(PREFIX);
        match meant(own, known.iter().filter_map(|known| known.strip_prefix(PREFIX))) {
            Some(option) => {
                format!("the environment variable {name} belongs to no option: {PREFIX}{option} may be meant")
            }
            None => format!("the environment variable {name} belongs to no option, and is not used"),
        }
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    told
}

/// The variables of all options of a command and its subcommands.
fn variables(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(|option| option.get_env());
    let own = own.map(|variable| variable.to_string_lossy().into_owned());
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}

/// Rewords a parse error whose value came from the environment: names the variable instead of the option. `None` if
/// no variable is to blame.
pub(super) fn blamed(command: &Command, error: &clap::Error) -> Option<String> {
    if !error.use_stderr() {
        // The "error" is requested help or version output.
        return None;
    }
    let mut command = command.clone();
    // Errors name options as they are after `build`.
    command.build();
    let arguments: Vec<String> =
        env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let mut asked = &command;
    for argument in &arguments {
        let Some(below) = asked.find_subcommand(argument) else { break };
        asked = below;
    }
    let text = problem_of(error);
    let mut told = text.clone();
    for option in asked.get_arguments() {
        let (Some(variable), Some(name)) = (option.get_env(), option.get_long()) else { continue };
        let long = format!("--{name}");
        let typed = |argument: &String| *argument == long || argument.starts_with(&format!("{long}="));
        if env::var_os(variable).is_some() && !arguments.iter().any(typed) {
            let variable = format!("the environment variable {}", variable.to_string_lossy());
            told = told.replace(&format!("'{option}'"), &variable);
        }
    }
    (told != text).then_some(told)
}

/// The message of a parse error as one line, without the usage and the hint about help.
pub(crate) fn problem_of(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    first.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim_end().to_owned()
}
