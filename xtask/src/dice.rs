//! Repeatable dice.

/// `SplitMix64` (Steele, Lea, Flood 2014): the same seed rolls the same numbers on every machine.
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice of this seed; `lane` keeps threads of one run apart.
    pub(crate) const fn new(seed: u64, lane: u64) -> Self {
        Self(seed ^ lane.wrapping_mul(0xA076_1D64_78BD_642F))
    }

    /// A number below `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }

    /// One of some things; `None` when there are none.
    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let at = self.below(of.len() as u64);
        usize::try_from(at).ok().and_then(|at| of.get(at))
    }
}
