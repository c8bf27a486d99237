//! Moments as Kubernetes reads them.

/// Days of a month in a year that leaps.
const DAYS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// Whether it is one of RFC 3339: `2026-01-31T09:00:00Z`, `2026-01-31T09:00:00.5+01:00`.
pub(crate) fn is_moment(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else { return false };
    let Some((clock, zone)) = time.split_at_checked(8) else { return false };
    let (fraction, zone) = zone.split_at(zone.find(['Z', '+', '-']).unwrap_or(zone.len()));
    let is_fraction = fraction.is_empty()
        || fraction.strip_prefix('.').is_some_and(|digits| !digits.is_empty() && is_digits(digits));
    let is_zone = zone == "Z"
        || zone
            .strip_prefix(['+', '-'])
            .is_some_and(|offset| matches!(numbers(offset, ':', &[2, 2]).as_deref(), Some([0..24, 0..60])));
    let is_clock = matches!(numbers(clock, ':', &[2, 2, 2]).as_deref(), Some([0..24, 0..60, 0..60]));
    is_date(date) && is_clock && is_fraction && is_zone
}

fn is_date(text: &str) -> bool {
    let found = numbers(text, '-', &[4, 2, 2]);
    let Some([year, month, day]) = found.as_deref() else { return false };
    let leaps = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let at = usize::try_from(*month).ok().and_then(|month| month.checked_sub(1));
    let most = at.and_then(|month| DAYS.get(month)).copied().unwrap_or(0);
    let most = if *month == 2 && !leaps { 28 } else { most };
    (1..=most).contains(day)
}

/// The numbers between marks, each of so many digits.
fn numbers(text: &str, mark: char, widths: &[usize]) -> Option<Vec<u32>> {
    let parts: Vec<&str> = text.split(mark).collect();
    let fits = parts.len() == widths.len()
        && parts.iter().zip(widths).all(|(part, width)| part.len() == *width && is_digits(part));
    fits.then(|| parts.iter().map(|part| part.parse().ok()).collect())?
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_a_day_that_exists_a_time_and_a_zone() {
        for text in [
            "2026-01-31T09:00:00Z",
            "2024-02-29T23:59:59.123456789Z",
            "2000-02-29T00:00:00+02:00",
            "2026-01-01T00:00:00-11:30",
        ] {
            assert!(is_moment(text), "{text}");
        }
        for text in [
            "yesterday",
            "",
            "2026-01-01",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+2:00",
            "2026-1-01T00:00:00Z",
            "2026-01-01Té0:00:00Z",
        ] {
            assert!(!is_moment(text), "{text}");
        }
    }
}
