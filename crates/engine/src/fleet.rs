//! Who is next: one running deployment per service and environment.

/// A deployment that has not ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) id: &'a str,
    pub(crate) turn: u64,
    pub(crate) running: bool,
    pub(crate) paused: bool,
}

/// The deployment that gets the slot: none while one is running, else the one with the lowest turn that is not paused.
pub(crate) fn next<'a>(candidates: impl Iterator<Item = Candidate<'a>>) -> Option<&'a str> {
    let mut first: Option<Candidate<'a>> = None;
    for candidate in candidates {
        if candidate.running {
            return None;
        }
        if !candidate.paused && first.is_none_or(|first| candidate.turn < first.turn) {
            first = Some(candidate);
        }
    }
    first.map(|candidate| candidate.id)
}

/// A deployment's id: `shop-7` in production, `shop@staging-7` elsewhere.
pub(crate) fn id(service: &str, environment: &str, turn: u64) -> String {
    if environment == "production" {
        format!("{service}-{turn}")
    } else {
        format!("{service}@{environment}-{turn}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_turn_that_is_not_paused_goes_first_and_nothing_beside_a_running_one() {
        let one = |id, turn, running, paused| Candidate { id, turn, running, paused };
        let waiting = [one("c", 3, false, false), one("a", 1, false, true), one("b", 2, false, false)];
        assert_eq!(next(waiting.into_iter()), Some("b"));
        assert_eq!(next(waiting.into_iter().chain([one("d", 4, true, false)])), None);
        assert_eq!(next(core::iter::empty()), None);
    }
}
