//! The Beta distribution: how sure a share is that was seen so often.

/// Steps of the continued fraction; it needs about the square root of the larger parameter, at most some hundreds here.
const STEPS_MAX: u32 = 500;
/// Halvings of the interval: beyond a basis point many times over.
const HALVINGS: u32 = 60;

/// The point below which `probability` of a Beta(`a`, `b`) lies, 0 to 1. Both parameters must be above 0; otherwise
/// there is no such distribution and the answer is `None`.
pub(super) fn quantile(a: f64, b: f64, probability: f64) -> Option<f64> {
    let usable = a > 0.0 && b > 0.0 && a.is_finite() && b.is_finite() && (0.0..=1.0).contains(&probability);
    if !usable {
        return None;
    }
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if below(a, b, middle) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(f64::midpoint(low, high))
}

/// The regularised incomplete beta function: the probability of a Beta(`a`, `b`) below `x` (Press et al., Numerical
/// Recipes, section 6.4).
fn below(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let ln_front =
        libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * libm::log(x) + b * libm::log1p(-x);
    let front = libm::exp(ln_front);
    // The fraction converges fast on one side of the mean only; on the other the mirror image is used.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(a, b, x) / a
    } else {
        1.0 - front * fraction(b, a, 1.0 - x) / b
    }
}

/// The continued fraction of the incomplete beta function, by Lentz's method.
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    let mut upper = 1.0;
    let mut lower = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut product = lower;
    for step in 1..=STEPS_MAX {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            lower = 1.0 / away_from_zero(1.0 + term * lower);
            upper = away_from_zero(1.0 + term / upper);
            change = lower * upper;
            product *= change;
        }
        if (change - 1.0).abs() < 1e-14 {
            break;
        }
    }
    product
}

/// Lentz's method divides by both ends of the fraction; a zero there is a removable one.
fn away_from_zero(value: f64) -> f64 {
    if value.abs() < 1e-300 { 1e-300 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_match_closed_forms() {
        // Beta(1, n): P(X < x) = 1 − (1 − x)^n; Beta(n, 1): x^n; Beta(½, ½) is the arcsine law.
        for (a, b, p, expected) in [
            (1.0, 1.0, 0.05, 0.05),
            (1.0, 59.0, 0.95, 1.0 - libm::pow(0.05, 1.0 / 59.0)),
            (40.0, 1.0, 0.05, libm::pow(0.05, 1.0 / 40.0)),
            (0.5, 0.5, 0.25, 0.146_446_609_406_726_2),
            (8.0, 8.0, 0.5, 0.5),
        ] {
            let got = quantile(a, b, p).unwrap();
            assert!((got - expected).abs() < 1e-9, "Beta({a}, {b}) at {p}: {got}, not {expected}");
        }
        assert_eq!(quantile(0.0, 1.0, 0.5), None);
        assert_eq!(quantile(f64::NAN, 1.0, 0.5), None);
    }
}
