//! Marks of testers: how they are written, how they go together with what a rule matches already, and the rule that they
//! get.

use serde_json::{Map, Value};
use tidegate_core::model::literal;

use super::{
    HeaderValue, RouteError, TesterMatch,
    rules::{Dialect, Excess, Route},
    split::End,
};

/// Most matches that one rule gets: Gateway API's limit (`HTTPRouteRule.matches`), kept for Istio as well.
pub(crate) const MATCHES_MAX: usize = 64;

impl TesterMatch {
    /// The header that has to be looked at, and what its value must be. A cookie is a part of the header `cookie`.
    pub(crate) fn header(&self) -> (&str, HeaderValue) {
        match self {
            Self::Header { name, value } => (name, value.clone()),
            Self::Cookie { name, value } => ("cookie", HeaderValue::Regex(cookie(name, value))),
        }
    }
}

/// A cookie as a regular expression over the whole header (RFC 6265, section 4.2.1); right for routers that compare the whole
/// value and for those that search in it.
fn cookie(name: &str, value: &str) -> String {
    format!("^(.*; *)?{}={}(;.*)?$", literal(name), literal(value))
}

/// How a mark goes together with what a match asks of the same header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Together {
    /// Nothing is asked of it yet.
    Free,
    /// The same is asked.
    Same,
    /// No request can have both.
    Never,
    /// That cannot be written: one header has one entry.
    Unclear,
}

/// Compares what a match asks of a header, if anything, with a mark.
pub(crate) fn together(asked: Option<&HeaderValue>, mark: &HeaderValue) -> Together {
    match (asked, mark) {
        (None, _) => Together::Free,
        (Some(asked), mark) if asked == mark => Together::Same,
        (Some(HeaderValue::Exact(_)), HeaderValue::Exact(_)) => Together::Never,
        (Some(_), _) => Together::Unclear,
    }
}

impl<D: Dialect> Route<'_, D> {
    /// The rule that sends testers to the new release: everything that the users' rule says, for its matches with a mark each.
    /// `None` without testers, or when no request can have what both ask for.
    pub(super) fn for_testers(
        &self,
        at: usize,
        fields: &Map<String, Value>,
        alone: Value,
        testers: &[TesterMatch],
    ) -> Result<Option<Value>, RouteError> {
        let written = fields.get(D::MATCHES).and_then(Value::as_array).filter(|written| !written.is_empty());
        let everything = [self.dialect.everything()];
        let matches = written.map_or(everything.as_slice(), Vec::as_slice);
        let would = matches.len() * testers.len();
        if would > MATCHES_MAX {
            let field = format!("{}/{at}/{}", D::RULES, D::MATCHES);
            return Err(self.full(Excess { field, would, limit: MATCHES_MAX }));
        }
        let mut marked = Vec::with_capacity(would);
        for (place, one) in matches.iter().enumerate() {
            for tester in testers {
                marked.extend(self.marked(at, place, one, tester)?);
            }
        }
        if marked.is_empty() {
            return Ok(None);
        }
        let mut rule = fields.clone();
        // names have to be unique within a route
        rule.remove("name");
        rule.insert(D::MATCHES.to_owned(), Value::Array(marked));
        rule.insert(D::BACKENDS.to_owned(), Value::Array(vec![alone]));
        Ok(Some(Value::Object(rule)))
    }

    /// One match with one mark; `None` when no request can have both.
    fn marked(
        &self,
        at: usize,
        place: usize,
        one: &Value,
        tester: &TesterMatch,
    ) -> Result<Option<Value>, RouteError> {
        let (header, value) = tester.header();
        match together(self.dialect.asked(one, header).as_ref(), &value) {
            Together::Same => Ok(Some(one.clone())),
            Together::Never => Ok(None),
            Together::Free => {
                let mut one = one.clone();
                self.dialect.ask(&mut one, header, &value);
                Ok(Some(one))
            }
            Together::Unclear => {
                let field = format!("{}/{place}/headers", D::MATCHES);
                let problem = format!("asks for header `{header}` already, which is also a tester's mark");
                Err(self.ambiguous(at, &field, problem, "mark testers by another header"))
            }
        }
    }

    /// Whether a rule is the one that we write for testers: only the new release behind it, and a header in every match. Rules
    /// of users always have the stable release beside it.
    pub(super) fn is_for_testers(&self, rule: &Value) -> bool {
        let list = |key: &str| rule.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let ([backend], [_, ..]) = (list(D::BACKENDS), list(D::MATCHES)) else { return false };
        let asks = |one: &Value| match one.get("headers") {
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Object(map)) => !map.is_empty(),
            None | Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => false,
        };
        self.dialect.end(backend, self.ends, self.namespace) == Some(End::New)
            && list(D::MATCHES).iter().all(asks)
    }
}
