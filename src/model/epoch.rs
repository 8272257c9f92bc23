//! The week in which something was written: what is kept and collected together.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::ISOWeekDate;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// An ISO week, in UTC: `2026-W48`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch {
    year: i16,
    week: i8,
}

/// A text that is no epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no week")]
pub struct NoEpoch;

/// How long a day is.
pub const SECONDS_A_DAY: i64 = 24 * 60 * 60;

impl Epoch {
    /// Returns the epoch of a time in seconds since 1970; that of 1970 where there is no such time.
    pub fn of(unix_s: i64) -> Epoch {
        let time = Timestamp::from_second(unix_s).unwrap_or_default();
        let date = time.to_zoned(TimeZone::UTC).date().iso_week_date();
        Epoch {
            year: date.year(),
            week: date.week(),
        }
    }

    /// Returns how many whole days before `now_unix_s` the last second of this epoch was; negative if it still goes on.
    pub fn days_over(self, now_unix_s: i64) -> i64 {
        let last = ISOWeekDate::new(self.year, self.week, jiff::civil::Weekday::Sunday);
        // A week that there is not is long over.
        let last = last.map_or(0, |day| {
            let midnight = day.date().to_zoned(TimeZone::UTC);
            midnight.map_or(0, |time| time.timestamp().as_second())
        });
        (now_unix_s - last.saturating_add(SECONDS_A_DAY)).div_euclid(SECONDS_A_DAY)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-W{:02}", self.year, self.week)
    }
}

impl FromStr for Epoch {
    type Err = NoEpoch;

    fn from_str(text: &str) -> Result<Epoch, NoEpoch> {
        let (year, week) = text.split_once("-W").ok_or(NoEpoch)?;
        let year = year.parse().map_err(|_| NoEpoch)?;
        let week = week.parse().map_err(|_| NoEpoch)?;
        let epoch = Epoch { year, week };
        let known = ISOWeekDate::new(year, week, jiff::civil::Weekday::Monday).is_ok();
        let same = known && epoch.to_string() == text;
        same.then_some(epoch).ok_or(NoEpoch)
    }
}

#[cfg(test)]
mod tests {
    use super::Epoch;

    /// The 25th of November 2026 lies in week 48, which ends on the 29th; counted wrongly, packs in use are collected.
    #[test]
    fn weeks_end_on_sundays() {
        let now = 1_795_628_400;
        let epoch = Epoch::of(now);
        assert_eq!(epoch.to_string(), "2026-W48");
        assert_eq!(epoch.days_over(now), -5);
        assert_eq!(epoch.days_over(now + 7 * 86_400), 2);
        assert_eq!("2026-W48".parse(), Ok(epoch));
        for other in ["", "2026-W54", "2026-W4", "2026-48", "../x", "2026-W048"] {
            assert!(other.parse::<Epoch>().is_err(), "{other}");
        }
    }
}
