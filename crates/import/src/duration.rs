//! Durations and numbers as other tools write them.

use std::fmt::Write as _;

use crate::field::Field;

/// A duration of Go's syntax (`1h30m`, `1.5s`, `300ms`) in milliseconds, rounded to the nearest; nothing when it is none.
pub(crate) fn go(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|at| *at > 0)?;
        let (number, behind) = rest.split_at_checked(digits)?;
        let (unit, next) = behind.split_at_checked(
            behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len()),
        )?;
        total += number.parse::<f64>().ok()? * scale(unit)?;
        rest = next;
    }
    whole(sign * total)
}

fn scale(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-6,
        "us" | "µs" | "μs" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 6e4,
        "h" => 3.6e6,
        _ => return None,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "checked to lie far inside")]
fn whole(ms: f64) -> Option<i64> {
    // Theirs end at 2^63 nanoseconds, 292 years.
    (ms.abs() < 9.223_372_036_854e12).then(|| ms.round() as i64)
}

/// A pause's duration: whole seconds of 32 bits, quoted or not, or a Go duration; in milliseconds. Nothing when it is neither.
pub(crate) fn pause(field: &Field<'_>) -> Option<i64> {
    let text = field.text()?;
    match text.parse::<i32>() {
        Ok(seconds) => i64::from(seconds).checked_mul(1_000),
        Err(_) => go(text),
    }
}

/// Whole seconds in milliseconds, where the field is there and says so.
pub(crate) fn seconds(field: Option<&Field<'_>>) -> Option<u64> {
    let seconds = u64::try_from(field?.whole()?).ok()?;
    seconds.checked_mul(1_000)
}

/// Milliseconds as `tidegate.yaml` takes them.
pub(crate) fn said(ms: u64) -> String {
    let mut rest = ms;
    let mut out = String::new();
    for (unit, scale) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        let count = rest / scale;
        rest %= scale;
        if count > 0 {
            let _ = write!(out, "{count}{unit}");
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// A number of pods, or a percentage of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    Pods(u32),
    Percent(u32),
}

impl Amount {
    /// `25%`, or `3`; a text without a sign is a percentage there, too.
    pub(crate) fn of(field: &Field<'_>) -> Option<Self> {
        let text = field.text()?.trim();
        if let Some(percent) = text.strip_suffix('%') {
            return percent.parse().ok().map(Self::Percent);
        }
        let number = text.parse().ok()?;
        Some(if field.is_plain() { Self::Pods(number) } else { Self::Percent(number) })
    }

    pub(crate) const fn is_none(self) -> bool {
        matches!(self, Self::Pods(0) | Self::Percent(0))
    }

    /// As `tidegate.yaml` takes it.
    pub(crate) fn said(self) -> String {
        match self {
            Self::Pods(count) => count.min(10_000).to_string(),
            Self::Percent(0) => "0".to_owned(),
            Self::Percent(percent) => format!("{}%", percent.min(100)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them_and_written_as_tidegate_reads_them() {
        for (text, ms) in [
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            ("300ms", 300),
            ("0", 0),
            ("-5s", -5_000),
        ] {
            assert_eq!(go(text), Some(ms), "{text}");
        }
        for text in ["", "5", "5 s", "s", "1d", "abc", "1.2.3s", "999999999999h", "9999999h"] {
            assert_eq!(go(text), None, "{text}");
        }
        assert_eq!((said(0), said(90_000), said(86_400_000)), ("0s".into(), "1m30s".into(), "1d".into()));
    }
}
