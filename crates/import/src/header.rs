//! The routes for testers that steps of a canary make, replace and take away.

use crate::{
    difference::Report,
    field::Field,
    testers::{Mark, Testers, marks_of},
};

/// One that a step made.
#[derive(Debug)]
struct Route<'a> {
    name: &'a str,
    line: usize,
    /// What it looks for, and where that is written.
    marks: Vec<(Mark, Field<'a>)>,
}

/// Those that are there after a step.
#[derive(Debug, Default)]
pub(crate) struct HeaderRoutes<'a> {
    routes: Vec<Route<'a>>,
}

impl<'a> HeaderRoutes<'a> {
    /// A `setHeaderRoute`. `first` says that no user is on the release yet.
    pub(crate) fn step(&mut self, field: &Field<'a>, first: bool, report: &mut Report) {
        let name = field.get("name").and_then(|name| name.text()).unwrap_or_default();
        let matches = field.get("match").filter(|matches| !matches.items().is_empty());
        let at = self.routes.iter().position(|route| route.name == name);
        match (matches, at) {
            (Some(matches), at) => self.set(field, &matches, (name, first), at, report),
            (None, None) => {
                report.note(field, "the route for testers is taken away", "nothing was written for it");
            }
            (None, Some(at)) if first => {
                self.routes.remove(at);
                let theirs = "the route for testers is taken away before the first share of users";
                report.warn(field, theirs, "nothing is written for it: `testers` begin with that share");
            }
            (None, Some(_)) => {
                let ours = "`testers` go to the new release until the end";
                report.warn(field, "the route for testers is taken away", ours);
            }
        }
    }

    fn set(
        &mut self,
        field: &Field<'a>,
        matches: &Field<'a>,
        (name, first): (&'a str, bool),
        before: Option<usize>,
        report: &mut Report,
    ) {
        let ours = if first {
            "`testers` do: from the first share of users on, and until the end"
        } else {
            "`testers` do: from the first share on, not from this step on, and until the end"
        };
        report.warn(field, "requests with these headers go to the new release from here on", ours);
        let route = Route { name, line: field.place.line, marks: marks_of(matches, report) };
        // A route has one match: the last that was set.
        if let Some(old) = before.and_then(|at| self.routes.get_mut(at)) {
            let line = old.line;
            let name = tidegate_yaml::finding::shown(name);
            let theirs =
                format!("this match of the route `{name}` takes the place of the one on line {line}");
            let ours = format!(
                "`testers` are the same at every share: these are written, and those on line {line} alone are not"
            );
            report.warn(field, theirs, ours);
            *old = route;
        } else {
            self.routes.push(route);
        }
    }

    /// What stays until the end.
    pub(crate) fn testers(self, report: &mut Report) -> Testers {
        let mut testers = Testers::default();
        for (mark, at) in self.routes.into_iter().flat_map(|route| route.marks) {
            testers.add(mark, &at, report);
        }
        testers
    }
}
