//! What the journal and the instances say afterwards, against what was promised.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::client::{Promises, Workload};
use crate::answer::{items, number, text};
use crate::house::House;

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) lost: usize,
    pub(super) duplicated: usize,
    pub(super) illegal: usize,
    /// What is wrong, in words.
    pub(super) lines: Vec<String>,
}

/// Events that happen at most once in a deployment.
const ONCE: [&str; 12] = [
    "planned",
    "admitted",
    "checked",
    "initialised",
    "built",
    "deployed",
    "promoted",
    "watch_passed",
    "restored",
    "verified",
    "rolled_back",
    "cancelled",
];

/// Compares everything with everything.
pub(super) fn judge(house: &House, workload: &Workload<'_>, promises: &Promises) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let changes = changes(&house.json(&["states"])?);
    let deployments = house.json(&["history", "--limit", "100000"])?;
    let mut histories = BTreeMap::new();
    for one in items(&deployments, "") {
        let id = text(one, "/deployment");
        let lines = house.json(&["history", id])?.as_array().cloned().unwrap_or_default();
        found.read(id, &lines, &changes);
        let artifact = house.data().join("artifacts").join(format!("deployment_{id}.json"));
        if !artifact.is_file() {
            found.lose(&format!("{id} has no {}", artifact.display()));
        }
        histories.insert(id.to_owned(), lines);
    }
    found.compare(&deployments, &histories, promises);
    found.count_starts(&std::fs::read_to_string(&workload.starts).unwrap_or_default(), &deployments);
    let audit = house.run(&["audit"])?;
    if !audit.status.success() {
        found.lose(&format!("audit: {}", String::from_utf8_lossy(&audit.stderr).trim()));
    }
    println!("{} deployments were judged", histories.len());
    Ok(found)
}

/// Whether this actor made the event.
fn said_by(line: &Value, who: &str) -> bool {
    line.get("actor").is_some_and(|actor| actor.to_string().contains(&format!("{who}\"")))
}

/// The changes of state that there are.
fn changes(states: &Value) -> BTreeSet<(String, String)> {
    let all = items(states, "/changes").iter();
    all.map(|change| (text(change, "/from").to_owned(), text(change, "/to").to_owned())).collect()
}

impl Found {
    fn lose(&mut self, what: &str) {
        self.lost += 1;
        self.lines.push(format!("LOST {what}"));
    }

    fn double(&mut self, what: &str) {
        self.duplicated += 1;
        self.lines.push(format!("DUPLICATED {what}"));
    }

    fn forbid(&mut self, what: &str) {
        self.illegal += 1;
        self.lines.push(format!("ILLEGAL {what}"));
    }

    /// One deployment's history by itself: no gap, no change of state that is not in the table, nothing twice.
    fn read(&mut self, id: &str, lines: &[Value], changes: &BTreeSet<(String, String)>) {
        let mut before: Option<&Value> = None;
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        let mut exposed: BTreeMap<&str, usize> = BTreeMap::new();
        for (place, line) in (1..).zip(lines) {
            let kind = text(line, "/kind");
            if number(line, "/seq") != Some(place) {
                self.lose(&format!("{id}: event {place} is missing"));
            }
            *kinds.entry(kind).or_default() += 1;
            if kind == "exposed" {
                *exposed.entry(text(line, "/sentence")).or_default() += 1;
            }
            if let Some(before) = before {
                let (from, to) = (text(line, "/before"), text(line, "/after"));
                if text(before, "/after") != from || text(before, "/at") > text(line, "/at") {
                    self.forbid(&format!("{id}: event {place} does not follow on the one before"));
                }
                if from != to && !changes.contains(&(from.to_owned(), to.to_owned())) {
                    self.forbid(&format!("{id}: {from} became {to} at event {place}"));
                }
            }
            before = Some(line);
        }
        for once in ONCE {
            if kinds.get(once).is_some_and(|count| *count > 1) {
                self.double(&format!("{id}: {once} more than once"));
            }
        }
        let again = kinds.get("reopened").copied().unwrap_or(0);
        for (stage, count) in exposed {
            if count > 1 + again {
                self.double(&format!("{id}: {count} times {stage}"));
            }
        }
    }

    /// Every promise is in the journal, once.
    fn compare(
        &mut self,
        deployments: &Value,
        histories: &BTreeMap<String, Vec<Value>>,
        promises: &Promises,
    ) {
        let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for one in items(deployments, "") {
            by_key.entry(text(one, "/reason")).or_default().push(text(one, "/deployment"));
        }
        for (key, ids) in by_key.iter().filter(|(key, _)| key.starts_with("key-")) {
            if ids.len() > 1 {
                self.double(&format!("{key} made {}", ids.join(", ")));
            }
        }
        for (key, id) in &promises.submitted {
            if !by_key.get(key.as_str()).is_some_and(|ids| ids.contains(&id.as_str())) {
                self.lose(&format!("{id}, acknowledged for {key}"));
            }
        }
        for (who, id, events) in &promises.told {
            let lines = histories.get(id).map_or(&[][..], Vec::as_slice);
            let mine = lines.iter().filter(|line| said_by(line, who));
            let mine: Vec<&str> = mine.map(|line| text(line, "/kind")).collect();
            if mine.len() < events.len() {
                self.lose(&format!("{who} was told {events:?} of {id}, and the journal has {mine:?}"));
            } else if mine.len() > events.len() {
                self.double(&format!("{who} was told {events:?} of {id}, and the journal has {mine:?}"));
            }
        }
    }

    /// Nobody kills an instance here, so every instance was started once for each deployment of its release: a way back
    /// deploys an older one again.
    fn count_starts(&mut self, starts: &str, deployments: &Value) {
        let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
        for release in items(deployments, "").iter().map(|one| text(one, "/release")) {
            *wanted.entry(release).or_default() += 1;
        }
        let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
        for instance in starts.lines() {
            *counted.entry(instance).or_default() += 1;
        }
        println!("{} instances were started", counted.len());
        for (instance, count) in counted {
            let most =
                instance.split('/').nth(1).and_then(|release| wanted.get(release)).copied().unwrap_or(0);
            if count > most {
                self.double(&format!("instance {instance} was started {count} times for {most} deployments"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(seq: u64, kind: &str, before: &str, after: &str) -> Value {
        let at = format!("2026-01-01T00:00:{seq:02}.000Z");
        let actor = json!({ "kind": "person", "name": "verb-1" });
        json!({ "seq": seq, "kind": kind, "before": before, "after": after, "at": at, "sentence": "stage 1", "actor": actor })
    }

    fn read(lines: &[Value]) -> (usize, usize, usize) {
        let table = json!({ "changes": [{ "from": "queued", "to": "checking" }, { "from": "checking", "to": "init" }] });
        let mut found = Found::default();
        found.read("d", lines, &changes(&table));
        (found.lost, found.duplicated, found.illegal)
    }

    #[test]
    fn a_gap_a_repetition_and_a_forbidden_change_are_each_found() {
        let good = [
            line(1, "planned", "", "queued"),
            line(2, "admitted", "queued", "checking"),
            line(3, "checked", "checking", "init"),
        ];
        assert_eq!(read(&good), (0, 0, 0));
        let [first, second, third] = good;
        assert_eq!(read(&[first.clone(), third]), (1, 0, 1), "what follows a gap does not follow");
        let twice = line(3, "admitted", "checking", "init");
        assert_eq!(read(&[first.clone(), second.clone(), twice]), (0, 1, 0));
        let leap = line(3, "verified", "checking", "verified");
        assert_eq!(read(&[first.clone(), second.clone(), leap]), (0, 0, 1));
        let torn = line(3, "checked", "init", "init");
        assert_eq!(read(&[first, second, torn]), (0, 0, 1));
    }

    #[test]
    fn a_promise_that_the_journal_does_not_keep_is_lost_and_one_kept_twice_is_double() {
        let deployments =
            json!([{ "reason": "key-1", "deployment": "a" }, { "reason": "key-2", "deployment": "b" }]);
        let histories = BTreeMap::from([("a".to_owned(), vec![line(1, "paused", "queued", "paused")])]);
        let judged = |submitted: &[(&str, &str)], told: &[&str], deployments: &Value| {
            let submitted = submitted.iter().map(|(key, id)| ((*key).to_owned(), (*id).to_owned())).collect();
            let told = told.iter().map(|event| (*event).to_owned()).collect();
            let promises = Promises { submitted, told: vec![("verb-1".to_owned(), "a".to_owned(), told)] };
            let mut found = Found::default();
            found.compare(deployments, &histories, &promises);
            (found.lost, found.duplicated)
        };
        assert_eq!(judged(&[("key-1", "a"), ("key-2", "b")], &["paused"], &deployments), (0, 0));
        assert_eq!(judged(&[("key-3", "c")], &["paused"], &deployments), (1, 0));
        assert_eq!(judged(&[], &["paused", "resumed"], &deployments), (1, 0));
        assert_eq!(judged(&[], &[], &deployments), (0, 1));
        let twice =
            json!([{ "reason": "key-1", "deployment": "a" }, { "reason": "key-1", "deployment": "b" }]);
        assert_eq!(judged(&[], &["paused"], &twice), (0, 1));
    }
}
