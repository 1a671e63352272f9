//! The expiry time of a key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use toml::value::{Datetime, Offset};

const DAY: i64 = 86_400;

/// Converts the TOML date or time of a file to system time.
///
/// A date without a time means its start in UTC. A time requires an offset, because servers run in any time zone;
/// returns `None` if the offset is missing, or if there is no date. Times before 1970 become 1970.
pub(super) fn moment(said: &Datetime) -> Option<SystemTime> {
    let date = said.date?;
    let (year, month, day) = (i64::from(date.year), i64::from(date.month), i64::from(date.day));
    // Count months from the preceding March, so that a leap day is the last day of a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // From March on, the lengths of months repeat as 31, 30, 31, 30, 31 days.
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + day - DAYS_TO_1970;
    let seconds = match (said.time, said.offset) {
        (None, None) => 0,
        (Some(time), Some(offset)) => {
            let minutes = match offset {
                Offset::Z => 0,
                Offset::Custom { minutes } => i64::from(minutes),
            };
            i64::from(time.hour) * 3600 + (i64::from(time.minute) - minutes) * 60 + i64::from(time.second)
        }
        (Some(_), None) | (None, Some(_)) => return None,
    };
    Some(match u64::try_from(days * DAY + seconds) {
        Ok(after) => UNIX_EPOCH + Duration::from_secs(after),
        Err(_before) => UNIX_EPOCH,
    })
}

/// The value of the sum above for 1 January 1970, in days.
const DAYS_TO_1970: i64 = 719_469;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_other_programs() {
        let seconds = |said: &str| {
            let moment = moment(&said.parse().unwrap())?;
            Some(moment.duration_since(UNIX_EPOCH).unwrap().as_secs())
        };
        // Expected values from `date -u -d … +%s`.
        assert_eq!(seconds("1970-01-01"), Some(0));
        assert_eq!(seconds("2000-02-29"), Some(951_782_400));
        assert_eq!(seconds("2000-03-01"), Some(951_868_800));
        assert_eq!(seconds("2026-11-26T02:29:33Z"), Some(1_795_660_173));
        assert_eq!(seconds("2100-03-01T00:00:00+02:30"), Some(4_107_533_400));
        assert_eq!(seconds("1969-12-31"), Some(0));
        assert_eq!((seconds("2026-11-26T02:29:33"), seconds("12:00:00")), (None, None));
    }
}
