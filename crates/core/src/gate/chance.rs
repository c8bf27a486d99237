//! How often a plain rule fails a release that is exactly as good as the stable one, or so many times worse: luck alone.

use tidegate_statistics::{Comparison, Exposure, RatioRule, Traffic, share_rule_failing};

use crate::model::Share;

/// The rule on errors, over `new` requests of the release and `stable` ones of the stable release, which fails `failed` of
/// its requests, more than 0 and less than 1; the release fails `ratio` times as many. Nothing without requests.
pub(crate) fn errors(
    (new, stable): (f64, f64),
    failed: f64,
    ratio: f64,
    ratio_max_bp: u32,
    floor: Share,
) -> Option<f64> {
    let both = new + stable;
    let exposure = Exposure::new(new / both, 1.0).ok()?;
    let traffic = Traffic::new(both, failed).ok()?;
    let rule = RatioRule { tolerated: f64::from(ratio_max_bp) / 10_000.0, comparison: Comparison::AtMost };
    let by_ratio = rule.failing_stage(traffic, ratio, exposure);
    let (floor, failing) = (part(floor), (failed * ratio).min(1.0));
    let by_floor = if floor > 0.0 { share_rule_failing(whole(new), failing, floor).ok()? } else { 1.0 };
    // Both limits must be exceeded; with one cause behind both, the rarer says how often.
    Some(by_ratio.min(by_floor))
}

/// The rule on a quantile, over `timed` requests of which a share of `slow` takes longer than the limit.
pub(crate) fn quantile(timed: u64, slow: f64, quantile_bp: u16) -> Option<f64> {
    let limit = f64::from(10_000_u16.checked_sub(quantile_bp)?) / 10_000.0;
    share_rule_failing(timed, slow, limit).ok()
}

/// The rule on the request rate, where requests are split as they were promised: at the same traffic, split request by
/// request, the stable release's part of both counts is a share as well.
pub(crate) fn rate((new, stable): (f64, f64), min: Share) -> Option<f64> {
    let (both, limit) = (new + stable, part(min) * new / stable);
    share_rule_failing(whole(both), stable / both, 1.0 / (1.0 + limit)).ok()
}

fn part(share: Share) -> f64 {
    f64::from(share.basis_points()) / 10_000.0
}

/// The nearest count.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn whole(number: f64) -> u64 {
    if number.is_nan() { 0 } else { libm::round(number).clamp(0.0, 9e15) as u64 }
}
