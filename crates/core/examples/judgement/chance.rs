//! Seeded lots.

use std::f64::consts::TAU;

use fastrand::Rng;
use libm::lgamma;

/// Mean from which Poisson draws are made by rejection.
const LARGE: f64 = 10.0;

/// The lots of one run. All draws are exact, up to the rounding of the machine's numbers.
pub(crate) struct Dice(Rng);

impl Dice {
    /// The lots of run number `run` of the scenario `lane`: the same in whatever order and on however many threads the
    /// runs are made.
    pub(crate) fn new(seed: u64, lane: &str, run: u64) -> Self {
        // FNV-1a over everything that names the run; wyrand mixes the rest.
        let words = seed.to_le_bytes().into_iter().chain(lane.bytes()).chain(run.to_le_bytes());
        let hash = words.fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        Self(Rng::with_seed(hash))
    }

    /// Between 0 and 1, never 0.
    pub(crate) fn unit(&mut self) -> f64 {
        1.0 - self.0.f64()
    }

    /// A Poisson draw: by multiplication below a mean of 10, else by transformed rejection (Hörmann 1993, PTRS).
    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        if mean <= 0.0 {
            return 0;
        }
        if mean >= LARGE {
            return self.poisson_large(mean);
        }
        let (stop, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > stop {
            product *= self.unit();
            count += 1;
        }
        count
    }

    fn poisson_large(&mut self, mean: f64) -> u64 {
        let b = 0.931 + 2.53 * mean.sqrt();
        let a = -0.059 + 0.02483 * b;
        let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
        let accepted = 0.9277 - 3.6224 / (b - 2.0);
        loop {
            let (u, v) = (self.unit() - 0.5, self.unit());
            let room = 0.5 - u.abs();
            let count = ((2.0 * a / room + b) * u + mean + 0.43).floor();
            if room >= 0.07 && v <= accepted {
                return whole(count);
            }
            if count < 0.0 || (room < 0.013 && v > room) {
                continue;
            }
            let hat = v.ln() + inverse_alpha.ln() - (a / (room * room) + b).ln();
            if hat <= count * mean.ln() - mean - lgamma(count + 1.0) {
                return whole(count);
            }
        }
    }

    /// How many of `trials` hit when each hits with probability `share`: jumps from hit to hit.
    pub(crate) fn binomial(&mut self, trials: u64, share: f64) -> u64 {
        if share > 0.5 {
            return trials - self.binomial(trials, 1.0 - share);
        }
        if share <= 0.0 {
            return 0;
        }
        let (mut at, mut count, per_trial) = (0.0, 0, (-share).ln_1p());
        loop {
            at += (self.unit().ln() / per_trial).floor() + 1.0;
            if at > trials as f64 {
                return count;
            }
            count += 1;
        }
    }

    /// A geometric size with this mean, 1 or more.
    pub(crate) fn cluster(&mut self, mean: f64) -> u64 {
        if mean <= 1.0 { 1 } else { 1 + whole((self.unit().ln() / (-1.0 / mean).ln_1p()).floor()) }
    }

    /// A standard normal draw (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (TAU * self.unit()).cos()
    }
}

/// The nearest count; what is below 0 or not a number becomes 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, as it should")]
pub(crate) const fn whole(value: f64) -> u64 {
    value.round() as u64
}
