//! Lengths of time as a person says them.

use alloc::{format, string::String};

use crate::model::Millis;

/// About so long, in at most two units: `250 ms`, `3.2 s`, `41 s`, `5 min 3 s`, `23 h 59 min`, `3 days 4 h`. What is left
/// out is cut off, not rounded up, so that nothing is said to have taken longer than it did.
pub fn rough(span: Millis) -> String {
    let ms = span.0;
    let secs = ms / 1_000;
    match secs {
        0 if ms == 0 => "0 s".into(),
        0 => format!("{ms} ms"),
        1..10 if !ms.is_multiple_of(1_000) => format!("{secs}.{} s", ms % 1_000 / 100),
        1..120 => format!("{secs} s"),
        120..7_200 => two(secs / 60, "min", secs % 60, "s"),
        7_200..172_800 => two(secs / 3_600, "h", secs / 60 % 60, "min"),
        _ => two(secs / 86_400, "days", secs / 3_600 % 24, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_in_at_most_two_units() {
        for (ms, text) in [
            (0, "0 s"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (3_290, "3.2 s"),
            (41_900, "41 s"),
            (119_999, "119 s"),
            (303_000, "5 min 3 s"),
            (600_000, "10 min"),
            (86_399_000, "23 h 59 min"),
            (273_600_000, "3 days 4 h"),
        ] {
            assert_eq!(rough(Millis(ms)), text);
        }
        assert_eq!(rough(Millis(u64::MAX)), "213503982334 days 14 h");
    }
}
