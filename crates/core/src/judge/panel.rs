//! The judge: every sequential gate of a deployment, and the one false-rollback budget that they share.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use tidegate_statistics::{Budget, Measure, OnsetPrior};

use super::{
    batch::Batch,
    retrial::Bench,
    risk::AtRisk,
    seat::{Answer, Interval, NARROW, Seat, Standing, Trial, usable},
    settings::Settings,
    warmup::WarmUp,
    words,
};
use crate::{
    gate::{Finding, Gate, Judgement, Look, OnFailure, Unit, Value, Verdict, Window, answer},
    model::{Millis, Share, Timestamp},
    plan::Plan,
};

/// The fold of a deployment's batches: what every sequential gate knows.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    settings: Settings,
    /// Share and longest length of every stage: what going on would expose.
    ahead: Vec<Share>,
    seats: Vec<Seat>,
    budget: Option<Budget>,
    warmup: WarmUp,
    /// The same for the time in which copies are answered, where there is one: only the metrics of the release see them.
    warmup_of_copies: Option<WarmUp>,
    taken: u64,
    at: Option<Timestamp>,
    share: Share,
    stage: Option<usize>,
    /// What was counted since the stage began.
    counted: Counted,
}

/// Traffic since the stage began.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    new: u64,
    stable: u64,
    length: Millis,
}

impl Judge {
    /// The judge of a plan before the first batch.
    pub fn of(plan: &Plan) -> Self {
        Bench::of(plan).judge(0)
    }

    /// The judge of these gates over stages of these shares. `horizon` is the planned number of batches.
    pub fn with<'a>(
        settings: &Settings,
        gates: impl IntoIterator<Item = &'a Gate>,
        shares: &[Share],
        instances: u32,
        horizon: u64,
    ) -> Self {
        let raises = u32::try_from(shares.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let onset = OnsetPrior::spread(horizon, raises);
        let mut seats: Vec<Seat> = Vec::new();
        for gate in gates {
            if seats.iter().all(|seat| seat.gate.name != gate.name) {
                seats.extend(Seat::of(gate, settings, instances, onset));
            }
        }
        let measures: Vec<Measure> =
            seats.iter().filter_map(Seat::measure).chain([Measure::WarmUp]).collect();
        Self {
            settings: settings.clone(),
            ahead: shares.to_vec(),
            budget: Budget::of_measures(settings.alpha(), &measures).ok(),
            warmup: WarmUp::new(settings),
            warmup_of_copies: seats.iter().any(Seat::compares_copies).then(|| WarmUp::new(settings)),
            seats,
            ..Self::default()
        }
    }

    /// Takes one batch. One that was taken before is left out, so that a batch may come twice.
    pub fn take(&mut self, batch: &Batch) {
        if batch.number <= self.taken {
            return;
        }
        self.taken = batch.number;
        let raised = batch.new.share > self.share && self.share > Share::NONE;
        if batch.stage != self.stage {
            self.counted = Counted::default();
            self.seats.iter_mut().for_each(Seat::begin_stage);
        }
        (self.share, self.stage, self.at) = (batch.new.share, batch.stage, Some(batch.at));
        self.counted.add(batch);
        self.warmup.greet(&self.settings, batch.wanted, raised);
        let (warming, of_copies) = (self.warmup.is_on(), self.copies());
        for seat in &mut self.seats {
            let cold = of_copies.filter(|_| seat.judges_copies()).unwrap_or(warming);
            seat.take(batch, raised, cold, of_copies.is_some());
        }
        if usable(batch.state) {
            let interval = Interval {
                new: &batch.new,
                stable: batch.stable.as_ref(),
                layout: NARROW,
                share: batch.new.share,
                strata: &[],
                raised,
                warming,
            };
            self.watch_warm_up(&interval, batch.new.length);
        }
        self.convict();
    }

    /// Lets the guard of the warm-up see an interval.
    fn watch_warm_up(&mut self, seen: &Interval<'_>, length: Millis) {
        let pair = seen.pair(|arm| arm.failures);
        if seen.share > Share::NONE {
            self.warmup.take(&self.settings, length, pair, seen.share.is_all());
        } else if let Some(warmup) = &mut self.warmup_of_copies {
            warmup.take(&self.settings, length, pair, false);
        }
        self.warmup.remember(pair.stable);
    }

    /// In the time before the first user is answered, where copies are: whether the release still warms up.
    fn copies(&self) -> Option<bool> {
        let warmup = self.warmup_of_copies.as_ref().filter(|_| self.share == Share::NONE)?;
        Some(warmup.is_on())
    }

    /// Fails what has to fail now.
    fn convict(&mut self) {
        self.convict_alone();
        self.convict_together();
        self.pass_on();
    }

    /// What fails by itself: where it does not turn back, or by a rule that needs no statistics.
    fn convict_alone(&mut self) {
        let alone = self.settings.nats_to_fail();
        for seat in self.seats.iter_mut().filter(|seat| seat.failed.is_none()) {
            let against = seat.trial.ln_against();
            if seat.trial.fails() || (seat.gate.on_failure != OnFailure::RollBack && against >= alone) {
                seat.failed = Some(seat.trial.fault(&self.settings, against));
            }
        }
    }

    /// What fails by the shared budget: the gate that contributes most, or the guard of the warm-up.
    fn convict_together(&mut self) {
        let Some(budget) = &self.budget else { return };
        let sharing: Vec<usize> = (0..self.seats.len())
            .filter(|at| self.seats.get(*at).is_some_and(|seat| seat.measure().is_some()))
            .collect();
        let of = |at: &usize| self.seats.get(*at).map_or(0.0, |seat| seat.trial.ln_against());
        let evidence: Vec<f64> = sharing.iter().map(of).chain([self.warmup.ln_against()]).collect();
        let merged = budget.merge(&evidence);
        let Some(largest) = merged.largest.filter(|_| merged.exceeded) else { return };
        let mine = evidence.get(largest).copied().unwrap_or(0.0);
        match sharing.get(largest).and_then(|at| self.seats.get_mut(*at)) {
            Some(seat) if seat.failed.is_none() => {
                seat.failed = Some(seat.trial.fault(&self.settings, mine));
            }
            Some(_) => {}
            None => self.speak(self.warmup.fault(&self.settings, mine)),
        }
    }

    /// What copies have shown is heard although the gate on them is asked no more: the last of them may be answered while
    /// the first users are let in.
    fn pass_on(&mut self) {
        let copies = self.copies().is_some();
        let unheard = |seat: &&Seat| seat.measure().is_some() && !seat.is_asked(self.share, copies);
        let reason = self.seats.iter().filter(unheard).find_map(|seat| seat.failed.clone());
        if let Some(reason) = reason {
            self.speak(reason);
        }
    }

    /// Says a failure through a gate that is asked now: the one on errors, or else the first that turns back.
    fn speak(&mut self, reason: String) {
        let rank = |seat: &Seat| match (seat.measure(), &seat.trial) {
            (Some(Measure::ErrorRatio), _) => Some(0),
            (Some(_), _) => Some(1),
            // Where nothing turns back, what is found is said all the same.
            (None, Trial::Errors(_)) => Some(2),
            (None, _) => None,
        };
        let (share, copies) = (self.share, self.copies().is_some());
        let asked = self.seats.iter_mut().filter(|seat| seat.is_asked(share, copies));
        let speaker = asked.filter_map(|seat| Some((rank(seat)?, seat))).min_by_key(|(rank, _)| *rank);
        if let Some((_, seat)) = speaker.filter(|(_, seat)| seat.failed.is_none()) {
            seat.failed = Some(reason);
        }
    }

    /// What a sequential gate says now. `window` is the stage's, for what is shown beside the verdict.
    pub fn ask(&self, gate: &Gate, window: &Window, stage: Option<usize>, look: Look) -> Judgement {
        let Some(seat) = self.seats.iter().find(|seat| seat.gate.name == gate.name) else {
            return answer(gate, window, Verdict::NoEvidence, "no batch has come yet".into());
        };
        let against = seat.trial.ln_against();
        if let Some(why) = &seat.failed {
            let judged = answer(gate, window, Verdict::Fail, why.clone());
            return self.with_numbers(judged, seat, &self.said(seat, stage, look), against, false);
        }
        if let Some(silent) = &seat.silent {
            let for_long = self.at.map_or(Millis::ZERO, |at| at.since(silent.since));
            let reason = format!("{} (for {for_long}); this is not a pass", silent.reason);
            return answer(gate, window, Verdict::NoEvidence, reason);
        }
        let idle = seat.gate.metric.is_none() && self.counted.new == 0 && self.share > Share::NONE;
        if idle && seat.needs_traffic() {
            let reason = "the new release had no traffic in this stage; this is not a pass".to_owned();
            return answer(gate, window, Verdict::NoEvidence, reason);
        }
        if let Some(reason) = seat.counts_nothing() {
            return answer(gate, window, Verdict::NoEvidence, reason);
        }
        let copies =
            self.warmup_of_copies.as_ref().filter(|_| self.share == Share::NONE && seat.judges_copies());
        let warmup = copies.unwrap_or(&self.warmup);
        let said = if warmup.is_on() && seat.warms_up() {
            Answer::plain(Standing::Undecided, warmup.said(&self.settings))
        } else {
            self.said(seat, stage, look)
        };
        let undecided = matches!(said.standing, Standing::Undecided | Standing::Ended);
        let verdict = match said.standing {
            Standing::Passed => Verdict::Pass,
            Standing::Failed => Verdict::Fail,
            Standing::Undecided | Standing::Ended | Standing::Absent => Verdict::NoEvidence,
        };
        let rarity =
            (seat.weighs() && said.standing != Standing::Absent).then(|| words::rarity_so_far(against));
        let reason =
            rarity.map_or_else(|| said.reason.clone(), |rarity| format!("{}; {rarity}", said.reason));
        let judged = answer(gate, window, verdict, reason);
        self.with_numbers(judged, seat, &said, against, undecided)
    }

    fn said(&self, seat: &Seat, stage: Option<usize>, look: Look) -> Answer {
        let at_risk = if look == Look::Final { self.at_risk(stage) } else { None };
        seat.answer(&self.settings, self.share, stage, look, at_risk)
    }

    fn with_numbers(
        &self,
        judged: Judgement,
        seat: &Seat,
        answer: &Answer,
        against: f64,
        undecided: bool,
    ) -> Judgement {
        let ppm = |share: Option<f64>| {
            share.map(|share| Value { number: words::whole(share * 1e6), unit: Unit::Ppm })
        };
        let milli = |ratio: f64| u64::try_from(words::milli(ratio)).unwrap_or(0);
        let finding = Finding {
            ratio_low_milli: answer.bounds.map(|bounds| milli(bounds.lower)),
            ratio_high_milli: answer.bounds.and_then(|bounds| bounds.upper).map(milli),
            against_mnat: words::milli(against),
            for_mnat: words::milli(answer.ln_for),
            ln_bayes_mnat: answer.ln_bayes.map(words::milli),
            budget_ppm: words::whole(libm::exp(against - self.threshold_of(seat)).min(1.0) * 1e6),
            undecided,
            ended: undecided && answer.standing == Standing::Ended,
        };
        Judgement {
            value: ppm(answer.value),
            limit: ppm(answer.limit),
            baseline: ppm(answer.baseline),
            finding: Some(finding),
            ..judged
        }
    }

    /// Evidence in nats at which this gate alone turns back.
    fn threshold_of(&self, seat: &Seat) -> f64 {
        let sharing = self.seats.iter().filter(|one| one.measure().is_some());
        let place = sharing.clone().position(|one| one.gate.name == seat.gate.name);
        let alone = self.settings.nats_to_fail();
        place.and_then(|place| self.budget.as_ref()?.ln_threshold_alone(place)).unwrap_or(alone)
    }

    /// What going on from `stage` would put at risk.
    fn at_risk(&self, stage: Option<usize>) -> Option<AtRisk> {
        let next = stage.and_then(|stage| self.ahead.get(stage + 1)).copied();
        let length = self.counted.length.0 as f64 / 1_000.0;
        if length <= 0.0 {
            return None;
        }
        let rate = self.counted.new.saturating_add(self.counted.stable) as f64 / length;
        Some(AtRisk::new(&self.settings, rate, next))
    }
}

impl Counted {
    fn add(&mut self, batch: &Batch) {
        if !usable(batch.state) {
            return;
        }
        self.new = self.new.saturating_add(batch.new.requests);
        self.stable = self.stable.saturating_add(batch.stable.as_ref().map_or(0, |arm| arm.requests));
        self.length = Millis(self.length.0.saturating_add(batch.new.length.0));
    }
}
