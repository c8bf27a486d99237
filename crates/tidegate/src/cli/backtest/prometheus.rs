//! A/A over a Prometheus: in every hour another instance of the stable release plays the canary, the others are the
//! baseline. Raw counters are read and differenced here, never a rate.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_adapters::evidence::{Endpoint, FaultKind, Prometheus, Series, Warnings};
use tidegate_core::{
    gate::Arm,
    judge::{Batch, Bench, Learned, Retrial},
    model::{Millis, Share, Timestamp},
};

use super::{super::inspect::now, BacktestArgs, Found, aa, mode, of_itself};
use crate::fault::Fault;

const HOUR: Millis = Millis::hours(1);

/// The newest sample of an hour may be so old at its end.
const AGE_MAX: Millis = Millis::minutes(5);

/// Requests and failures of one instance in one interval.
type Counts = (u64, u64);

/// Every hour's outcome, asked one after the other so that the server is not flooded.
pub(super) async fn hours(url: &str, args: &BacktestArgs, bench: &Bench) -> Result<Found, Fault> {
    let server = Prometheus::new(Endpoint::new(url), Warnings::Refuse).map_err(Fault::caller)?;
    let bench = of_itself(bench, false);
    if bench.gates.is_empty() {
        return Err(Fault::refuse("none of the gates compares failed requests: there is nothing to ask"));
    }
    let (mut found, mut retried, mut learned, mut empty) = (Found::default(), Vec::new(), None, 0_u64);
    let mut knowing = Vec::new();
    let (mut seen, mut failures) = (0_u64, 0_u64);
    for back in (0..args.hours).rev() {
        let end = Timestamp(now().0.saturating_sub(i64::try_from(HOUR.times(back).0).unwrap_or(i64::MAX)));
        let hour = Hour::read(&server, args, end).await?;
        seen += u64::from(!hour.instances.is_empty());
        failures += u64::from(hour.fails);
        if hour.instances.len() < 2 {
            empty += 1;
            continue;
        }
        let canary = usize::try_from(back).unwrap_or(0) % hour.instances.len();
        let batches = hour.batches(canary);
        retried.push(bench.retry(&batches));
        // Only what was known before the hour counts for it.
        if let Some(before) = &learned {
            let bench = Bench { settings: bench.settings.with_learned(before), ..bench.clone() };
            knowing.push(bench.retry(&batches));
        }
        learned = Learned::from_instances(learned.as_ref(), &hour.intervals, end).or(learned);
    }
    tell(&mut found, &bench, &retried, &knowing);
    let of = |selector: &Option<String>| selector.clone().unwrap_or_default();
    if seen == 0 {
        let label = &args.instance_label;
        found
            .notes
            .push(format!("no hour has a series of `{}` with the label `{label}`", of(&args.requests)));
    } else if empty > 0 {
        found.notes.push(format!("{empty} of {} hours have counters of fewer than 2 instances", args.hours));
    }
    if seen > 0 && failures == 0 {
        found.notes.push(format!(
            "no hour has a series of `{}`: either nothing ever failed, or the selector is wrong and all of this says nothing",
            of(&args.failures)
        ));
    }
    if learned.is_none() && !retried.is_empty() {
        found.notes.push("fewer than 3 instances: dispersion and spread cannot be learned".to_owned());
    }
    found.learned = learned;
    Ok(found)
}

fn tell(found: &mut Found, bench: &Bench, retried: &[Retrial], knowing: &[Retrial]) {
    if retried.is_empty() {
        found.notes.push("no hour could be asked about".to_owned());
        return;
    }
    found.against_itself.push(aa::told(&format!("as they are ({})", mode(bench)), bench, retried));
    if !knowing.is_empty() && bench.is_sequential() {
        found.against_itself.push(aa::told("with what was learned before each hour", bench, knowing));
    }
}

/// One hour of every instance.
struct Hour {
    /// Names, in order.
    instances: Vec<String>,
    step: Millis,
    begin: Timestamp,
    /// Every interval: one entry for each instance.
    intervals: Vec<Vec<Counts>>,
    /// Whether there is a counter of failures at all.
    fails: bool,
}

impl Hour {
    async fn read(server: &Prometheus, args: &BacktestArgs, end: Timestamp) -> Result<Self, Fault> {
        let step = Millis::secs(args.step);
        let requests = raw(server, args.requests.as_deref().unwrap_or_default(), end).await?;
        let failures = raw(server, args.failures.as_deref().unwrap_or_default(), end).await?;
        let begin = Timestamp(end.0.saturating_sub(i64::try_from(HOUR.0).unwrap_or(0)));
        Ok(Self::of(&args.instance_label, step, begin, &requests, &failures))
    }

    fn of(label: &str, step: Millis, begin: Timestamp, requests: &[Series], failures: &[Series]) -> Self {
        let count = usize::try_from(HOUR.0 / step.0.max(1)).unwrap_or(0);
        let all = increments(label, step, begin, count, requests);
        let failed = increments(label, step, begin, count, failures);
        let instances: Vec<String> = all.keys().cloned().collect();
        let at = |series: &BTreeMap<String, Vec<u64>>, name: &String, interval: usize| {
            series.get(name).and_then(|counts| counts.get(interval)).copied().unwrap_or(0)
        };
        let interval = |interval: usize| {
            instances
                .iter()
                .map(|name| {
                    (at(&all, name, interval), at(&failed, name, interval).min(at(&all, name, interval)))
                })
                .collect()
        };
        Self {
            intervals: (0..count).map(interval).collect(),
            instances,
            step,
            begin,
            fails: !failed.is_empty(),
        }
    }

    /// The hour as a rollout whose new release is this instance.
    fn batches(&self, canary: usize) -> Vec<Batch> {
        let share = Share::ratio(1, u32::try_from(self.instances.len()).unwrap_or(u32::MAX));
        let arm = |share, (requests, failures): Counts| Arm {
            length: self.step,
            share,
            requests,
            failures,
            latency_us: Vec::new(),
        };
        self.intervals
            .iter()
            .enumerate()
            .map(|(number, interval)| {
                let own = interval.get(canary).copied().unwrap_or_default();
                let others = interval.iter().enumerate().filter(|(place, _)| *place != canary);
                let rest = others.fold((0, 0), |sum: Counts, (_, one)| (sum.0 + one.0, sum.1 + one.1));
                Batch {
                    number: number as u64 + 1,
                    at: self.begin.after(self.step.times(number as u64 + 1)),
                    stage: Some(0),
                    new: arm(share, own),
                    stable: Some(arm(share.rest(), rest)),
                    wanted: 1,
                    ..Batch::default()
                }
            })
            .collect()
    }
}

/// The samples of the hour before `end`; none is no fault: a service without failures has no such series.
async fn raw(server: &Prometheus, selector: &str, end: Timestamp) -> Result<Vec<Series>, Fault> {
    match server.raw(selector, end, HOUR, AGE_MAX).await {
        Ok(series) => Ok(series),
        Err(fault) if matches!(fault.kind, FaultKind::NoData | FaultKind::Stale { .. }) => Ok(Vec::new()),
        Err(fault) => Err(Fault::world(fault)),
    }
}

/// What came to each instance's counters in every interval. The first sample opens; a counter that fell began anew.
fn increments(
    label: &str,
    step: Millis,
    begin: Timestamp,
    count: usize,
    series: &[Series],
) -> BTreeMap<String, Vec<u64>> {
    let mut of: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let names: BTreeSet<&String> = series.iter().filter_map(|one| one.labels.get(label)).collect();
    for name in names {
        of.insert(name.clone(), vec![0; count]);
    }
    for one in series {
        let Some(counts) = one.labels.get(label).and_then(|name| of.get_mut(name)) else { continue };
        for (before, after) in one.samples.iter().zip(one.samples.iter().skip(1)) {
            let rise = if after.value >= before.value { after.value - before.value } else { after.value };
            let interval = usize::try_from(after.at.since(begin).0.saturating_sub(1) / step.0.max(1))
                .unwrap_or(usize::MAX);
            if let Some(slot) = counts.get_mut(interval) {
                *slot = slot.saturating_add(whole(rise));
            }
        }
    }
    of
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn whole(count: f64) -> u64 {
    count.clamp(0.0, 9e15) as u64
}

#[cfg(test)]
mod tests {
    use tidegate_adapters::evidence::Sample;

    use super::*;

    fn series(instance: &str, values: &[f64]) -> Series {
        let at = |n: usize| Timestamp(1_000_000 + i64::try_from(n).unwrap() * 15_000 + 7_000);
        Series {
            labels: [("instance".to_owned(), instance.to_owned())].into(),
            samples: values
                .iter()
                .enumerate()
                .map(|(n, value)| Sample { value: *value, at: at(n) })
                .collect(),
        }
    }

    #[test]
    fn counters_are_differenced_per_instance_and_a_restart_counts_from_zero() {
        let requests = [
            series("a", &[100.0, 160.0, 40.0]),
            series("b", &[5.0, 6.0, 9.0]),
            series("a", &[1.0, 2.0, 3.0]),
        ];
        let failures = [series("b", &[0.0, 2.0, 2.0])];
        let hour = Hour::of("instance", Millis::secs(15), Timestamp(1_000_000), &requests, &failures);
        assert_eq!(
            (hour.instances.as_slice(), hour.intervals.len()),
            (["a".to_owned(), "b".to_owned()].as_slice(), 240)
        );
        assert_eq!(hour.intervals[1], [(61, 0), (1, 1)], "no more failures than requests");
        assert_eq!(hour.intervals[2], [(41, 0), (3, 0)]);
        let batches = hour.batches(1);
        let second = &batches[1];
        assert_eq!((second.new.requests, second.stable.as_ref().unwrap().requests), (1, 61));
        assert_eq!((second.new.share, second.at), (Share::percent(50), Timestamp(1_030_000)));
    }
}
