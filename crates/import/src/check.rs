//! x
use crate::Source;
/// x
pub fn check(_: &[Source]) -> Vec<tidegate_yaml::finding::Finding> {
    Vec::new()
}
