//! COMPARES: the statistics behind the gates. Is a new release worse than the stable one, is it proven not to be, what is
//! still plausible, and what could be known at this traffic at all?
//!
//! Every test here may be looked at as often as one likes, after every batch of data, and may act at once: its error
//! probability holds for **all looks together**. That is what makes it possible to turn a bad release back after two or
//! three failed requests without turning healthy ones back by chance.
//!
//! # How it works, in five sentences
//!
//! A batch is four whole numbers: requests and failures of both releases over the same interval ([`Pair`]). A test bets
//! against a hypothesis ("the new release fails at most 1.1 times as often"): it starts with a capital of one, and each
//! batch multiplies it by a factor whose expectation is at most one **if the hypothesis is true**. Such a capital reaches
//! `1/α` with a probability of at most `α`, ever (Ville 1939). So capital is evidence: 100 means that a healthy release
//! would look this bad in at most 1 of 100 rollouts. All functions speak of its natural logarithm, in *nats*: 4.6 is 100.
//!
//! # Reading order
//!
//! 1. [`Pair`], then [`RatioTest`]: the error gate, formulas (1) to (4).
//! 2. [`MirrorTest`] (may it be promoted?), [`RatioInterval`] (which ratios are plausible, and the posterior).
//! 3. [`AbsoluteTest`] (a share against a limit: `P95 < 500 ms`, ceilings, warm-up), [`LatencyTest`] (a whole
//!    distribution against another), [`MeanTest`] (gauges), [`RateRule`], [`ShareRule`] and [`SplitTest`] (requests against the share).
//! 4. [`Budget`]: one error probability for all gates of a rollout.
//! 5. [`Dispersion`] and [`InstanceSpread`]: what a service's own past says about bursts and unequal instances.
//! 6. [`Planner`], [`RatioRule`], [`worst_damage`]: before the rollout, and for plain threshold rules.
//! 7. [`RatioWatch`]: after promotion, with no planned end.
//!
//! # The formulas
//!
//! With `n`, `k` requests and failures of the new (`c`) and the stable release (`b`), a tolerated ratio `ρ0`, candidates
//! `ρ_j > ρ0` with weights `w_j`, and `π_t` the prior mass that a regression begins with batch `t`:
//!
//! ```text
//! x_j = k_c·ln(ρ_j/ρ0) − (k_c+k_b)·ln((ρ_j·n_c + n_b)/(ρ0·n_c + n_b))                      (1)
//! S_j ← (S_j + π_t)·exp(x_j/φ)                                                             (2)
//! E_t = Σ_j w_j·S_j + (1 − Σ_{u≤t} π_u)                                                    (3)
//! act when ln E_t ≥ ln(1/α)                                                                (4)
//! I   = N·p_b·[sρ·ln(ρ/ρ0) − (sρ+1−s)·ln((sρ+1−s)/(sρ0+1−s))]     nats per second           (5)
//! ```
//!
//! Why (1) is safe: put `y = (ρ0 n_c + n_b)/(ρ n_c + n_b)` and `x = (ρ/ρ0)·y`. If the counts are binomial and
//! `p_c ≤ ρ0·p_b`, then `E[x^k_c · y^k_b] ≤ exp(p_b·[ρ0 n_c (x−1) + n_b (y−1)]) = 1`, because `ρ0 n_c x + n_b y = ρ0 n_c + n_b`.
//! Nothing is assumed about `p_b`, about the split of traffic, or about when one looks.
//!
//! # What is and what is not promised
//!
//! * Exact for independent requests. With bursts it is exact when φ bounds their size, calibrated when φ is estimated.
//!   Gauges are calibrated only. Each type says which.
//! * Batches of random size carry less than batches split exactly: with the same traffic, a split drawn request by request
//!   takes up to a fifth longer to judge than a weighted round robin when one batch holds only a few requests.
//! * Pure: no clock, no dice, no input or output. `ln`, `exp` and `erfc` come from `libm`, not from the machine, so that a
//!   replay of the same batches gives the same bits everywhere. A stored state is read back to the last bit.
//! * No panics: numbers from outside are refused with a [`Fault`], or saturate as documented.
//!
//! # Sources
//!
//! Wald 1945, 1947; Ville 1939; Robbins 1970; Lorden 1971; Lai 1998; Howard et al. 2021 (Annals of
//! Statistics 49); Howard & Ramdas 2022 (Bernoulli 28); Vovk & Wang 2021 (Annals of Statistics 49); Wang, arXiv 2409.19888;
//! Shin, Ramdas, Rinaldo, *E-detectors*; Turner, Ly, Grünwald 2024; Turner & Grünwald, arXiv 2302.11401; Lindon & Malek
//! 2022, arXiv 2011.03567; Kulldorff et al. 2011; Theil 1950; Sen 1968. The grids, weights and priors are this project's
//! own; `tests/figures.rs` and `tests/vectors.rs` hold the figures they must reproduce.
#![no_std]

extern crate alloc;

mod absolute;
mod band;
mod budget;
mod dispersion;
mod exact;
mod fault;
mod gauge;
mod grid;
mod harm;
mod histogram;
mod interval;
mod latency;
mod leak;
mod logspace;
mod mirror;
mod mixture;
mod onset;
mod pair;
mod power;
mod rate;
mod ratio;
mod reach;
mod threshold;
mod watch;

pub use absolute::{AbsoluteTest, Bracket, WARM_UP_LIMIT};
pub use band::band_half_width;
pub use budget::{Budget, Measure, Merged, one_in};
pub use dispersion::{BATCHES_MIN, Dispersion, INSTANCES_MIN, InstanceSpread};
pub use fault::Fault;
pub use gauge::{Cost, MeanTest, Noise, SAMPLES_MIN, ln_cost_ratio};
pub use harm::{BUDGET_PART, PERSON_S, monthly_error_budget, worst_damage};
pub use histogram::{Histogram, Layout, native_edge};
pub use interval::{Bounds, RatioInterval};
pub use latency::{EDGES_MAX, LatencyTest, Margin};
pub use leak::{POINTS_MIN, slope, time_to_limit};
pub use mirror::{BAD_RATIO, BAD_RATIO_CRITICAL, BAD_RATIO_LOW, MirrorTest};
pub use onset::OnsetPrior;
pub use pair::{Arm, Pair};
pub use power::{Detection, Exposure, Planner, SHIPPED_SLOWDOWN, Traffic, requests_to_decide, wald_nats};
pub use rate::{EXPECTED_MIN, RateReading, RateRule, SplitTest, WINDOWS};
pub use ratio::{FloorTest, RatioSettings, RatioTest};
pub use reach::{ShareReading, ShareRule, Split};
pub use threshold::{Comparison, RatioRule, share_rule_failing};
pub use watch::RatioWatch;
