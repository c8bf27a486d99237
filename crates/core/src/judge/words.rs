//! The sentences of the sequential gates: what was seen, what is plausible, how rare this is for a healthy release.

use alloc::{format, string::String};

use tidegate_statistics::{Bounds, Pair};

/// `3 of 60 requests failed (5.00 %), stable 1 of 1,140 (0.09 %)`.
pub(super) fn counted(pair: Pair, what: &str) -> String {
    format!(
        "{} of {} requests {what} ({}), stable {} of {} ({})",
        grouped(pair.new.failures()),
        grouped(pair.new.requests()),
        percent(pair.new.rate()),
        grouped(pair.stable.failures()),
        grouped(pair.stable.requests()),
        percent(pair.stable.rate()),
    )
}

/// `0.09 %`; `none seen` without requests.
pub(super) fn percent(share: Option<f64>) -> String {
    let Some(share) = share else { return "none seen".into() };
    let percent = share * 100.0;
    match percent {
        p if p <= 0.0 => "0 %".into(),
        p if p < 0.01 => format!("{p:.4} %"),
        p if p < 10.0 => format!("{p:.2} %"),
        p => format!("{p:.1} %"),
    }
}

/// `1,140`.
pub(super) fn grouped(number: u64) -> String {
    let digits = format!("{number}");
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `2.7` or `31`: a ratio as a person says it.
pub(super) fn times(ratio: f64) -> String {
    if ratio >= 20.0 { format!("{ratio:.0}") } else { format!("{}", libm::round(ratio * 100.0) / 100.0) }
}

/// `plausible ratio 0.51 to 1.79 x`, and what is known when one end is open.
pub(super) fn plausible(bounds: Bounds) -> String {
    match (bounds.lower > 0.0, bounds.upper) {
        (true, Some(upper)) => format!("plausible ratio {} to {} x", times(bounds.lower), times(upper)),
        (true, None) => format!("at least {} x as often as stable", times(bounds.lower)),
        (false, Some(upper)) => format!("at most {} x as often as stable", times(upper)),
        (false, None) => "nothing is known of the ratio yet".into(),
    }
}

/// `A healthy release would look this bad in fewer than 1 of 224 rollouts (1 of 100 is allowed)`.
pub(super) fn rarity(ln_evidence: f64, allowed_ppm: u32) -> String {
    let allowed = 1e6 / f64::from(allowed_ppm.max(1));
    format!(
        "a healthy release would look this bad in fewer than 1 of {} rollouts (1 of {} is allowed)",
        odds(ln_evidence),
        grouped(whole(allowed)),
    )
}

/// The same beside a verdict that is not against it.
pub(super) fn rarity_so_far(ln_evidence: f64) -> String {
    if ln_evidence < core::f64::consts::LN_2 {
        return "a healthy release looks like this".into();
    }
    format!("a healthy release would look this bad in fewer than 1 of {} rollouts", odds(ln_evidence))
}

/// `plausible 55.1 % to 66.9 %`.
pub(super) fn between((low, high): (f64, f64)) -> String {
    format!("plausible {} to {}", percent(Some(low)), percent(Some(high)))
}

fn odds(ln_evidence: f64) -> String {
    if ln_evidence >= libm::log(1e9) {
        return "a billion".into();
    }
    grouped(whole(libm::floor(libm::exp(ln_evidence.max(0.0)))))
}

/// A non-negative float as a whole number, at the nearest end where it has no place.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
pub(super) fn whole(number: f64) -> u64 {
    if number.is_nan() { 0 } else { libm::round(number).clamp(0.0, 9e15) as u64 }
}

/// Thousandths, signed.
#[expect(clippy::cast_possible_truncation, reason = "clamped to what fits")]
pub(super) fn milli(number: f64) -> i64 {
    if number.is_nan() { 0 } else { libm::round(number * 1_000.0).clamp(-9e15, 9e15) as i64 }
}
