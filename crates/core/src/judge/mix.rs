//! Two processes that share one gate's evidence.

/// The mean of the evidence of two processes in nats, of which the second has this `part`, more than 0 and less than 1: as
/// valid as both are, whatever they have in common.
pub(super) fn mixed(first: f64, second: f64, part: f64) -> f64 {
    let (first, second) = (first + libm::log(1.0 - part), second + libm::log(part));
    let (more, less) = if first > second { (first, second) } else { (second, first) };
    if less.is_finite() { more + libm::log1p(libm::exp(less - more)) } else { more }
}
