//! The time of day in UTC, without a calendar library.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy)]
pub struct Moment(u64);

impl Moment {
    pub fn now() -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment(since.as_millis() as u64)
    }

    /// RFC 3339 with milliseconds: `2024-02-29T12:30:05.042Z`.
    pub fn rfc3339(self) -> String {
        let (year, month, day) = civil(self.0 / 86_400_000);
        let (hour, minute, second) = self.time();
        let milliseconds = self.0 % 1000;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
    }

    /// A name for a folder, to the second: `20240229T123005Z`.
    pub fn folder_name(self) -> String {
        let (year, month, day) = civil(self.0 / 86_400_000);
        let (hour, minute, second) = self.time();
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }

    fn time(self) -> (u64, u64, u64) {
        let seconds = self.0 / 1000;
        (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
    }
}

/// Year, month and day of a day number, after Howard Hinnant's `civil_from_days` (proleptic Gregorian calendar).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // days since 0000-03-01
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153; // March is 0
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::Moment;

    #[test]
    fn leap_days_and_year_ends_are_right() {
        assert_eq!(Moment(0).rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Moment(1_709_209_805_042).rfc3339(), "2024-02-29T12:30:05.042Z");
        assert_eq!(Moment(1_735_689_599_999).folder_name(), "20241231T235959Z");
        assert_eq!(Moment(4_107_542_400_000).folder_name(), "21000301T000000Z");
    }
}
