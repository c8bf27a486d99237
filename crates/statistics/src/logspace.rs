//! Sums of numbers that are kept as their logarithms, and the normal distribution's tail.

use core::f64::consts::{LN_2, SQRT_2};

/// `ln(e^a + e^b)` without overflow; negative infinity stands for zero.
pub(crate) fn ln_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a >= b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + libm::log1p(libm::exp(low - high)) }
}

/// `ln Σ e^x` without overflow; negative infinity for an empty sum.
pub(crate) fn ln_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let high = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if !high.is_finite() {
        return high;
    }
    high + libm::log(values.map(|value| libm::exp(value - high)).sum())
}

/// The standard normal distribution function.
pub(crate) fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x / SQRT_2)
}

/// `x²/2 + ln Φ(x)`, which stays moderate where each part alone overflows or vanishes.
pub(crate) fn half_square_plus_ln_cdf(x: f64) -> f64 {
    if x > -25.0 {
        return x * x / 2.0 + libm::log(normal_cdf(x));
    }
    // Mills' ratio, Abramowitz & Stegun 7.1.23: exact to 1e-13 from here on.
    let z2 = x * x / 2.0;
    let series = 1.0
        - 1.0 / (2.0 * z2) * (1.0 - 3.0 / (2.0 * z2) * (1.0 - 5.0 / (2.0 * z2) * (1.0 - 7.0 / (2.0 * z2))));
    libm::log(series) - libm::log(libm::sqrt(z2) * 1.772_453_850_905_516) - LN_2
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these sums are exact")]
mod tests {
    use super::*;

    #[test]
    fn sums_of_logarithms_match_the_plain_sums() {
        assert!((ln_add(libm::log(3.0), libm::log(4.0)) - libm::log(7.0)).abs() < 1e-15);
        assert_eq!(ln_add(f64::NEG_INFINITY, 2.0), 2.0);
        assert_eq!(ln_add(f64::NEG_INFINITY, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert!((ln_sum([1e300, 1e300].into_iter()) - 1e300).abs() < 1.0);
        assert_eq!(ln_sum([].into_iter()), f64::NEG_INFINITY);
    }

    #[test]
    fn the_two_forms_of_the_normal_tail_meet() {
        let near = half_square_plus_ln_cdf(-24.999_999_999);
        let far = half_square_plus_ln_cdf(-25.000_000_001);
        assert!((near - far).abs() < 1e-8, "{near} {far}");
        assert!((normal_cdf(1.644_853_626_951_472_7) - 0.95).abs() < 1e-12);
        assert!(half_square_plus_ln_cdf(-1e150).is_finite());
    }
}
