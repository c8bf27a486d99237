//! Bounds on a proportion, so that a few requests are not taken for many.

/// Standard normal quantile of the one-sided 99.95 % bound: what an early failure must exceed. A gate looked at every
/// second for a minute then turns back a release that sits exactly on the limit in fewer than one rollout of thirty,
/// and one clearly inside the limit practically never.
pub(super) const Z_EARLY: f64 = 3.29;

/// Standard normal quantile of the one-sided 95 % bound, for the baseline's side of a ratio.
pub(super) const Z_BASELINE: f64 = 1.645;

/// Wilson's score interval for `hits` of `trials` at `z` standard deviations (E. B. Wilson, JASA 22, 1927):
/// `(lower, upper)`, both in `0.0..=1.0`; `(0, 1)` without trials.
pub(super) fn wilson(hits: u64, trials: u64, z: f64) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let n = trials as f64;
    let p = hits.min(trials) as f64 / n;
    let z2 = z * z;
    let middle = p + z2 / (2.0 * n);
    let spread = z * libm::sqrt(p * (1.0 - p) / n + z2 / (4.0 * n * n));
    let scale = 1.0 + z2 / n;
    (((middle - spread) / scale).max(0.0), ((middle + spread) / scale).min(1.0))
}

/// The upper end of the Wilson interval of `hits` in `trials`, for a one-sided `z`.
pub(crate) fn wilson_upper(hits: u64, trials: u64, z: f64) -> f64 {
    wilson(hits, trials, z).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_match_published_values() {
        // Brown, Cai, DasGupta (2001) convention; 1 of 10 at 95 % two-sided is 0.0179 to 0.4042.
        let (low, high) = wilson(1, 10, 1.959_964);
        assert!((low - 0.017_876).abs() < 1e-5 && (high - 0.404_15).abs() < 1e-5, "{low} {high}");
        assert_eq!(wilson(0, 0, 3.0), (0.0, 1.0));
        assert!(wilson(0, 50, 3.29).0 < 1e-12 && wilson(50, 50, 3.29).1 > 1.0 - 1e-12);
    }
}
