//! Tidegate: one binary.
fn main() {}
