//! Axes: where a value lies, and which values are written beside it.

/// Values written beside an axis at most.
const TICKS_MAX: usize = 7;

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Evenly from the first to the second.
    Even(f64, f64),
    /// By their logarithm; both more than 0.
    Logarithmic(f64, f64),
}

impl Scale {
    /// From 0 at the beginning of the axis to 1 at its end; what lies beyond is at the end.
    pub(super) fn part(self, value: f64) -> f64 {
        let (from, to, value) = match self {
            Self::Even(from, to) => (from, to, value),
            Self::Logarithmic(from, to) => (from.ln(), to.ln(), value.max(f64::MIN_POSITIVE).ln()),
        };
        if to > from && value.is_finite() { ((value - from) / (to - from)).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Round values for its labels, rising.
    pub(super) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Even(from, to) => even(from, to),
            Self::Logarithmic(from, to) => logarithmic(from, to),
        }
    }
}

/// One, two or five times a power of ten apart.
fn even(from: f64, to: f64) -> Vec<f64> {
    let span = to - from;
    if span <= 0.0 || !span.is_finite() {
        return vec![from];
    }
    let power = 10_f64.powf((span / TICKS_MAX as f64).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * power)
        .into_iter()
        .find(|step| span / step <= TICKS_MAX as f64);
    let step = step.unwrap_or(span);
    multiples(from, to, step)
}

/// Seconds: steps that clocks have.
pub(super) fn seconds(to: f64) -> Vec<f64> {
    const STEPS: [f64; 16] = [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0,
        21_600.0, 86_400.0,
    ];
    let step = STEPS.into_iter().find(|step| to / step <= TICKS_MAX as f64).unwrap_or(to / TICKS_MAX as f64);
    multiples(0.0, to, step)
}

fn multiples(from: f64, to: f64, step: f64) -> Vec<f64> {
    let first = (from / step).ceil();
    (0..=2 * TICKS_MAX)
        .map(|n| (first + n as f64) * step)
        .take_while(|tick| *tick <= to * (1.0 + 1e-9))
        .collect()
}

/// Powers of ten, with their doubles and fives while there are few.
fn logarithmic(from: f64, to: f64) -> Vec<f64> {
    let of = |times: &[f64]| -> Vec<f64> {
        let powers = (-12..=12).map(|power| 10_f64.powi(power));
        powers
            .flat_map(|power| times.iter().map(move |times| power * times))
            .filter(|tick| (from * 0.999..=to * 1.001).contains(tick))
            .collect()
    };
    let fine = of(&[1.0, 2.0, 5.0]);
    if fine.len() <= TICKS_MAX + 3 { fine } else { of(&[1.0]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_round_and_few() {
        assert_eq!(even(0.0, 47.0), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(even(3.0, 3.0), [3.0]);
        assert_eq!(seconds(200.0), [0.0, 30.0, 60.0, 90.0, 120.0, 150.0, 180.0]);
        let near = |ticks: Vec<f64>, expected: &[f64]| {
            assert!(
                ticks.len() == expected.len()
                    && ticks.iter().zip(expected).all(|(a, b)| (a / b - 1.0).abs() < 1e-9),
                "{ticks:?}"
            );
        };
        near(logarithmic(1.0, 100.0), &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        near(logarithmic(0.001, 1_000.0), &[0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1_000.0]);
    }

    #[test]
    fn no_value_leaves_its_axis() {
        for scale in [Scale::Even(0.0, 10.0), Scale::Logarithmic(0.1, 100.0), Scale::Even(1.0, 1.0)] {
            for value in [-1e300, -1.0, 0.0, 0.5, 3.0, 1e300, f64::INFINITY, f64::NAN] {
                assert!((0.0..=1.0).contains(&scale.part(value)), "{scale:?} {value}");
            }
        }
        assert!((Scale::Logarithmic(0.1, 10.0).part(1.0) - 0.5).abs() < 1e-12);
    }
}
