//! What the environment says: which variables belong to options, and which one is to blame for a value that is wrong.

use std::env;

use clap::Command;

use crate::spelling::meant;

/// What variables of this program begin with.
const PREFIX: &str = "GAVEL_";

/// Beginnings of variables that are for others: the GPU that is none, faults that tests make, the service of systemd, what
/// Kubernetes tells of a service called gavel, the proxy before several servers, and the examples.
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

/// What is to be said of variables that are called like this program's, and that no option of `command` has.
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

/// The variables of all options of a command and of those below it.
fn variables(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(|option| option.get_env());
    let own = own.map(|variable| variable.to_string_lossy().into_owned());
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}

/// What is wrong with what was given, if it came from the environment: the variable is named in the place of the option.
pub(super) fn blamed(command: &Command, error: &clap::Error) -> Option<String> {
    if !error.use_stderr() {
        // It is help that was asked for.
        return None;
    }
    let mut command = command.clone();
    // Only then an option is called what it is called in errors.
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

/// What is wrong, without what usually follows: usage, and where help is.
pub(crate) fn problem_of(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    first.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim_end().to_owned()
}
