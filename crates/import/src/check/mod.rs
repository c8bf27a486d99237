//! Whether manifests are what their own tools accept.
//!
//! The rules are those of Argo's linter and of its admission of `AnalysisTemplates`; what they say is said with the line, the
//! field, what was expected and what to write.

mod analysis;
mod beside;
mod canary;
mod containers;
mod parts;
mod pods;
mod rollout;
mod steps;

use tidegate_yaml::{
    finding::{Code, Complaint, Finding, Findings, shown},
    near::nearest,
};

use crate::{
    Source,
    field::Field,
    known::{Known, Shape, fields_of},
    objects::Objects,
};

/// The versions of Services and Ingresses whose fields are known here.
const VERSIONS: [&str; 2] = ["v1", "networking.k8s.io/v1"];

/// Everything that is wrong with the manifests of other tools in these files, each file from the top down.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut all = Vec::new();
    for source in sources {
        let mut said = Said(Findings::new(&source.file));
        let objects = Objects::of(std::slice::from_ref(source));
        for kind in ["Rollout", "AnalysisTemplate", "ClusterAnalysisTemplate", "Canary", "MetricTemplate"] {
            for object in objects.of_kind(kind) {
                let Some(fields) = fields_of(kind) else { continue };
                said.shape(&object.field, fields);
                if object.name.is_empty() && object.field.at("metadata.generateName").is_none() {
                    said.missing(&object.field, "metadata.name", "a name");
                }
                match kind {
                    "Rollout" => {
                        rollout::check(&object.field, &mut said);
                        beside::check(object, &objects, &mut said);
                    }
                    "AnalysisTemplate" | "ClusterAnalysisTemplate" => {
                        analysis::check(&object.field, &mut said);
                    }
                    "Canary" => canary::check(&object.field, &mut said),
                    _ => {}
                }
            }
        }
        for kind in ["Service", "Ingress"] {
            for object in objects.of_kind(kind) {
                if let Some(fields) = fields_of(kind).filter(|_| VERSIONS.contains(&object.version)) {
                    said.shape(&object.field, fields);
                }
            }
        }
        all.extend(said.0.sorted());
    }
    all
}

/// What was found to be wrong so far.
struct Said(Findings);

impl Said {
    fn add(&mut self, field: &Field<'_>, code: Code, message: impl Into<String>, help: impl Into<String>) {
        self.0.add(field.place, &field.path, Complaint::new(code, message).help(help));
    }

    fn missing(&mut self, around: &Field<'_>, key: &str, expected: &str) {
        let message = format!("`{key}` is missing: expected {expected}");
        self.0.add(around.place, &around.path, Complaint::new(Code::MissingKey, message));
    }

    /// Two values that cannot both hold, or one that cannot hold here.
    fn conflict(&mut self, field: &Field<'_>, message: impl Into<String>, help: impl Into<String>) {
        self.add(field, Code::Conflict, message, help);
    }

    /// A number that may not be below zero; the number.
    fn not_negative(&mut self, around: &Field<'_>, key: &str) -> Option<i64> {
        let field = around.get(key)?;
        let number = field.whole()?;
        if number < 0 {
            self.add(&field, Code::OutOfRange, format!("`{number}` is below zero"), "write 0 or more");
        }
        Some(number)
    }

    /// Fields that are not known, that are missing, and values of another type.
    fn shape(&mut self, field: &Field<'_>, fields: &'static [Known]) {
        if self.0.is_full() || !field.is_map() {
            return;
        }
        let entries = field.entries();
        for (key, value) in &entries {
            match fields.iter().find(|known| known.key == *key) {
                None => self.unknown(key, value, field, fields),
                // `pause: ` and the like are as if they were not written.
                Some(_) if value.is_null() => {}
                Some(known) => self.value(value, known.shape),
            }
        }
        for known in fields.iter().filter(|known| known.required) {
            if field.get(known.key).is_none() {
                self.missing(field, known.key, known.shape.words());
            }
        }
    }

    fn value(&mut self, value: &Field<'_>, shape: Shape) {
        if let Some(expected) = shape.refuses(value) {
            let message = format!("expected {expected}, found {}", value.found());
            let help = instead(value, shape);
            let code = if matches!(shape, Shape::Time) { Code::BadText } else { Code::WrongType };
            self.add(value, code, message, help);
            return;
        }
        match shape {
            Shape::Keys(inner) => self.shape(value, inner),
            Shape::List(inner) => {
                for item in value.items() {
                    if item.is_map() {
                        self.shape(&item, inner);
                    } else {
                        self.add(
                            &item,
                            Code::WrongType,
                            format!("expected keys, found {}", item.found()),
                            "write `- key: value`",
                        );
                    }
                }
            }
            Shape::Free
            | Shape::Text
            | Shape::Whole
            | Shape::Count
            | Shape::Truth
            | Shape::Amount
            | Shape::Texts
            | Shape::Words
            | Shape::Open
            | Shape::Time => {}
            Shape::Each(inner) => {
                value.entries().iter().for_each(|(_, item)| self.value(item, Shape::Keys(inner)));
            }
        }
    }

    fn unknown(&mut self, key: &str, value: &Field<'_>, around: &Field<'_>, fields: &'static [Known]) {
        let here =
            if around.path.is_empty() { "at the top".to_owned() } else { format!("in `{}`", around.path) };
        let unused = fields.iter().map(|known| known.key).filter(|known| around.get(known).is_none());
        let help = nearest(key, unused).map_or_else(
            || match fields {
                [] => "nothing is read here: take it out".to_owned(),
                _ => format!(
                    "known here: {}",
                    fields.iter().map(|known| known.key).collect::<Vec<_>>().join(", ")
                ),
            },
            |near| format!("did you mean `{near}`?"),
        );
        self.add(value, Code::UnknownKey, format!("`{}` is not a field {here}", shown(key)), help);
    }
}

/// What to write instead of a value of another type.
fn instead(value: &Field<'_>, shape: Shape) -> String {
    let is_scalar = value.text().is_some();
    match shape {
        Shape::Text if is_scalar => "write it in quotes",
        Shape::Whole | Shape::Count | Shape::Truth if is_scalar && !value.is_plain() => {
            "take the quotes away, and write it as that"
        }
        Shape::Whole | Shape::Count if value.whole().is_some() => {
            return format!("write {} at most, and no less than {}", i32::MAX, i32::MIN);
        }
        Shape::Time => "write the day, the time and the zone, or take it out",
        Shape::List(_) | Shape::Texts if is_scalar => "write each item in a line of its own: `- item`",
        Shape::Keys(_) | Shape::Each(_) | Shape::Open | Shape::Words if is_scalar => {
            "write `key: value` below it"
        }
        Shape::Free
        | Shape::Text
        | Shape::Whole
        | Shape::Count
        | Shape::Truth
        | Shape::Amount
        | Shape::Keys(_)
        | Shape::List(_)
        | Shape::Texts
        | Shape::Words
        | Shape::Each(_)
        | Shape::Open => "write it as that",
    }
    .to_owned()
}

/// Whether a text is not there or empty.
fn is_empty(text: Option<&str>) -> bool {
    text.is_none_or(str::is_empty)
}
