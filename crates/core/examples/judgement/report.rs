//! Figures and the runs behind them.

use std::thread;

use serde::Serialize;

/// Threads that make runs.
const THREADS: usize = 2;

/// One measured number with its goal.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(crate) id: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) goal: String,
    pub(crate) against: &'static str,
    #[serde(skip)]
    most: f64,
}

/// The closing line.
#[derive(Serialize)]
pub(crate) struct Closing<'a> {
    pub(crate) name: &'static str,
    pub(crate) seed: u64,
    pub(crate) figures: &'a [Figure],
}

impl Figure {
    pub(crate) fn at_most(
        id: &'static str,
        value: f64,
        unit: &'static str,
        most: f64,
        against: &'static str,
    ) -> Self {
        let goal = if most > 0.0 { format!("<= {most}") } else { "== 0".to_owned() };
        Self { id, value, unit, goal, against, most }
    }

    /// Whether the goal is reached; what could not be measured reaches none.
    pub(crate) fn reached(&self) -> bool {
        self.value <= self.most
    }
}

/// What every part of the bench is told.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) short: bool,
    pub(crate) seed: u64,
}

impl Terms {
    /// How many runs: fewer in the short form.
    pub(crate) const fn runs(self, full: u64, short: u64) -> u64 {
        if self.short { short } else { full }
    }
}

/// Makes runs `0..runs` on all threads; the answers come in the order of the runs.
pub(crate) fn runs<T: Send>(runs: u64, one: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let one = &one;
    let mut lanes: Vec<Vec<T>> = thread::scope(|scope| {
        let lane = |first: usize| {
            scope.spawn(move || (first as u64..runs).step_by(THREADS).map(one).collect::<Vec<T>>())
        };
        let lanes: Vec<_> = (0..THREADS).map(lane).collect();
        lanes.into_iter().filter_map(|lane| lane.join().ok()).collect()
    });
    for lane in &mut lanes {
        lane.reverse();
    }
    let mut all = Vec::new();
    while let Some(one) = lanes.get_mut(all.len() % THREADS).and_then(Vec::pop) {
        all.push(one);
    }
    all
}

/// Mean; not a number of nothing.
pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

/// The value below which this part of the values lies; not a number of nothing.
pub(crate) fn quantile(values: impl IntoIterator<Item = f64>, part: f64) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    let at = usize::try_from(crate::chance::whole(last * part)).unwrap_or(0);
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
