//! The probability that a release is bad, given how often releases are, what was known before, and what the canary saw.

use serde::{Deserialize, Serialize};

use super::{
    factor::FactorKind,
    number::{Millionths, Points},
    prediction::FactorValues,
    score::Score,
};

/// The factors that are known before traffic. The canary's evidence comes in through the Bayes factor instead: counting
/// it in both places would count it twice.
pub(super) const BEFORE: [FactorKind; 5] = [
    FactorKind::Safety,
    FactorKind::BlastRadius,
    FactorKind::History,
    FactorKind::Complexity,
    FactorKind::Coverage,
];

/// The value at which a factor says nothing for or against: the score's own line of promotion.
const NEUTRAL: Points = Points::new(8_000);

/// How much ten points of pre-flight score move the log-odds, until that is fitted.
const PER_TEN_POINTS: f64 = 0.5;

/// How the probability before traffic follows from what is known then: log-odds `intercept + Σ slope·(value − 0.8)` over
/// the five factors before the canary. An absent factor takes the weighted mean of the known ones, which is what
/// renormalising the weights does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriorModel {
    /// Log-odds of a bad release whose pre-flight score is 80.
    pub intercept: Millionths,
    /// Change of the log-odds from value 0 to value 1, in the order safety, blast radius, history, complexity,
    /// coverage; never positive: more of a factor never makes a release worse.
    pub slopes: [Millionths; 5],
    /// Whether it was fitted to releases whose outcome is known; otherwise the specification's weights are all it has.
    pub calibrated: bool,
}

impl PriorModel {
    /// The model before any calibration: `logit(failure rate) + 0.5·(80 − preflight)/10`. The rate is the service's change
    /// failure rate in parts per million, clipped to 100 to 999,900: never and always cannot be learned away from.
    pub fn uncalibrated(failure_rate_ppm: u32) -> Self {
        let rate = f64::from(failure_rate_ppm.clamp(100, 999_900)) / 1e6;
        let whole: f64 = BEFORE.iter().map(|kind| f64::from(kind.weight())).sum();
        // Ten points are a tenth of the value range: `slope = −0.5 · 100 / 10 · weight / Σ weight`.
        let slopes = BEFORE.map(|kind| fixed(-PER_TEN_POINTS * 10.0 * f64::from(kind.weight()) / whole));
        Self { intercept: fixed(logit(rate)), slopes, calibrated: false }
    }

    /// The log-odds before traffic.
    pub(super) fn log_odds(&self, values: &FactorValues) -> f64 {
        let moved: f64 =
            self.slopes.iter().zip(centred(values)).map(|(slope, value)| slope.real() * value).sum();
        self.intercept.real() + moved
    }
}

/// A probability that the release is bad, and the confidence it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posterior {
    /// Probability of a bad release before traffic, in millionths.
    pub bad_before: Millionths,
    /// Natural logarithm of the Bayes factor of the canary's counts, bad against healthy; `None` before the canary.
    pub ln_bayes_factor: Option<Millionths>,
    /// Probability of a bad release now, in millionths.
    pub bad: Millionths,
    /// `100 · (1 − bad)`.
    pub confidence: Score,
    /// Whether the prior was fitted; otherwise this is "uncalibrated" and for comparison only.
    pub calibrated: bool,
}

/// Prior log-odds plus the logarithm of the Bayes factor. When one looked, and how often, does not bias it; a wrong prior
/// does, hence calibration.
pub fn posterior(
    model: &PriorModel,
    values: &FactorValues,
    ln_bayes_factor: Option<Millionths>,
) -> Posterior {
    let before = model.log_odds(values);
    let now = before + ln_bayes_factor.map_or(0.0, Millionths::real);
    let bad = logistic(now);
    Posterior {
        bad_before: fixed(logistic(before)),
        ln_bayes_factor,
        bad: fixed(bad),
        confidence: Score::round((100.0 * (1.0 - bad)).clamp(0.0, 100.0)).unwrap_or_default(),
        calibrated: model.calibrated,
    }
}

/// The five values before traffic, around the neutral one; the known ones' weighted mean for those that are absent, and
/// neutral when none is known.
pub(super) fn centred(values: &FactorValues) -> [f64; 5] {
    let known = BEFORE.iter().filter_map(|kind| values.get(*kind).map(|points| (kind.weight(), points)));
    let (sum, weight) = known.fold((0.0, 0.0), |(sum, weight), (w, points)| {
        (sum + f64::from(w) * points.fraction(), weight + f64::from(w))
    });
    let mean = if weight > 0.0 { sum / weight } else { NEUTRAL.fraction() };
    BEFORE.map(|kind| values.get(kind).map_or(mean, Points::fraction) - NEUTRAL.fraction())
}

/// `1 / (1 + e^(−x))`.
pub(super) fn logistic(log_odds: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-log_odds))
}

pub(super) fn logit(probability: f64) -> f64 {
    libm::log(probability) - libm::log1p(-probability)
}

/// Every caller's value is finite by construction; should one ever not be, 0 is the log-odds of "no idea".
pub(super) fn fixed(value: f64) -> Millionths {
    Millionths::round(value).unwrap_or_default()
}
