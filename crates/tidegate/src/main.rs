//! Tidegate: takes a release to production and proves that it is healthy there.
mod config;
mod demo;

fn main() {}
