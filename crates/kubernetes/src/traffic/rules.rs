//! What `HTTPRoute` and `VirtualService` have in common: a list of rules with backends, of which some are ours.

use serde_json::{Map, Value};
use tidegate_core::model::Share;

use super::{
    Ends, HeaderValue, RouteError, Seen, Wanted, found,
    memory::{self, Remembered},
    patch::{self, Slot},
    split::{End, Group, NotOurs, OFF_MAX, Weights, set_weight},
    title,
};

/// How one kind of object writes rules.
pub(crate) trait Dialect {
    /// Its kind.
    const KIND: &'static str;
    /// Where its rules are.
    const RULES: &'static str;
    /// A rule's backends.
    const BACKENDS: &'static str;
    /// A rule's matches.
    const MATCHES: &'static str;
    /// How weights are written.
    const WEIGHTS: Weights;

    /// Which of ours a backend is.
    fn end(&self, backend: &Value, ends: &Ends<'_>, namespace: &str) -> Option<End>;
    /// Makes a backend of ours point to another of ours.
    fn point(&self, backend: &mut Value, ends: &Ends<'_>, to: End);
    /// A backend in a word, for messages.
    fn word(&self, backend: &Value) -> String;
    /// What is matched when a rule says nothing.
    fn everything(&self) -> Value;
    /// What a match asks of a header.
    fn asked(&self, one: &Value, header: &str) -> Option<HeaderValue>;
    /// Makes a match ask for a header.
    fn ask(&self, one: &mut Value, header: &str, value: &HeaderValue);
    /// What share a rule mirrors to the new release.
    fn mirrored(&self, rule: &Value, ends: &Ends<'_>, namespace: &str) -> Share;
    /// Takes our mirror out of a rule.
    fn unmirror(&self, rule: &mut Map<String, Value>, ends: &Ends<'_>, namespace: &str);
    /// Puts our mirror into a rule that has none of ours; `backend` points to the new release. Or says why it cannot be.
    fn mirror(&self, rule: &mut Map<String, Value>, share: Share, backend: Value) -> Result<(), Clash>;
    /// Whether the rules are few enough for the object's schema.
    fn fits(&self, rules: &[Slot]) -> Result<(), Excess>;
}

/// A field of users that stands where ours would be.
pub(crate) struct Clash {
    /// The field.
    pub(crate) field: &'static str,
    /// What is wrong with it.
    pub(crate) problem: &'static str,
    /// What to do.
    pub(crate) todo: &'static str,
}

/// Too many entries.
pub(crate) struct Excess {
    /// The field.
    pub(crate) field: String,
    /// Entries it would have.
    pub(crate) would: usize,
    /// Entries it may have.
    pub(crate) limit: usize,
}

/// An object that is read by a dialect.
pub(crate) struct Route<'a, D> {
    pub(super) dialect: D,
    object: &'a Value,
    pub(super) ends: &'a Ends<'a>,
    pub(super) namespace: &'a str,
    rules: &'a [Value],
    remembered: Remembered,
}

/// What one rule of ours becomes.
struct Rewritten {
    tester: Option<Value>,
    rule: Value,
    remembered: Option<Vec<Option<u64>>>,
}

impl<'a, D: Dialect> Route<'a, D> {
    pub(crate) fn of(dialect: D, object: &'a Value, ends: &'a Ends<'a>) -> Result<Self, RouteError> {
        let malformed = |field: &str, expected, found| RouteError::Malformed {
            object: title(object),
            field: field.to_owned(),
            expected,
            found,
        };
        let kind = object.get("kind");
        if kind.and_then(Value::as_str) != Some(D::KIND) {
            return Err(malformed("/kind", D::KIND, found(kind)));
        }
        let rules = match object.pointer(D::RULES) {
            None => &[],
            Some(Value::Array(rules)) => rules.as_slice(),
            other => return Err(malformed(D::RULES, "a list of rules", found(other))),
        };
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("default");
        let remembered = memory::read(object, ends.root);
        Ok(Self { dialect, object, ends, namespace, rules, remembered })
    }

    /// The patch that brings about what is wanted.
    pub(crate) fn changes(&self, wanted: &Wanted<'_>) -> Result<Vec<Value>, RouteError> {
        wanted.check(self.object)?;
        if self.ends.new.is_none() {
            return self.at_rest();
        }
        self.patch(Some(wanted))
    }

    /// The patch that takes everything back.
    pub(crate) fn at_rest(&self) -> Result<Vec<Value>, RouteError> {
        self.patch(None)
    }

    /// What the rules say.
    pub(crate) fn read(&self) -> Result<Seen, RouteError> {
        let mut seen: Option<Seen> = None;
        for (at, rule) in self.rules.iter().enumerate() {
            let Some(group) = self.group(at, rule, None)? else { continue };
            let mirror = self.dialect.mirrored(rule, self.ends, self.namespace);
            let here = Seen { share: group.share().unwrap_or(Share::NONE), mirror };
            let before = *seen.get_or_insert(here);
            for (field, share, other) in
                [(D::BACKENDS, here.share, before.share), ("mirror", here.mirror, before.mirror)]
            {
                if !agree(share, other) {
                    let field = format!("{}/{at}/{field}", D::RULES);
                    return Err(RouteError::Disagree { object: title(self.object), field, share, other });
                }
            }
            seen = Some(Seen { share: before.share.max(here.share), mirror: before.mirror.max(here.mirror) });
        }
        seen.ok_or_else(|| self.not_found())
    }

    fn patch(&self, wanted: Option<&Wanted<'_>>) -> Result<Vec<Value>, RouteError> {
        let mut slots: Vec<Slot> = Vec::with_capacity(self.rules.len() + 1);
        let mut remembered = Remembered::new();
        let (mut ours, mut grown) = (0, false);
        for (at, rule) in self.rules.iter().enumerate() {
            if self.is_for_testers(rule) {
                continue;
            }
            let Some(group) = self.group(at, rule, self.remembered.get(&ours).map(Vec::as_slice))? else {
                slots.push(Slot { from: Some(at), value: rule.clone() });
                continue;
            };
            let rewritten = self.rewritten(at, rule, &group, wanted)?;
            if let Some(value) = rewritten.tester {
                grown = true;
                let before = at.checked_sub(1);
                let there =
                    before.filter(|one| self.rules.get(*one).is_some_and(|one| self.is_for_testers(one)));
                slots.push(Slot { from: there, value });
            }
            slots.push(Slot { from: Some(at), value: rewritten.rule });
            remembered.extend(rewritten.remembered.map(|weights| (ours, weights)));
            ours += 1;
        }
        if ours == 0 {
            return Err(self.not_found());
        }
        if grown {
            self.dialect.fits(&slots).map_err(|excess| self.full(excess))?;
        }
        let mut operations = Vec::new();
        memory::write(self.object, self.ends.root, &remembered, &mut operations);
        patch::of_slots(self.rules, &slots, D::RULES, &mut operations);
        patch::versioned(self.object, operations)
    }

    /// One of our rules as wanted, and the rule for testers before it.
    fn rewritten(
        &self,
        at: usize,
        rule: &Value,
        group: &Group,
        wanted: Option<&Wanted<'_>>,
    ) -> Result<Rewritten, RouteError> {
        let mut fields = rule.as_object().cloned().unwrap_or_default();
        self.dialect.unmirror(&mut fields, self.ends, self.namespace);
        let point = |to| move |backend: &mut Value| self.dialect.point(backend, self.ends, to);
        let Some(wanted) = wanted else {
            fields.insert(D::BACKENDS.to_owned(), Value::Array(group.at_rest(point(End::Root))));
            return Ok(Rewritten { tester: None, rule: Value::Object(fields), remembered: None });
        };
        let list = group.divided(wanted.share, D::WEIGHTS, point(End::Stable), point(End::New)).map_err(
            |nearest| {
                let field = format!("{}/{at}/{}", D::RULES, D::BACKENDS);
                RouteError::Coarse { object: title(self.object), field, asked: wanted.share, nearest }
            },
        )?;
        let seen_so = self.read_list(&list, None).map(|group| group.rest);
        let remembered = (seen_so.as_ref() != Ok(&group.rest)).then(|| group.rest.clone());
        let alone = self.alone(group);
        let tester = self.for_testers(at, &fields, alone.clone(), wanted.testers)?;
        fields.insert(D::BACKENDS.to_owned(), Value::Array(list));
        if wanted.mirror > Share::NONE {
            let put = self.dialect.mirror(&mut fields, wanted.mirror, alone);
            put.map_err(|clash| self.ambiguous(at, clash.field, clash.problem.to_owned(), clash.todo))?;
        }
        Ok(Rewritten { tester, rule: Value::Object(fields), remembered })
    }

    /// The new release as the only backend.
    fn alone(&self, group: &Group) -> Value {
        let mut backend = group.backends.get(group.at).cloned().unwrap_or_default();
        self.dialect.point(&mut backend, self.ends, End::New);
        set_weight(&mut backend, D::WEIGHTS.canonical);
        backend
    }

    /// The backends of a rule when they are ours to divide.
    fn group(
        &self,
        at: usize,
        rule: &Value,
        remembered: Option<&[Option<u64>]>,
    ) -> Result<Option<Group>, RouteError> {
        let Some(list) = rule.get(D::BACKENDS).and_then(Value::as_array) else { return Ok(None) };
        if self.is_for_testers(rule) {
            return Ok(None);
        }
        match self.read_list(list, remembered) {
            Ok(group) => Ok(Some(group)),
            Err(NotOurs::Foreign) => Ok(None),
            Err(NotOurs::Twice) => {
                let problem = "names one of our Services twice".to_owned();
                Err(self.ambiguous(at, D::BACKENDS, problem, "name it once per rule"))
            }
            Err(NotOurs::BadWeight(place)) => Err(RouteError::Malformed {
                object: title(self.object),
                field: format!("{}/{at}/{}/{place}/weight", D::RULES, D::BACKENDS),
                expected: "a whole number, 0 or more",
                found: found(list.get(place).and_then(|one| one.get("weight"))),
            }),
        }
    }

    fn read_list(&self, list: &[Value], remembered: Option<&[Option<u64>]>) -> Result<Group, NotOurs> {
        let end = |backend: &Value| self.dialect.end(backend, self.ends, self.namespace);
        Group::read(list, self.ends, D::WEIGHTS, remembered, end)
    }

    pub(super) fn ambiguous(&self, at: usize, field: &str, problem: String, todo: &str) -> RouteError {
        let field = format!("{}/{at}/{field}", D::RULES);
        RouteError::Ambiguous { object: title(self.object), field, problem, todo: todo.to_owned() }
    }

    pub(super) fn full(&self, excess: Excess) -> RouteError {
        RouteError::Full {
            object: title(self.object),
            field: excess.field,
            would: excess.would,
            limit: excess.limit,
            todo: "name fewer testers, or divide the route",
        }
    }

    fn not_found(&self) -> RouteError {
        let backends =
            self.rules.iter().filter_map(|rule| rule.get(D::BACKENDS).and_then(Value::as_array)).flatten();
        let mut words: Vec<String> = backends.map(|backend| self.dialect.word(backend)).collect();
        words.sort();
        words.dedup();
        let more = words.len().saturating_sub(NAMED_MAX);
        words.truncate(NAMED_MAX);
        let mut found = if words.is_empty() { "nothing".to_owned() } else { words.join(", ") };
        if more > 0 {
            found = format!("{found} and {more} more");
        }
        let ends = [Some(self.ends.root), Some(self.ends.stable), self.ends.new];
        let mut names: Vec<&str> = ends.into_iter().flatten().collect();
        names.dedup();
        let wanted = format!("{} on port {} with a weight above 0", names.join(", "), self.ends.port);
        RouteError::NotFound { object: title(self.object), wanted, found, root: self.ends.root.to_owned() }
    }
}

/// Whether two rules may have been written for one share: weights beside ours can keep each from it by [`OFF_MAX`], but none
/// and all are always exact.
fn agree(one: Share, other: Share) -> bool {
    let is_end = |share: Share| share == Share::NONE || share.is_all();
    let near = one.basis_points().abs_diff(other.basis_points()) <= 2 * OFF_MAX;
    one == other || (near && !is_end(one) && !is_end(other))
}

/// Backends that an error names.
const NAMED_MAX: usize = 10;
