//! Moments as a person reads them: in UTC, because servers and their readers live in different places.

use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_core::{model::Timestamp, view::rfc3339};

/// `10:31:04 UTC`, with the date in front when it is not today's.
pub(crate) fn clock(at: Timestamp) -> String {
    clock_on(at, now())
}

/// The same as seen at `now`.
pub(super) fn clock_on(at: Timestamp, now: Timestamp) -> String {
    let (text, today) = (rfc3339(at), rfc3339(now));
    let (date, time) = (text.get(..10).unwrap_or_default(), text.get(11..19).unwrap_or_default());
    if today.starts_with(date) { format!("{time} UTC") } else { format!("{date} {time} UTC") }
}

/// `2026-01-02 10:00:00`: date and time, for columns whose heading says that it is UTC.
pub(super) fn stamp(at: Timestamp) -> String {
    rfc3339(at).get(..19).unwrap_or_default().replace('T', " ")
}

/// `10:31:04.123`: the time of day, for lines that are followed.
pub(super) fn time_of_day(at: Timestamp) -> String {
    rfc3339(at).get(11..23).unwrap_or_default().to_owned()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_another_day_is_shown_with_its_date() {
        let at = Timestamp(1_767_348_064_123);
        assert_eq!(clock_on(at, Timestamp(1_767_348_000_000)), "10:01:04 UTC");
        assert_eq!(clock_on(at, Timestamp(1_767_448_000_000)), "2026-01-02 10:01:04 UTC");
        assert_eq!((stamp(at).as_str(), time_of_day(at).as_str()), ("2026-01-02 10:01:04", "10:01:04.123"));
    }
}
