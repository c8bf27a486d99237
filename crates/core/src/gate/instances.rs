//! Whether the instances live, and whether they did all the time.

use alloc::{format, string::String};

use super::{
    evidence::{Ended, Window},
    judge::{Gate, Judgement, Look, Rule, Unit, Verdict, answer, exact, with},
};

/// A crash loop fails at once, instances that are missing at the end fail then. One that ended by itself and is up again proves
/// nothing: the bake was not its. Nor does a bake at whose end they do not have what they were given: it waits until they do.
pub(super) fn instances(gate: &Gate, window: &Window, look: Look) -> Judgement {
    let ready = window.instances.iter().filter(|i| i.ready).count() as u64;
    let wanted = u64::from(window.wanted);
    let broken = window.instances.iter().find(|i| i.broken);
    let is_short = look == Look::Final && ready < wanted;
    if let Some(why) = window.astray.as_ref().filter(|_| broken.is_none() && !is_short) {
        // Without a value: nothing was found of the instances that another bake would mend.
        return answer(gate, window, Verdict::NoEvidence, why.clone());
    }
    let (verdict, reason) = match broken {
        Some(instance) => {
            let why = instance.last_end.as_deref().unwrap_or("no reason known");
            (Verdict::Fail, format!("{} ended {} times, last: {why}", instance.id, instance.ends))
        }
        None if look == Look::Final && ready >= wanted && !window.ended.is_empty() => {
            (Verdict::NoEvidence, said(&window.ended))
        }
        None if look == Look::Final => {
            (exact(ready >= wanted), format!("{ready} of {wanted} instances are ready"))
        }
        None => (Verdict::NoEvidence, format!("{ready} of {wanted} instances are ready")),
    };
    with(answer(gate, window, verdict, reason), ready, wanted, None, Unit::Count)
}

/// Whether a final look found instances that ended by themselves and are up again. Where nothing could be read there is no value.
pub(crate) fn has_ended(gate: &Gate, judgement: &Judgement) -> bool {
    gate.rule == Rule::Instances && judgement.verdict == Verdict::NoEvidence && judgement.value.is_some()
}

fn said(ended: &[Ended]) -> String {
    let Some(worst) = ended.iter().max_by_key(|one| one.times) else { return String::new() };
    let why = worst.why.as_deref().unwrap_or("no reason known");
    let times = if worst.times == 1 { String::new() } else { format!(" {} times", worst.times) };
    let others = match ended.len() {
        0 | 1 => String::new(),
        2 => ", and another one did".into(),
        all => format!(", and {} others did", all - 1),
    };
    format!("{} ended by itself{times} in the bake (last: {why}){others}", worst.id)
}
