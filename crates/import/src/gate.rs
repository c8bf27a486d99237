//! Gates with their metrics, as they will stand in `tidegate.yaml`.

use std::collections::BTreeSet;

use crate::form::WEEK_MS;
use crate::out::{Value, map, plain, text};

/// Custom gates of one service.
pub(crate) const GATES_MAX: usize = 32;
/// Longest name of a gate.
const NAME_CHARS_MAX: usize = 41;
/// The shortest and the longest time between two questions that can be written.
const EVERY_MS: (u64, u64) = (500, 3_600_000);
/// Argo asks a provider that did not answer again after so long.
const RETRY_MS: u64 = 10_000;

/// When an analysis of one metric ends, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Measurements; nothing is without end.
    pub(crate) count: Option<u32>,
    pub(crate) interval_ms: u64,
    pub(crate) initial_delay_ms: u64,
    /// -1 is without a limit.
    pub(crate) failures: i32,
    pub(crate) inconclusive: u32,
    pub(crate) consecutive_errors: u32,
    /// 0 is none.
    pub(crate) consecutive_successes: u32,
}

impl Limits {
    /// How long it takes when every measurement is taken; nothing when it has no end.
    pub(crate) fn length_ms(&self) -> Option<u64> {
        let count = if self.count.is_none() && self.consecutive_successes > 0 {
            self.consecutive_successes
        } else {
            self.count?
        };
        let between = u64::from(count.saturating_sub(1)).saturating_mul(self.interval_ms);
        Some(self.initial_delay_ms.saturating_add(between))
    }
}

/// A metric and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) name: String,
    /// `prometheus` or `web`, with its keys.
    pub(crate) source: (&'static str, Value),
    pub(crate) success: Option<String>,
    pub(crate) failure: Option<String>,
    pub(crate) limits: Limits,
    /// Asked, and nothing is done about the answer.
    pub(crate) dry_run: bool,
    /// One run over all its steps, beside them; otherwise one for each step.
    pub(crate) background: bool,
    /// The steps at which it is asked, from 1.
    pub(crate) steps: BTreeSet<usize>,
}

/// All gates of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gates {
    pub(crate) list: Vec<Gate>,
}

impl Gates {
    /// Asks a gate at these steps; one that asks the same is asked at more of them. False when there is no room.
    pub(crate) fn ask(&mut self, gate: Gate, steps: impl IntoIterator<Item = usize>) -> bool {
        let same = |one: &&mut Gate| {
            one.source == gate.source
                && (&one.success, &one.failure, &one.limits) == (&gate.success, &gate.failure, &gate.limits)
                && (one.dry_run, one.background) == (gate.dry_run, gate.background)
        };
        if let Some(known) = self.list.iter_mut().find(same) {
            known.steps.extend(steps);
            return true;
        }
        if self.list.len() >= GATES_MAX {
            return false;
        }
        let name = self.free(&gate.name);
        self.list.push(Gate { name, steps: steps.into_iter().collect(), ..gate });
        true
    }

    /// A name that is allowed and not taken.
    fn free(&self, wanted: &str) -> String {
        let plain: String = wanted
            .to_lowercase()
            .chars()
            .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' { c } else { '-' })
            .collect();
        let plain = plain.trim_start_matches(|c: char| !c.is_ascii_lowercase()).trim_end_matches('-');
        let plain = if plain.is_empty() { "metric" } else { plain };
        let taken = |name: &str| self.list.iter().any(|gate| gate.name == name);
        let short: String = plain.chars().take(NAME_CHARS_MAX).collect();
        if !taken(&short) {
            return short;
        }
        let stem: String = short.chars().take(NAME_CHARS_MAX - 4).collect();
        // One of as many names as there are gates is free.
        let numbers = 2..=GATES_MAX + 2;
        numbers.map(|number| format!("{stem}-{number}")).find(|name| !taken(name)).unwrap_or(short)
    }

    /// What stands under `metrics`.
    pub(crate) fn metrics(&self, compat: bool) -> Value {
        let metric = |gate: &Gate| {
            let (source, keys) = &gate.source;
            let every = gate.every_ms(compat);
            // An answer is used until the next one, and one more may fail.
            let fresh = every.saturating_mul(2).saturating_add(30_000).max(45_000);
            let value = map([
                (source, keys.clone()),
                ("every", plain(crate::duration::said(every))),
                ("fresh", plain(crate::duration::said(fresh))),
            ]);
            (gate.name.clone(), value)
        };
        Value::Map(self.list.iter().map(metric).collect())
    }

    /// What stands under `gates.custom`.
    pub(crate) fn custom(&self, compat: bool) -> Value {
        Value::Map(self.list.iter().map(|gate| (gate.name.clone(), gate.custom(compat))).collect())
    }

    /// The longest that a step may last until its gates have answered; nothing when none is asked.
    pub(crate) fn dwell_max_ms(&self) -> Option<u64> {
        let of = |gate: &Gate| {
            let limits = &gate.limits;
            let tries = u64::from(limits.consecutive_errors) + 1;
            let errors =
                tries.saturating_mul(RETRY_MS).saturating_mul(u64::from(limits.count.unwrap_or(1)).min(60));
            limits.length_ms().unwrap_or(limits.interval_ms).saturating_add(errors)
        };
        self.list.iter().map(of).max().map(|ms| ms.saturating_add(60_000).clamp(600_000, WEEK_MS))
    }
}

impl Gate {
    fn every_ms(&self, compat: bool) -> u64 {
        let interval = if self.limits.interval_ms == 0 { RETRY_MS } else { self.limits.interval_ms };
        // A provider that did not answer is asked again after ten seconds.
        let every = if compat { interval.min(RETRY_MS) } else { interval };
        every.clamp(EVERY_MS.0, EVERY_MS.1)
    }

    fn custom(&self, compat: bool) -> Value {
        let mut gate = map([("metric", text(self.name.clone()))]);
        for (key, condition) in [("success", &self.success), ("failure", &self.failure)] {
            if let Some(condition) = condition {
                gate.put(key, text(condition.clone()));
            }
        }
        if self.success.is_none() && self.failure.is_none() {
            gate.put("success", text("len(result) > 0"));
        }
        if compat {
            gate.put("analysis", self.analysis());
        } else {
            let failures = u32::try_from(self.limits.failures).unwrap_or(10_000).min(10_000);
            gate.put("failures_max", plain(failures));
        }
        if self.dry_run {
            gate.put("on_failure", plain("alert"));
            gate.put("on_no_evidence", plain("continue"));
            gate.put("on_inconclusive", plain("promote"));
        } else {
            // A measurement that is missing may be asked for once more before the release goes back.
            let hold = self.every_ms(false).saturating_mul(2).saturating_add(self.limits.initial_delay_ms);
            gate.put(
                "hold_max",
                plain(crate::duration::said(hold.saturating_add(60_000).clamp(180_000, WEEK_MS))),
            );
            gate.put("on_inconclusive", plain("hold"));
        }
        gate.put("steps", Value::List(self.steps.iter().map(plain).collect()));
        gate
    }

    fn analysis(&self) -> Value {
        let limits = &self.limits;
        let said = crate::duration::said;
        let mut analysis = map([]);
        if let Some(count) = limits.count {
            analysis.put("count", plain(count));
        }
        if limits.interval_ms > 0 {
            analysis.put("interval", plain(said(limits.interval_ms)));
        }
        if limits.initial_delay_ms > 0 {
            analysis.put("initial_delay", plain(said(limits.initial_delay_ms)));
        }
        if limits.failures < 0 {
            analysis.put("failure_limit", plain("off"));
        } else {
            analysis.put("failure_limit", plain(limits.failures));
        }
        analysis.put("inconclusive_limit", plain(limits.inconclusive));
        analysis.put("consecutive_error_limit", plain(limits.consecutive_errors));
        if limits.consecutive_successes > 0 {
            analysis.put("consecutive_success_limit", plain(limits.consecutive_successes));
        }
        if self.background {
            analysis.put("background", plain(true));
        }
        analysis
    }
}
