//! What may be read from a histogram, and what the latency test does with histograms that do not match.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use tidegate_statistics::{
    Arm, Dispersion, Fault, Histogram, LatencyTest, Layout, Margin, OnsetPrior, native_edge,
};

fn listed(buckets: &[(f64, u64)]) -> Histogram {
    Histogram::new(Layout::Listed, buckets.to_vec()).unwrap()
}

fn arm(requests: u64, failures: u64) -> Arm {
    Arm::new(requests, failures).unwrap()
}

fn choose(stable: &Histogram, new: Option<&Histogram>, margin: Margin) -> Result<LatencyTest, Fault> {
    LatencyTest::choose(stable, new, margin, Dispersion::NONE, OnsetPrior::AT_START)
}

const CLASSIC: [(f64, u64); 5] = [(0.1, 700), (0.25, 200), (0.5, 60), (1.0, 30), (f64::INFINITY, 10)];

#[test]
fn a_limit_between_two_edges_is_counted_on_both_sides_and_never_interpolated() {
    let histogram = listed(&CLASSIC);
    let between = histogram.bracket(0.4).unwrap();
    assert_eq!((between.above, between.below, between.exact), (arm(1_000, 40), arm(1_000, 100), false));
    let at = histogram.bracket(0.5).unwrap();
    assert_eq!((at.above, at.below, at.exact), (arm(1_000, 40), arm(1_000, 40), true));
    assert_eq!((histogram.bracket(2.0), histogram.bracket(0.05)), (None, None));
    assert_eq!(histogram.slower_than(0.4), None);
    assert_eq!(
        (histogram.quantile_edge(0.95), histogram.quantile_edge(1.0)),
        (Some(0.5), Some(f64::INFINITY))
    );
}

#[test]
fn cumulative_counts_are_the_same_histogram() {
    let cumulative = [(0.1, 700), (0.25, 900), (0.5, 960), (1.0, 990), (f64::INFINITY, 1_000)];
    assert_eq!(Histogram::from_cumulative(Layout::Listed, &cumulative).unwrap(), listed(&CLASSIC));
    assert!(Histogram::from_cumulative(Layout::Listed, &[(0.1, 5), (0.2, 4)]).is_err());
    for wrong in [vec![(0.2, 1), (0.1, 1)], vec![(0.1, 1), (0.1, 1)], vec![(f64::NAN, 1)], vec![(-1.0, 1)]] {
        assert!(Histogram::new(Layout::Listed, wrong.clone()).is_err(), "{wrong:?}");
    }
    assert!(Histogram::new(Layout::Exponential { schema: 9 }, vec![]).is_err());
}

#[test]
fn empty_buckets_that_are_left_out_still_have_edges() {
    let native = Layout::Exponential { schema: 3 };
    let sparse = Histogram::new(native, vec![(native_edge(3, 0), 90), (native_edge(3, 8), 10)]).unwrap();
    assert_eq!(sparse.slower_than(native_edge(3, 5)), Some(arm(100, 10)));
    assert_eq!(sparse.slower_than(1.23), None);
    assert_eq!(
        sparse.bracket(1.23).map(|bracket| (bracket.below, bracket.above)),
        Some((arm(100, 10), arm(100, 10)))
    );
    assert_eq!(
        sparse.bracket(1.95).map(|bracket| (bracket.below, bracket.above)),
        Some((arm(100, 10), arm(100, 0)))
    );
    // A bucket up to 510 whose lower edge may be anything from 480 on: surely not faster, not surely slower than 500.
    let shared =
        Histogram::new(Layout::Shared { parts: 16 }, vec![(400.0, 7), (510.0, 2), (600.0, 1)]).unwrap();
    let bracket = shared.bracket(500.0).unwrap();
    assert_eq!((bracket.below, bracket.above, bracket.exact), (arm(10, 3), arm(10, 1), false));
}

#[test]
fn only_edges_that_both_releases_count_are_compared() {
    let hour = listed(&CLASSIC);
    let other = listed(&[(0.1, 70), (0.3, 20), (1.0, 5), (f64::INFINITY, 5)]);
    let mut test = choose(&hour, Some(&other), Margin::default()).unwrap();
    let edges: Vec<f64> = test.by_edge().map(|(edge, _)| edge).collect();
    assert_eq!(edges, [0.1, 1.0]);
    assert_eq!(test.observe(&other, &hour), 2);
    assert_eq!(test.worst_edge(), Some(1.0));
    // The new release changes its edges under way: nothing in common any more, and nothing learned.
    let before = test.ln_evidence();
    let foreign = listed(&[(0.2, 0), (f64::INFINITY, 100)]);
    assert_eq!(test.observe(&foreign, &hour), 0);
    assert!((test.ln_evidence() - before).abs() < 1e-12);
    assert!(matches!(choose(&hour, Some(&foreign), Margin::default()), Err(Fault::TooFew { .. })));
}

#[test]
fn a_margin_in_steps_tolerates_exactly_so_much_slower() {
    let native = Layout::Exponential { schema: 3 };
    let shifted = |by: i32| {
        let buckets = (0_u32..20).zip(by..).map(|(at, index)| (native_edge(3, index), 1_000 >> (at / 2)));
        Histogram::new(native, buckets.collect()).unwrap()
    };
    let after = |by: i32| {
        let mut test = choose(&shifted(0), None, Margin::Steps(1)).unwrap();
        assert!(test.observe(&shifted(by), &shifted(0)) > 0);
        test.ln_evidence()
    };
    assert!(after(1) < 0.0 && after(2) > 20.0, "{} {}", after(1), after(2));
    assert!(choose(&listed(&CLASSIC), None, Margin::Steps(1)).is_err());
}
