//! Patch coverage: how much of what was changed the tests run.

use alloc::{format, vec};

use super::{
    factor::{Absence, Fact, Factor, FactorKind},
    number::Points,
};

/// The share of changed lines at which more coverage says no more.
const ENOUGH: Points = Points::new(8_000);

/// `min(1, coverage / 80 %)`, where coverage is `covered` of `coverable` added or changed lines. Absent, neither 0 nor
/// 1, when no coverable line was changed. Coverage of a whole project says little about failures after release (Kochhar
/// et al. 2017); coverage of the change is the variant that can be defended, which is why it weighs 10 %.
pub fn patch_coverage(covered: u64, coverable: u64) -> Factor {
    let covered = covered.min(coverable);
    let Some(share) = Points::ratio(covered, coverable) else {
        let reason = "the change has no line that a test could run";
        return Factor::absent(FactorKind::Coverage, Absence::NotApplicable, reason);
    };
    let enough = u128::from(coverable) * u128::from(ENOUGH.basis_points());
    let reached = u128::from(covered) * 10_000;
    let value = if reached >= enough {
        Points::FULL
    } else {
        u16::try_from((reached * 20_000 + enough) / (enough * 2)).map_or(Points::FULL, Points::new)
    };
    let evidence = vec![
        Fact::count("changed_lines_covered", covered),
        Fact::count("changed_lines_coverable", coverable),
        Fact::points("patch_coverage", share),
    ];
    let reason = format!(
        "tests run {covered} of the {coverable} changed lines that can be run ({share}; {ENOUGH} is enough)"
    );
    Factor::known(FactorKind::Coverage, value, evidence, reason)
}
