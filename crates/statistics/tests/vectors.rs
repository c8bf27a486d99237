//! The golden vectors of the reference, to 1e-9.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use tidegate_statistics::{Dispersion, MirrorTest, Pair, RatioSettings, RatioTest};

fn pair(new: (u64, u64), stable: (u64, u64)) -> Pair {
    Pair::of_counts(new.0, stable.0, new.1, stable.1).unwrap()
}

/// Name, batches, evidence against health, evidence against harm, largest evidence against health when it is given.
type Vector = (&'static str, Vec<Pair>, f64, f64, Option<f64>);

fn vectors() -> Vec<Vector> {
    let b = (0..6).map(|i| pair((5, i % 2), (95, 0))).collect();
    let c = (0..60).map(|i| pair((50, (i + 1) % 2), (950, 9 + i % 2))).collect();
    let early = (0..30).map(|_| pair((50, 1), (950, 10)));
    let late = (0..30).map(|i| pair((250, 5), (750, 7 + i % 2)));
    vec![
        ("A", vec![pair((5, 1), (95, 0))], 2.091_483_563_4, -0.714_990_140_712, None),
        ("B", b, 7.350_419_318_74, -2.059_465_134_99, None),
        ("C", c, -2.829_169_262_32, 8.229_129_533_12, Some(-0.714_340_266_699)),
        ("D", early.chain(late).collect(), 15.617_092_886_9, -20.341_317_050_3, None),
    ]
}

fn close(mine: f64, golden: f64) -> bool {
    (mine / golden - 1.0).abs() < 1e-9
}

#[test]
fn the_golden_vectors_are_met_to_one_in_a_billion() {
    for (name, batches, bad, good, max) in vectors() {
        let mut ratio = RatioTest::new(RatioSettings::plain(1.1)).unwrap();
        let mut mirror = MirrorTest::new(2.0, Dispersion::NONE).unwrap();
        let mut seen = f64::NEG_INFINITY;
        for batch in batches {
            ratio.observe(batch);
            mirror.observe(batch);
            seen = seen.max(ratio.ln_evidence());
        }
        assert!(close(ratio.ln_evidence(), bad), "{name} bad {} {bad}", ratio.ln_evidence());
        assert!(close(mirror.ln_evidence(), good), "{name} good {} {good}", mirror.ln_evidence());
        assert!(max.is_none_or(|max| close(seen, max)), "{name} max {seen}");
    }
}
