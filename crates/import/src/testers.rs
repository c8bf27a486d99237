//! Whose requests reach the new release whatever the share is: headers and cookies.

use tidegate_core::model::literal;

use crate::{
    difference::Report,
    field::Field,
    form::is_token,
    out::{Value, map, text},
};

/// So many marks `tidegate.yaml` takes.
const MARKS_MAX: usize = 16;

/// What ingress-nginx looks for in a header or a cookie when nothing else is said.
const ALWAYS: &str = "always";

/// One mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A header with this value.
    Header(String, String),
    /// A header whose value this regular expression describes.
    Pattern(String, String),
    /// A cookie with this value.
    Cookie(String, String),
}

/// All marks; any of them is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Testers {
    marks: Vec<Mark>,
}

impl Mark {
    fn value(&self) -> Value {
        let (of, name, by, value) = match self {
            Self::Header(name, value) => ("header", name, "value", value),
            Self::Pattern(name, value) => ("header", name, "matches", value),
            Self::Cookie(name, value) => ("cookie", name, "value", value),
        };
        map([(of, text(name.clone())), (by, text(value.clone()))])
    }

    /// Whether it can be written.
    fn is_good(&self) -> bool {
        let (Self::Header(name, value) | Self::Pattern(name, value) | Self::Cookie(name, value)) = self;
        is_token(name) && !value.is_empty() && value.chars().all(|c| (' '..='~').contains(&c))
    }

    /// A mark of `{exact: …}`, `{prefix: …}` or `{regex: …}`; nothing of anything else.
    pub(crate) fn of(header: &str, value: &Field<'_>) -> Option<Self> {
        let said = |key: &str| value.text_at(key).map(str::to_owned);
        let name = header.to_owned();
        let mark = match (value.entries().len(), said("exact"), said("prefix"), said("regex")) {
            (1, Some(exact), _, _) => Self::Header(name, exact),
            (1, _, Some(prefix), _) => Self::Pattern(name, format!("^{}.*", literal(&prefix))),
            (1, _, _, Some(regex)) => Self::Pattern(name, regex),
            _ => return None,
        };
        mark.is_good().then_some(mark)
    }
}

impl Testers {
    /// What stands under `testers`; nothing where there are none.
    pub(crate) fn value(&self) -> Option<Value> {
        (!self.marks.is_empty()).then(|| Value::List(self.marks.iter().map(Mark::value).collect()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// One more, unless it is there; answers whether it could be written.
    pub(crate) fn add(&mut self, mark: Mark, at: &Field<'_>, report: &mut Report) -> bool {
        if self.marks.contains(&mark) {
            return true;
        }
        if self.marks.len() == MARKS_MAX {
            let theirs = format!("more than {MARKS_MAX} headers");
            report.error(
                at,
                theirs,
                format!("`testers` are {MARKS_MAX} at the most: the others are not written"),
            );
            return false;
        }
        self.marks.push(mark);
        true
    }

    /// Those that ingress-nginx can look for at once: one header and one cookie.
    pub(crate) fn for_nginx(mut self, at: &Field<'_>, report: &mut Report) -> Self {
        let before = self.marks.len();
        let (mut header, mut cookie) = (false, false);
        self.marks.retain(|mark| {
            let seen = if matches!(mark, Mark::Cookie(..)) { &mut cookie } else { &mut header };
            !std::mem::replace(seen, true)
        });
        if self.marks.len() < before {
            let ours = "ingress-nginx looks for one header and one cookie: the others are not written";
            report.error(at, "several headers or cookies", ours);
        }
        self
    }

    /// The same for what moves the traffic: without a route nobody can be told from others.
    pub(crate) fn behind(self, route: Option<&str>, at: &Field<'_>, report: &mut Report) -> Self {
        if self.is_empty() || route.is_some() {
            return self;
        }
        report.warn(
            at,
            "requests with these headers go to the new release",
            "not written: `testers` need a route",
        );
        Self::default()
    }
}

/// The matches of `setHeaderRoute`, each with one header, and where each is written.
pub(crate) fn marks_of<'a>(matches: &Field<'a>, report: &mut Report) -> Vec<(Mark, Field<'a>)> {
    let mut marks = Vec::new();
    for one in matches.items() {
        let (name, value) = (one.text_at("headerName").unwrap_or_default(), one.get("headerValue"));
        match value.as_ref().and_then(|value| Mark::of(name, value)) {
            Some(mark) => marks.push((mark, one)),
            None => unsaid(&one, report),
        }
    }
    marks
}

/// Further annotations of nginx' canary Ingress: those that tell testers, and others, which are said.
pub(crate) fn of_annotations(annotations: &Field<'_>, testers: &mut Testers, report: &mut Report) {
    let entries = annotations.entries();
    let named = |key: &str| {
        let of = |(full, _): &&(&str, Field<'_>)| {
            full.strip_prefix("nginx.ingress.kubernetes.io/").unwrap_or(full) == key
        };
        entries.iter().find(of).and_then(|(_, value)| value.text()).map(str::to_owned)
    };
    let (value, pattern) = (named("canary-by-header-value"), named("canary-by-header-pattern"));
    let mut known = Vec::new();
    if let Some(header) = named("canary-by-header") {
        known.extend(["canary-by-header", "canary-by-header-value", "canary-by-header-pattern"]);
        let mark = match (value, pattern) {
            // The value wins where both are written.
            (Some(value), _) => Mark::Header(header, value),
            (None, Some(pattern)) => Mark::Pattern(header, pattern),
            (None, None) => {
                never(annotations, "the header", report);
                Mark::Header(header, ALWAYS.to_owned())
            }
        };
        put(mark, annotations, testers, report);
    }
    if let Some(cookie) = named("canary-by-cookie") {
        known.push("canary-by-cookie");
        never(annotations, "the cookie", report);
        put(Mark::Cookie(cookie, ALWAYS.to_owned()), annotations, testers, report);
    }
    for (key, value) in &entries {
        let plain = key.strip_prefix("nginx.ingress.kubernetes.io/").unwrap_or(key);
        if !known.contains(&plain) {
            let theirs = format!("`{}` on the canary Ingress", tidegate_yaml::finding::shown(key));
            report.warn(value, theirs, "not written: the second Ingress has the canary annotations alone");
        }
    }
}

fn put(mark: Mark, at: &Field<'_>, testers: &mut Testers, report: &mut Report) {
    if mark.is_good() {
        testers.add(mark, at, report);
    } else {
        unsaid(at, report);
    }
}

fn never(at: &Field<'_>, what: &str, report: &mut Report) {
    report.warn(
        at,
        format!("{what} with the value `never` keeps a request on the old release"),
        "not said: such a request goes as the share has it",
    );
}

/// The conditions of Flagger's `match`: each is one header, or it is said. `nginx` looks for a cookie by its name.
pub(crate) fn of_match(conditions: &Field<'_>, nginx: bool, report: &mut Report) -> Testers {
    let mut testers = Testers::default();
    for one in conditions.items() {
        let headers = one.get("headers").map(|headers| headers.entries()).unwrap_or_default();
        let mark = match (one.entries().as_slice(), headers.as_slice()) {
            ([_], [(name, value)]) if nginx && name.eq_ignore_ascii_case("cookie") => {
                let cookie =
                    value.text_at("exact").map(|name| Mark::Cookie(name.to_owned(), ALWAYS.to_owned()));
                cookie.filter(Mark::is_good)
            }
            ([_], [(name, value)]) => Mark::of(name, value),
            _ => None,
        };
        match mark {
            Some(mark) => drop(testers.add(mark, &one, report)),
            None => report.error(
                &one,
                "users whose requests are so get the new release",
                "not written: each of `testers` is one header by its value, prefix or pattern, or one cookie by its value",
            ),
        }
    }
    testers
}

fn unsaid(at: &Field<'_>, report: &mut Report) {
    report.warn(
        at,
        "requests like this go to the new release",
        "not written: each of `testers` is one header by its value, prefix or pattern, or one cookie by its value",
    );
}
