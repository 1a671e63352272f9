//! Numbers on the command line. Every option has a largest value, so that arithmetic on it, such as a point in time or
//! the bytes of so many mebibytes, does not overflow.

use std::{num::IntErrorKind, time::Duration};

/// The longest time of an option in seconds: a year. Clocks reach much further than twice that.
pub(super) const YEAR_S: u64 = 365 * 24 * 3600;

/// The most of what is only counted: 2^30. The product of two such numbers has room in 64 bits.
pub(super) const MANY: u64 = 1 << 30;

/// The most mebibytes of memory and of a file: 16 TiB, whose bytes have room in a `usize` and in an `i64`.
pub(super) const MOST_MIB: u64 = 1 << 24;

/// The most kibibytes of what is small: 1 GiB.
pub(super) const MOST_KIB: u64 = 1 << 20;

/// The largest seed: small numbers are added to it.
pub(super) const MOST_SEED: u64 = u64::MAX >> 1;

const _: () = assert!(usize::BITS >= 64, "16 TiB are a number of bytes");

/// Parses a duration in seconds, of at most a year.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if seconds > YEAR_S as f64 {
        return Err(format!("it must be at most {YEAR_S}, a year"));
    }
    Duration::try_from_secs_f64(seconds).map(|_| seconds).map_err(|error| error.to_string())
}

/// Parses a duration in seconds that is above 0.
pub(super) fn some_seconds(text: &str) -> Result<f64, String> {
    match seconds(text)? {
        0.0 => Err("it must be above 0".into()),
        seconds => Ok(seconds),
    }
}

/// Parses a whole number from `LEAST`, below which the option would not work, to `MOST`.
pub(super) fn whole<const LEAST: u64, const MOST: u64, T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let number = match text.parse::<u64>() {
        Ok(number) => number,
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => u64::MAX,
        Err(_) => return Err("not a whole number".into()),
    };
    if number < LEAST {
        return Err(format!("it must be at least {LEAST}"));
    }
    if number > MOST {
        return Err(format!("it must be at most {MOST}"));
    }
    T::try_from(number).map_err(|_| "it is too large".into())
}

#[cfg(test)]
mod tests {
    use clap::{Arg, CommandFactory};

    use super::*;
    use crate::options::CommandLine;

    #[test]
    fn a_number_is_within_its_bounds() {
        let parse = whole::<2, 9, u8>;
        assert_eq!((parse("2"), parse("9")), (Ok(2), Ok(9)));
        for (text, words) in [
            ("1", "at least 2"),
            ("10", "at most 9"),
            ("99999999999999999999999", "at most 9"),
            ("-1", "whole number"),
            ("2.5", "whole number"),
            ("", "whole number"),
        ] {
            assert!(parse(text).unwrap_err().contains(words), "{text:?}");
        }
        assert_eq!((seconds("0"), seconds("31536000")), (Ok(0.0), Ok(31_536_000.0)));
        for text in ["31536001", "1e19", "1e300", "inf"] {
            assert!(seconds(text).unwrap_err().contains("at most 31536000"), "{text}");
        }
        for text in ["NaN", "-1", "-inf", "1s", ""] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
        assert!(some_seconds("0").unwrap_err().contains("above 0"));
    }

    /// The options of a command and of those below it, each with the command's name.
    fn options(command: &clap::Command) -> Vec<(String, Arg)> {
        let own = command.get_arguments().map(|option| (command.get_name().to_owned(), option.clone()));
        own.chain(command.get_subcommands().flat_map(options)).collect()
    }

    /// Whether the option takes `value`.
    fn takes(option: &Arg, value: &str) -> bool {
        // The others that it needs, or conflicts with, are left out.
        let alone = Arg::new("alone").long("alone").value_parser(option.get_value_parser().clone());
        let command = clap::Command::new("test").arg(alone);
        command.try_get_matches_from(["test", &format!("--alone={value}")]).is_ok()
    }

    /// No option that takes a number takes one with which sums and products would overflow. Texts take anything.
    #[test]
    fn every_number_has_a_largest_value() {
        // They are checked where they are used, or only compared; systemd's microseconds may be any.
        const UNBOUNDED: [&str; 5] = ["rates", "paced_part", "minutes", "least_margin", "watchdog_usec"];
        let mut numbers = 0;
        for (command, option) in options(&CommandLine::command()) {
            let name = option.get_id().as_str();
            if takes(&option, "x") || !takes(&option, "1") || UNBOUNDED.contains(&name) {
                continue;
            }
            numbers += 1;
            for large in ["18446744073709551615", "17592186044416", "1e19"] {
                // A seed is added to small numbers, and the longest one leaves room for them.
                let is_seed = name == "seed" && large == "17592186044416";
                assert!(is_seed || !takes(&option, large), "{command}: {name} takes {large}");
            }
        }
        assert!(numbers > 50, "{numbers}");
    }
}
