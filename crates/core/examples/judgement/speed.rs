//! How soon a regression is found, against Wald's bound: the seven rows of the reference's table 3.5.

use tidegate_core::{judge::Judge, model::Millis};
use tidegate_statistics::{Pair, RatioSettings, RatioTest, Traffic, wald_nats};

use crate::{
    chance::Dice,
    report::{Figure, Terms, mean, runs},
    service::{Service, Split, Stream, failed, gates, judge, warm},
};

/// Requests per second, failed share of the stable and of the new release.
const ROWS: [(f64, f64, f64); 7] = [
    (100.0, 0.001, 0.05),
    (100.0, 0.001, 0.5),
    (1_000.0, 0.001, 0.002),
    (1_000.0, 0.001, 0.01),
    (1_000.0, 0.01, 0.02),
    (10_000.0, 0.01, 0.02),
    (100.0, 0.01, 0.05),
];
/// The share of the traffic, constant.
const SHARE: f64 = 0.05;
/// False alarms allowed to a test that stands alone.
const ALPHA: f64 = 0.01;
/// Nothing takes longer than this many batches.
const BATCHES_MAX: u64 = 100_000;

/// Mean seconds until something is found.
#[derive(Clone, Copy)]
struct Row {
    bound: f64,
    plain: f64,
    plain_random: f64,
    plain_half: f64,
    plain_half_random: f64,
    gate: f64,
    judge: f64,
    judge_random: f64,
    judge_half: f64,
    judge_half_random: f64,
}

/// The tables and figures on detection.
pub(crate) fn figures(terms: Terms) -> Vec<Figure> {
    println!(
        "\nDetection against Wald's bound, 5 % share: mean time / (ln 100 / information of Bernoulli requests)"
    );
    println!(
        "plain, gate: the error test alone at 1 %, exactly 5 of 100 requests each second as in the reference, 1 s batches"
    );
    println!("judge: all default gates under one budget of 1 %, warm instances");
    println!("lot: requests and their split by lot; 0.5 s: batches as often as the engine looks by default");
    println!(
        "    rps  base -> new   bound s   plain     lot   0.5 s     lot    gate   judge     lot   0.5 s     lot"
    );
    let rows: Vec<Row> =
        ROWS.into_iter().map(|(rps, stable, new)| row(terms, Service { rps, stable, new })).collect();
    for ((rps, stable, new), row) in ROWS.iter().zip(&rows) {
        let times = |seconds: f64| seconds / row.bound;
        println!(
            "{rps:7} {:5}% ->{:4}% {:9.2} {:7.2} {:7.2} {:7.2} {:7.2} {:7.2} {:7.2} {:7.2} {:7.2} {:7.2}",
            stable * 100.0,
            new * 100.0,
            row.bound,
            times(row.plain),
            times(row.plain_random),
            times(row.plain_half),
            times(row.plain_half_random),
            times(row.gate),
            times(row.judge),
            times(row.judge_random),
            times(row.judge_half),
            times(row.judge_half_random),
        );
    }
    let worst = |wanted: fn(&Row) -> bool, seconds: fn(&Row) -> f64| {
        rows.iter().filter(|row| wanted(row)).map(|row| seconds(row) / row.bound).fold(f64::NAN, f64::max)
    };
    let bound = "ln(100) / smallest divergence from any healthy explanation, 0.5 s batches as the engine has by default, \
                 seven rows of table 3.5";
    let second = "the same with the 1 s batches of table 3.5, which even a test that knows the regression needs 2.05 for";
    let whole = "1 s batches, six rows: without the one whose bound is shorter than a batch";
    let figure = |id, value, most, against| Figure::at_most(id, value, "ratio", most, against);
    vec![
        figure("detect_vs_wald", worst(|_| true, |row| row.plain_half), 1.9, bound),
        figure("detect_vs_wald_shipped", worst(|_| true, |row| row.judge_half), 2.7, bound),
        figure("detect_vs_wald_1s", worst(|_| true, |row| row.plain), 2.1, second),
        figure("detect_vs_wald_shipped_1s", worst(|_| true, |row| row.judge), 2.7, second),
        figure("detect_vs_wald_whole_batches", worst(|row| row.bound >= 1.0, |row| row.plain), 1.9, whole),
    ]
}

fn row(terms: Terms, service: Service) -> Row {
    let ratio = service.new / service.stable;
    let limit = Traffic::new(service.rps, service.stable)
        .map_or(f64::NAN, |traffic| traffic.information_limit_per_s(SHARE, ratio, 1.1));
    let bound = wald_nats(ALPHA, 0.0) / limit;
    // Long rows vary little, short ones are cheap.
    let count = match bound {
        ..1.0 => terms.runs(4_000, 2_000),
        ..100.0 => terms.runs(4_000, 400),
        _ => terms.runs(400, 24),
    };
    let tested = |settings, length, split| {
        mean(runs(count, |run| by_test(terms, service, settings, length, split, run)))
    };
    let (plain, second, half) = (RatioSettings::plain(1.1), Millis(1_000), Millis(500));
    let steady = Split::Exact(0);
    let judged = |length, split| mean(runs(count / 2, |run| by_judge(terms, service, length, split, run)));
    Row {
        bound,
        plain: tested(plain, second, steady),
        plain_random: tested(plain, second, Split::Random),
        plain_half: tested(plain, half, steady),
        plain_half_random: tested(plain, half, Split::Random),
        gate: tested(RatioSettings::default(), second, steady),
        judge: judged(second, steady),
        judge_random: judged(second, Split::Random),
        judge_half: judged(half, steady),
        judge_half_random: judged(half, Split::Random),
    }
}

fn lane(what: &str, service: Service) -> String {
    format!("{what} {} {} {}", service.rps, service.stable, service.new)
}

fn by_test(
    terms: Terms,
    service: Service,
    settings: RatioSettings,
    length: Millis,
    split: Split,
    run: u64,
) -> f64 {
    let seconds = length.0 as f64 / 1_000.0;
    let mut dice = Dice::new(terms.seed, &lane("test", service), run);
    let Ok(mut test) = RatioTest::new(settings) else { return f64::NAN };
    for number in 1..=BATCHES_MAX {
        // Half of the runs begin with the interval that has fewer.
        let seen = service.counts(&mut dice, SHARE, seconds, split.after(number + run % 2), 1.0);
        let Ok(pair) = Pair::of_counts(seen.new.0, seen.stable.0, seen.new.1, seen.stable.1) else {
            return f64::NAN;
        };
        test.observe(pair);
        if test.ln_evidence() >= wald_nats(ALPHA, 0.0) {
            return number as f64 * seconds;
        }
    }
    f64::INFINITY
}

fn by_judge(terms: Terms, service: Service, length: Millis, split: Split, run: u64) -> f64 {
    let gates = gates();
    let mut judge: Judge = judge(&warm(), &gates, 1);
    let mut stream = Stream::new(Dice::new(terms.seed, &lane("judge", service), run), length);
    for number in 1..=BATCHES_MAX {
        judge.take(stream.next(service, 0, split.after(number + run % 2), 1.0));
        if failed(&judge, &gates, 0).is_some() {
            return number as f64 * length.0 as f64 / 1_000.0;
        }
    }
    f64::INFINITY
}
