//! What the score as a whole promises.

mod examples;
mod learning;
mod promises;
