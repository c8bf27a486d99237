//! Counters of several instances, added up over their restarts.
//!
//! Raw counters are differenced here and nowhere else: no rate that reaches back before the stage, and nothing lost before an
//! instance's first sample.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::{
    expression::Unit,
    model::{Millis, Timestamp},
};

use super::{
    answer::{Labels, counter, named},
    fault::FaultKind,
    histogram::{Histogram, Scheme, coarser, doublings, rise},
};

/// Most instances of one tally, and most series that one instance ever showed.
pub(super) const SERIES_MAX: usize = 10_000;
/// Most different bucket edges of one tally.
const EDGES_MAX: usize = 10_000;

/// Where an instance's counters began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// Its instances were started by this rollout: their first sample counts from zero. Leaving it out would hide just a
    /// canary's first errors.
    Here,
    /// They ran before: the first sample is only where counting starts.
    Before,
}

/// What one instance showed at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) requests: Vec<(Labels, f64, Option<Timestamp>)>,
    pub(super) failures: Vec<(Labels, f64, Option<Timestamp>)>,
    pub(super) latency: Vec<Histogram>,
}

/// Cumulative counters of one release since its tally began: facts with their times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Requests ended.
    pub requests: u64,
    /// Of those, failed.
    pub failures: u64,
    /// Upper edges in microseconds (`u64::MAX` for infinite) and counts, edges rising, counts not cumulative: every edge of a
    /// classic histogram, of a native one those that ever counted. [`Tally::latencies`] makes two releases comparable.
    pub latency_us: Vec<(u64, u64)>,
    /// Time of the newest sample of any instance.
    pub newest: Option<Timestamp>,
    /// The oldest among the instances' newest samples: an instance that no longer reports holds it back.
    pub oldest: Option<Timestamp>,
    /// Instances ever seen.
    pub instances: usize,
    /// Series of failures ever seen. Zero is what a service without failures shows, and also a misspelt selector.
    pub failure_series: usize,
    /// Times an instance began to count anew.
    pub resets: u64,
}

/// Adds up one release's counters. Showing it the same sample twice changes nothing.
#[derive(Clone, Debug)]
pub struct Tally {
    birth: Birth,
    since: Timestamp,
    unit: Unit,
    instances: BTreeMap<String, Seen>,
    requests: f64,
    failures: f64,
    latency: BTreeMap<u64, u64>,
    scheme: Scheme,
    failure_series: BTreeSet<Labels>,
    resets: u64,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    at: Timestamp,
    /// Time from the sample before to this one.
    gap: Option<Millis>,
    requests: BTreeMap<Labels, f64>,
    failures: BTreeMap<Labels, f64>,
    latency: BTreeMap<Labels, BTreeMap<u64, u64>>,
}

impl Seen {
    /// Series ever seen, these included.
    fn series_with(&self, shown: &Snapshot) -> usize {
        let added = |map: &BTreeMap<Labels, f64>, now: &[(Labels, f64, Option<Timestamp>)]| {
            map.len() + now.iter().filter(|(labels, ..)| !map.contains_key(labels)).count()
        };
        let histograms = shown.latency.iter().filter(|h| !self.latency.contains_key(&h.labels)).count();
        added(&self.requests, &shown.requests)
            + added(&self.failures, &shown.failures)
            + self.latency.len()
            + histograms
    }
}

impl Tally {
    /// An empty tally of a release whose rollout began at `since`. A series that says that it was created later than that
    /// counts from zero whatever `birth` is. `unit` is the latency histogram's.
    pub fn new(birth: Birth, since: Timestamp, unit: Unit) -> Self {
        Self {
            birth,
            since,
            unit,
            instances: BTreeMap::new(),
            requests: 0.0,
            failures: 0.0,
            latency: BTreeMap::new(),
            scheme: Scheme::Unknown,
            failure_series: BTreeSet::new(),
            resets: 0,
        }
    }

    /// What has been counted.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sums of checked counters, never negative"
    )]
    pub fn counters(&self) -> Counters {
        Counters {
            requests: self.requests.round() as u64,
            failures: self.failures.round() as u64,
            latency_us: listed(&self.latency),
            newest: self.instances.values().map(|i| i.at).max(),
            oldest: self.instances.values().map(|i| i.at).min(),
            instances: self.instances.len(),
            failure_series: self.failure_series.len(),
            resets: self.resets,
        }
    }

    /// When the instance that was sampled last is sampled again, and the time between two of its samples; nothing before its second.
    pub fn expected(&self) -> Option<(Timestamp, Millis)> {
        let last = self.instances.values().max_by_key(|seen| seen.at)?;
        Some((last.at.after(last.gap?), last.gap?))
    }

    /// The latencies of two releases as in [`Counters::latency_us`], with the same edges wherever both have them: a native
    /// histogram leaves its empty buckets out, and an edge that only one release ever counted at is one of both. Classic
    /// histograms with different edges keep them, as nobody knows what lies between.
    pub fn latencies(new: &Self, stable: &Self) -> [Vec<(u64, u64)>; 2] {
        let tallies = [new, stable];
        let Scheme::Native(schema) = new.scheme.with(stable.scheme) else {
            return tallies.map(|tally| listed(&tally.latency));
        };
        let mut both = tallies.map(|tally| match tally.scheme {
            Scheme::Native(own) if own > schema => coarser(&tally.latency, tally.unit, schema),
            Scheme::Native(_) | Scheme::Listed | Scheme::Unknown => tally.latency.clone(),
        });
        let doublings = doublings(new.unit).filter(|_| schema >= 0);
        let edges: BTreeSet<u64> = both.iter().flat_map(BTreeMap::keys).copied().chain(doublings).collect();
        for (tally, latency) in tallies.iter().zip(&mut both) {
            for edge in edges.iter().filter(|_| tally.scheme != Scheme::Unknown) {
                latency.entry(*edge).or_default();
            }
        }
        both.map(|latency| listed(&latency))
    }

    /// Takes in what an instance showed; all of it or, with a fault, nothing.
    pub(super) fn observe(
        &mut self,
        instance: &str,
        at: Timestamp,
        shown: &Snapshot,
    ) -> Result<(), FaultKind> {
        let known = self.instances.get(instance);
        if known.is_some_and(|seen| at <= seen.at) {
            return Ok(());
        }
        let series = shown.requests.len() + shown.failures.len() + shown.latency.len();
        if series > SERIES_MAX || (known.is_none() && self.instances.len() >= SERIES_MAX) {
            return Err(FaultKind::TooMany(SERIES_MAX));
        }
        for (labels, value, _) in shown.requests.iter().chain(&shown.failures) {
            counter(*value, &named(labels))?;
        }
        let scheme =
            shown.latency.iter().fold(self.scheme, |scheme, histogram| scheme.with(histogram.scheme()));
        let latency: Vec<BTreeMap<u64, u64>> =
            shown.latency.iter().map(|histogram| self.buckets(histogram, scheme)).collect();
        let edges: BTreeSet<&u64> =
            self.latency.keys().chain(latency.iter().flat_map(BTreeMap::keys)).collect();
        if edges.len() > EDGES_MAX || known.is_some_and(|seen| seen.series_with(shown) > SERIES_MAX) {
            return Err(FaultKind::TooMany(SERIES_MAX));
        }
        // A series that is new in a known instance began with its first event.
        let from_zero = known.is_some() || self.birth == Birth::Here;
        let gap = known.map(|seen| at.since(seen.at));
        let since = self.since;
        let born = |created: Option<Timestamp>| from_zero || created.is_some_and(|at| at >= since);
        self.become_coarser(scheme);
        let mut seen = self.instances.remove(instance).unwrap_or_default();
        (seen.at, seen.gap) = (at, gap);
        let (requests, fell) = risen(&mut seen.requests, &shown.requests, born);
        let (failures, _) = risen(&mut seen.failures, &shown.failures, born);
        self.requests += requests;
        self.failures += failures;
        self.resets += u64::from(fell);
        for (histogram, now) in shown.latency.iter().zip(latency) {
            let added = match seen.latency.get(&histogram.labels) {
                Some(before) => rise(before, &now).unwrap_or_else(|| now.clone()),
                None if born(histogram.created) => now.clone(),
                // Nothing is counted, but its edges are known.
                None => now.keys().map(|edge| (*edge, 0)).collect(),
            };
            for (edge, count) in added {
                let total = self.latency.entry(edge).or_default();
                *total = total.saturating_add(count);
            }
            seen.latency.insert(histogram.labels.clone(), now);
        }
        let room = SERIES_MAX.saturating_sub(self.failure_series.len());
        self.failure_series.extend(shown.failures.iter().map(|(labels, ..)| labels.clone()).take(room));
        self.instances.insert(instance.to_owned(), seen);
        Ok(())
    }

    /// A histogram's buckets, in the schema of all where they are native ones.
    fn buckets(&self, histogram: &Histogram, scheme: Scheme) -> BTreeMap<u64, u64> {
        let buckets = histogram.microseconds(self.unit);
        match (scheme, histogram.schema) {
            (Scheme::Native(schema), Some(own)) if own > schema => coarser(&buckets, self.unit, schema),
            (Scheme::Native(_) | Scheme::Listed | Scheme::Unknown, _) => buckets,
        }
    }

    /// What was counted in finer buckets than the newest histogram has is counted in its buckets from now on.
    fn become_coarser(&mut self, scheme: Scheme) {
        if let (Scheme::Native(own), Scheme::Native(schema)) = (self.scheme, scheme)
            && own > schema
        {
            self.latency = coarser(&self.latency, self.unit, schema);
        }
        self.scheme = scheme;
    }
}

fn listed(latency: &BTreeMap<u64, u64>) -> Vec<(u64, u64)> {
    latency.iter().map(|(edge, count)| (*edge, *count)).collect()
}

/// The sum of all rises, and whether some counter fell: then it counted from zero since.
fn risen(
    before: &mut BTreeMap<Labels, f64>,
    now: &[(Labels, f64, Option<Timestamp>)],
    born: impl Fn(Option<Timestamp>) -> bool,
) -> (f64, bool) {
    let (mut sum, mut fell) = (0.0, false);
    for (labels, value, created) in now {
        sum += match before.insert(labels.clone(), *value) {
            Some(last) if *value >= last => value - last,
            Some(_) => {
                fell = true;
                *value
            }
            None if born(*created) => *value,
            None => 0.0,
        };
    }
    (sum, fell)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(requests: f64, failures: Option<f64>, created: Option<Timestamp>) -> Snapshot {
        let labels = |name: &str| Labels::from([("__name__".to_owned(), name.to_owned())]);
        let failures = failures.map(|value| (labels("failed"), value, created));
        Snapshot {
            requests: vec![(labels("requests"), requests, created)],
            failures: failures.into_iter().collect(),
            latency: Vec::new(),
        }
    }

    fn tally(birth: Birth) -> Tally {
        Tally::new(birth, Timestamp(1_000), Unit::Seconds)
    }

    fn both(tally: &Tally) -> (u64, u64) {
        (tally.counters().requests, tally.counters().failures)
    }

    #[test]
    fn the_first_sample_of_a_canary_counts_from_zero_and_of_an_old_instance_does_not() {
        for (birth, created, counted) in [
            (Birth::Here, None, (40, 9)),
            (Birth::Before, None, (0, 0)),
            (Birth::Before, Some(Timestamp(2_000)), (40, 9)),
            (Birth::Before, Some(Timestamp(500)), (0, 0)),
        ] {
            let mut tally = tally(birth);
            tally.observe("a", Timestamp(3_000), &shown(40.0, Some(9.0), created)).unwrap();
            assert_eq!(both(&tally), counted, "{birth:?} {created:?}");
        }
    }

    #[test]
    fn restarts_instances_and_repeats_add_up_to_what_happened() {
        let mut tally = tally(Birth::Before);
        tally.observe("a", Timestamp(1), &shown(100.0, None, None)).unwrap();
        tally.observe("b", Timestamp(1), &shown(50.0, None, None)).unwrap();
        tally.observe("a", Timestamp(2), &shown(110.0, Some(3.0), None)).unwrap();
        assert_eq!(both(&tally), (10, 3), "the series of failures is born with the first failure");
        tally.observe("a", Timestamp(2), &shown(110.0, Some(3.0), None)).unwrap();
        tally.observe("a", Timestamp(1), &shown(100.0, None, None)).unwrap();
        assert_eq!(both(&tally), (10, 3), "repeated and late news change nothing");
        tally.observe("a", Timestamp(3), &shown(4.0, Some(1.0), None)).unwrap();
        tally.observe("b", Timestamp(4), &shown(51.0, None, None)).unwrap();
        let counters = tally.counters();
        assert_eq!((counters.requests, counters.failures, counters.resets), (15, 4, 1));
        assert_eq!((counters.newest, counters.oldest), (Some(Timestamp(4)), Some(Timestamp(3))));
        assert_eq!((counters.instances, counters.failure_series), (2, 1));
    }

    #[test]
    fn a_bad_counter_is_a_fault_and_changes_nothing() {
        let mut tally = tally(Birth::Here);
        for (bad, code) in
            [(f64::NAN, "not_a_number"), (-1.0, "negative"), (f64::INFINITY, "infinite"), (1e17, "huge")]
        {
            let fault = tally.observe("a", Timestamp(2), &shown(5.0, Some(bad), None)).unwrap_err();
            assert_eq!(fault.code(), code);
            assert!(fault.to_string().contains("failed"), "{fault}");
        }
        assert_eq!(tally.counters(), Counters::default());
    }

    #[test]
    fn series_that_come_and_go_without_end_are_a_fault() {
        let mut tally = tally(Birth::Here);
        let mut refused = None;
        for at in 1..20 {
            let named = |n: usize| (Labels::from([("id".to_owned(), format!("{at}-{n}"))]), 1.0, None);
            let shown = Snapshot { requests: (0..1_000).map(named).collect(), ..Snapshot::default() };
            refused = refused.or(tally.observe("a", Timestamp(at), &shown).err().map(|fault| (at, fault)));
        }
        assert_eq!(refused, Some((11, FaultKind::TooMany(SERIES_MAX))));
        assert_eq!(both(&tally), (10_000, 0));
    }

    fn timed(histogram: Histogram) -> Snapshot {
        Snapshot {
            requests: vec![(Labels::new(), 1.0, None)],
            latency: vec![histogram],
            ..Snapshot::default()
        }
    }

    fn native(buckets: &[(f64, u64)], schema: i8) -> Snapshot {
        let count = buckets.iter().map(|(_, count)| count).sum();
        timed(
            Histogram::native(Labels::new(), Timestamp(1), None, buckets.to_vec(), count, Some(schema))
                .unwrap(),
        )
    }

    #[test]
    fn a_classic_histogram_shows_every_edge_before_anything_was_counted_at_it() {
        let shown = |fast: f64, all: f64| {
            let buckets = vec![(0.1, fast), (0.5, fast), (f64::INFINITY, all)];
            timed(Histogram::classic(Labels::new(), Timestamp(1), None, buckets).unwrap())
        };
        let (mut new, mut stable) = (tally(Birth::Here), tally(Birth::Before));
        for tally in [&mut new, &mut stable] {
            tally.observe("a", Timestamp(1), &shown(5.0, 5.0)).unwrap();
        }
        let none = vec![(100_000, 0), (500_000, 0), (u64::MAX, 0)];
        assert_eq!(Tally::latencies(&new, &stable), [vec![(100_000, 5), (500_000, 0), (u64::MAX, 0)], none]);
        stable.observe("a", Timestamp(2), &shown(8.0, 9.0)).unwrap();
        assert_eq!(stable.counters().latency_us, [(100_000, 3), (500_000, 0), (u64::MAX, 1)]);
    }

    #[test]
    fn native_histograms_of_both_releases_get_the_same_edges() {
        let (mut new, mut stable) = (tally(Birth::Here), tally(Birth::Here));
        // Schema 1: edges a factor of 1.41 apart. The stable release's is finer.
        new.observe("a", Timestamp(1), &native(&[(0.5, 3), (2.0_f64.sqrt(), 4)], 1)).unwrap();
        let fine = [(2_f64.powf(-1.5), 1), (2_f64.powf(-1.25), 10), (0.5, 20)];
        stable.observe("a", Timestamp(1), &native(&fine, 2)).unwrap();
        let [ours, theirs] = Tally::latencies(&new, &stable);
        let edges = |all: &[(u64, u64)]| all.iter().map(|(edge, _)| *edge).collect::<Vec<_>>();
        let counted = |all: &[(u64, u64)]| all.iter().copied().filter(|(_, n)| *n > 0).collect::<Vec<_>>();
        assert_eq!(edges(&ours), edges(&theirs));
        assert_eq!(counted(&ours), [(500_000, 3), (1_414_214, 4)]);
        assert_eq!(counted(&theirs), [(353_553, 1), (500_000, 30)]);
        assert!(
            edges(&ours).contains(&128_000_000),
            "a limit above everything lies between two edges: {ours:?}"
        );
        // One that becomes coarser goes on where it was.
        stable.observe("a", Timestamp(2), &native(&[(0.5, 33), (1.0, 2)], 0)).unwrap();
        assert_eq!(counted(&Tally::latencies(&new, &stable)[1]), [(500_000, 33), (1_000_000, 2)]);
    }
}
