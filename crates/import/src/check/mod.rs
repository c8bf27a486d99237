//! Whether manifests are what their own tools accept.
//!
//! The rules are those of Argo's linter and of its admission of `AnalysisTemplates`; what they say is said with the line, the
//! field, what was expected and what to write.

mod analysis;
mod beside;
mod canary;
mod containers;
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
                if object.name.is_empty() {
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
            let quoted = matches!(shape, Shape::Text) && value.text().is_some();
            let help = if quoted { "write it in quotes" } else { "write it as that" };
            self.add(value, Code::WrongType, message, help);
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
            | Shape::Texts => {}
        }
    }

    fn unknown(&mut self, key: &str, value: &Field<'_>, around: &Field<'_>, fields: &'static [Known]) {
        let here =
            if around.path.is_empty() { "at the top".to_owned() } else { format!("in `{}`", around.path) };
        let unused = fields.iter().map(|known| known.key).filter(|known| around.get(known).is_none());
        let help = nearest(key, unused).map_or_else(
            || format!("known here: {}", fields.iter().map(|known| known.key).collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        self.add(value, Code::UnknownKey, format!("`{}` is not a field {here}", shown(key)), help);
    }
}

/// Whether a text is not there or empty.
fn is_empty(text: Option<&str>) -> bool {
    text.is_none_or(str::is_empty)
}
