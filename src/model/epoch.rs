//! The week in which something was written: what is kept and collected together.

use std::fmt;

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

/// How long a day is.
pub const SECONDS_A_DAY: i64 = 24 * 60 * 60;

impl Epoch {
    /// Returns the epoch of a time in seconds since 1970; that of 1970 where there is no such time.
    pub fn of(unix_s: i64) -> Epoch {
        let time = Timestamp::from_second(unix_s).unwrap_or_default();
        let date = time.to_zoned(TimeZone::UTC).date().iso_week_date();
        let (year, week) = (date.year(), date.week());
        Epoch { year, week }
    }

    /// Returns the epoch that is shown as `text`; none for anything else.
    pub fn parse(text: &str) -> Option<Epoch> {
        let (year, week) = text.split_once("-W")?;
        let (year, week) = (year.parse().ok()?, week.parse().ok()?);
        let known = ISOWeekDate::new(year, week, jiff::civil::Weekday::Monday).is_ok();
        let epoch = Epoch { year, week };
        (known && epoch.to_string() == text).then_some(epoch)
    }

    /// Returns how many whole days before `now_unix_s` the last second of this epoch was; negative if it still goes on.
    pub fn days_over(self, now_unix_s: i64) -> i64 {
        let last = ISOWeekDate::new(self.year, self.week, jiff::civil::Weekday::Sunday);
        let last = last.and_then(|day| day.date().to_zoned(TimeZone::UTC));
        // A week that there is not is long over.
        let last = last.map_or(0, |midnight| midnight.timestamp().as_second());
        (now_unix_s - last.saturating_add(SECONDS_A_DAY)).div_euclid(SECONDS_A_DAY)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-W{:02}", self.year, self.week)
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
        assert_eq!(Epoch::parse("2026-W48"), Some(epoch));
        for other in ["", "2026-W54", "2026-W4", "2026-48", "../x", "2026-W048"] {
            assert!(Epoch::parse(other).is_none(), "{other}");
        }
    }
}
