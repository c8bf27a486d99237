//! The shadow gate: answers to copies of users' requests against the answers that the users got.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::fmt::Write;

use tidegate_statistics::{AbsoluteTest, Arm, OnsetPrior};

use super::{
    seat::{Answer, Standing},
    settings::Settings,
    words,
};
use crate::{gate::Mirrored, model::Share};

/// What is compared, in the order of the limits.
const WHAT: [&str; 3] = ["failed or had another status", "had another body", "were slower"];

/// Pairs shown in a reason at most.
const EXAMPLES: usize = 3;

/// The three shares, each with its process. The mean of their evidence counts.
#[derive(Clone, Debug)]
pub(super) struct Compared {
    limits: [Share; 3],
    tests: [AbsoluteTest; 3],
    seen: Mirrored,
}

impl Compared {
    /// Nothing when a limit is no share that can be exceeded.
    pub(super) fn new(settings: &Settings, limits: [Share; 3], onset: OnsetPrior) -> Option<Self> {
        let test = |limit: Share| {
            let limit = (f64::from(limit.basis_points()) / 10_000.0).clamp(1e-4, 0.99);
            AbsoluteTest::new(limit, settings.dispersion(), onset).ok()
        };
        let [status, body, slower] = limits;
        let tests = [test(status)?, test(body)?, test(slower)?];
        Some(Self { limits, tests, seen: Mirrored::default() })
    }

    pub(super) fn take(&mut self, mirrored: Option<&Mirrored>) {
        let Some(mirrored) = mirrored else { return };
        for ((test, limit), hits) in self.tests.iter_mut().zip(self.limits).zip(hits(mirrored)) {
            // Where everything may differ there is nothing to find.
            let hits = if limit.is_all() { 0 } else { hits };
            test.observe(Arm::new(mirrored.copies, hits.min(mirrored.copies)).unwrap_or(Arm::EMPTY));
        }
        let seen = &mut self.seen;
        seen.copies = seen.copies.saturating_add(mirrored.copies);
        seen.failed = seen.failed.saturating_add(mirrored.failed);
        seen.status_differs = seen.status_differs.saturating_add(mirrored.status_differs);
        seen.body_differs = seen.body_differs.saturating_add(mirrored.body_differs);
        seen.slower = seen.slower.saturating_add(mirrored.slower);
        if !mirrored.examples.is_empty() {
            seen.examples.clone_from(&mirrored.examples);
        }
    }

    pub(super) fn ln_against(&self) -> f64 {
        let [a, b, c] = self.tests.each_ref().map(AbsoluteTest::ln_fail);
        let most = a.max(b).max(c);
        most + libm::log((libm::exp(a - most) + libm::exp(b - most) + libm::exp(c - most)) / 3.0)
    }

    pub(super) fn answer(&self, min_copies: u64) -> Answer {
        if self.seen.copies == 0 {
            return Answer::plain(Standing::Absent, "no answer to a copy was compared with a user's".into());
        }
        let most = |limit: &Share| f64::from(limit.basis_points()) / 10_000.0;
        let inside =
            self.limits.iter().zip(hits(&self.seen)).all(|(limit, hits)| self.share(hits) <= most(limit));
        let enough = self.seen.copies >= min_copies;
        let standing = match (enough, inside) {
            (true, true) => Standing::Passed,
            (true, false) => Standing::Undecided,
            (false, _) => Standing::Absent,
        };
        Answer::plain(standing, self.counted())
    }

    pub(super) fn fault(&self, settings: &Settings, ln_against: f64) -> String {
        let shown = telling(&self.seen.examples);
        let shown =
            if shown.is_empty() { String::new() } else { format!("; for example {}", shown.join(", ")) };
        format!("{}{shown}; {}", self.counted(), words::rarity(ln_against, settings.false_rollback_ppm))
    }

    fn counted(&self) -> String {
        let mut text = format!("of {} copies", words::grouped(self.seen.copies));
        for ((what, hits), limit) in WHAT.iter().zip(hits(&self.seen)).zip(self.limits) {
            // Writing to a string never fails.
            let _ = write!(
                text,
                " {} {what} ({}, {limit} may),",
                words::grouped(hits),
                words::percent(Some(self.share(hits))),
            );
        }
        text.pop();
        text
    }

    fn share(&self, hits: u64) -> f64 {
        hits as f64 / self.seen.copies.max(1) as f64
    }
}

/// Examples that differ, the newest first, and one of every kind before two of one: a kind is what follows the last colon,
/// as `200/500` or `body differs`.
fn telling(examples: &[String]) -> Vec<&str> {
    let mut distinct: Vec<&str> = Vec::new();
    for one in examples.iter().rev() {
        if !distinct.contains(&one.as_str()) {
            distinct.push(one);
        }
    }
    let kind = |one: &str| one.rsplit_once(": ").map_or(one, |(_, what)| what).to_owned();
    let is_first = |at: usize| {
        let earlier = distinct.iter().take(at);
        distinct.get(at).is_some_and(|one| earlier.into_iter().all(|before| kind(before) != kind(one)))
    };
    let (first, more): (Vec<usize>, Vec<usize>) = (0..distinct.len()).partition(|at| is_first(*at));
    first.into_iter().chain(more).filter_map(|at| distinct.get(at).copied()).take(EXAMPLES).collect()
}

const fn hits(mirrored: &Mirrored) -> [u64; 3] {
    [mirrored.failed.saturating_add(mirrored.status_differs), mirrored.body_differs, mirrored.slower]
}
