//! What means something else here than it did there.

use serde::Serialize;
use tidegate_yaml::finding::Place;

use crate::{Source, field::Field};

/// More differences than this are not kept: a file with so many is better read by a person.
const DIFFERENCES_MAX: usize = 500;

/// How much a difference matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Another way to the same end.
    Note,
    /// Something that was asked for is not done, or done otherwise; nothing that was watched goes unwatched.
    Warning,
    /// Users could be harmed where they were not before, or nothing works as it is: a person has to decide.
    Error,
}

/// One difference of meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// How much it matters.
    pub level: Level,
    /// The file, as it was named.
    pub file: String,
    /// Where in it.
    #[serde(flatten)]
    pub place: Place,
    /// Which value: `spec.strategy.canary.steps[1].pause`.
    pub path: String,
    /// What the other tool does.
    pub theirs: String,
    /// What Tidegate does instead, or what is to be done by hand.
    pub ours: String,
}

/// All differences of an import.
#[derive(Debug, Default)]
pub(crate) struct Report {
    list: Vec<Difference>,
}

impl Report {
    pub(crate) fn note(&mut self, field: &Field<'_>, theirs: impl Into<String>, ours: impl Into<String>) {
        self.add(Level::Note, field, theirs, ours);
    }

    pub(crate) fn warn(&mut self, field: &Field<'_>, theirs: impl Into<String>, ours: impl Into<String>) {
        self.add(Level::Warning, field, theirs, ours);
    }

    pub(crate) fn error(&mut self, field: &Field<'_>, theirs: impl Into<String>, ours: impl Into<String>) {
        self.add(Level::Error, field, theirs, ours);
    }

    /// One more, unless the same was said of the same place before.
    pub(crate) fn add(
        &mut self,
        level: Level,
        field: &Field<'_>,
        theirs: impl Into<String>,
        ours: impl Into<String>,
    ) {
        let difference = Difference {
            level,
            file: field.file.to_owned(),
            place: field.place,
            path: field.path.clone(),
            theirs: theirs.into(),
            ours: ours.into(),
        };
        if self.list.len() < DIFFERENCES_MAX && !self.list.contains(&difference) {
            self.list.push(difference);
        }
    }

    /// There is nothing to make a service of.
    pub(crate) fn nothing(&mut self, sources: &[Source]) {
        let file = sources.first().map(|source| source.file.clone()).unwrap_or_default();
        self.list.push(Difference {
            level: Level::Error,
            file,
            place: Place::default(),
            path: String::new(),
            theirs: "there is no Rollout (argoproj.io/v1alpha1) and no Canary (flagger.app/v1beta1) in it"
                .to_owned(),
            ours: "name the files that have them, with their AnalysisTemplates, Services and Deployments"
                .to_owned(),
        });
    }

    /// In the order of the files, from their tops down.
    pub(crate) fn sorted(mut self) -> Vec<Difference> {
        self.list.sort_by(|a, b| (&a.file, a.place, &a.path).cmp(&(&b.file, b.place, &b.path)));
        self.list
    }
}
