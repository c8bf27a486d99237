//! Conditions of other tools in Tidegate's expression language.

use tidegate_core::{
    expression::{Expression, ExpressionError, Problem, Unit},
    judge,
};

use crate::{difference::Report, field::Field};

/// A condition that could not be taken over; it was said.
pub(crate) struct Refused;

/// The condition in its canonical form; nothing where none is written.
pub(crate) fn translated(field: Option<&Field<'_>>, report: &mut Report) -> Result<Option<String>, Refused> {
    let Some(field) = field else { return Ok(None) };
    let Some(text) = field.text().filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    canonical(text, field, report).map(Some).ok_or(Refused)
}

/// A condition that stands at `field` in its canonical form; nothing when it is refused, which is said.
pub(crate) fn canonical(text: &str, field: &Field<'_>, report: &mut Report) -> Option<String> {
    let found = read(text).or_else(|error| match read(&with_numbers(text)) {
        Ok(same) => {
            report.note(
                field,
                "true or false is compared as such",
                "true is 1 and false is 0 where a number is read",
            );
            Ok(same)
        }
        // What the text itself lacks is said, not what its copy lacks.
        Err(_) => Err(error),
    });
    match found {
        Ok(expression) => {
            if answers_itself(text) {
                report.note(
                    field,
                    "the condition answers for missing data by itself",
                    "an answer that rests on missing data is no evidence: neither a pass nor a failure",
                );
            }
            Some(expression.to_string())
        }
        Err(error) => {
            report.error(field, format!("the condition `{text}`"), refusal(&error));
            None
        }
    }
}

/// Reads a condition over the numbers of a query.
pub(crate) fn read(text: &str) -> Result<Expression, ExpressionError> {
    let expression = Expression::parse(text)?;
    expression.check(&judge::scope(Unit::Number))?;
    Ok(expression)
}

/// The condition with comparisons to `true` and `false` as comparisons to 1 and 0.
fn with_numbers(text: &str) -> String {
    let mut out = text.to_owned();
    for sign in ["==", "!="] {
        for (word, number) in [("true", "1"), ("false", "0")] {
            for blank in [" ", ""] {
                out = out.replace(&format!("{sign}{blank}{word}"), &format!("{sign} {number}"));
            }
        }
    }
    out
}

/// What is wrong, by the exact token, and what to do.
pub(crate) fn refusal(error: &ExpressionError) -> String {
    let advice = match &error.problem {
        Problem::Wanted { .. } | Problem::Unlike { .. } => {
            "; `result` is a number or a list of numbers here: name one number of the answer by the metric's `path`, and write one gate for each"
        }
        Problem::UnknownName { .. } => "; only `result` has a value",
        Problem::TooLong
        | Problem::TooDeep
        | Problem::Expected { .. }
        | Problem::NotInLanguage { .. }
        | Problem::OpenQuote
        | Problem::NumberTooLarge
        | Problem::UnknownUnit
        | Problem::UnknownFunction
        | Problem::Arguments { .. }
        | Problem::ItemOutside
        | Problem::Meaningless => "",
    };
    format!("not in Tidegate's language: {error}{advice}; the gate is not written")
}

/// Whether it asks for missing data, and so may be true without any.
fn answers_itself(text: &str) -> bool {
    ["len(", "default(", "isNil(", "isNaN(", "isInf(", "??"].iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conditions_that_people_write_are_in_the_language_and_say_the_same() {
        for text in [
            "result[0] >= 0.95",
            "result < 1000",
            "result == 0",
            "len(result) == 0 || result[0] < 0.05",
            "all(result, # < 0.05)",
            "all(result, {# < 0.05})",
            "any(result, # > 1) and not isNaN(result[0])",
            "default(result, 0) < 0.05",
            "isNaN(result[0]) || result[0] <= 2",
            "!isInf(result[0])",
            "asFloat(result[0]) > 0.5",
            "asInt(result[0]) in [1, 2, 3]",
            "result[0] < 0.1 ? true : false",
            "(result[0] ?? 1) <= 1",
            "max(result) < 5 && min(result) >= 0 && sum(result) / len(result) < 3",
            "one(result, # == 1) || none(result, # == 1) || count(result, # > 0) > 2",
            "len(filter(result, # > 1)) == 0 && all(map(result, # * 2), # < 10)",
            "true",
        ] {
            let read = read(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(Expression::parse(&read.to_string()).as_ref(), Ok(&read), "{text}");
        }
    }

    #[test]
    fn a_comparison_with_true_becomes_one_with_a_number() {
        assert!(read("result == true").is_err());
        assert_eq!(with_numbers("result == true && result[0]!=false"), "result == 1 && result[0]!= 0");
        assert!(read(&with_numbers("result == true || result != false")).is_ok());
    }

    #[test]
    fn a_condition_outside_of_the_language_is_refused_by_its_token() {
        for (text, token) in [
            ("result matches 'a.*'", "matches"),
            ("result[0] ^ 2 > 1", "^"),
            ("result.ok == true", "result"),
            ("result | len", "|"),
            ("steps > 1", "steps"),
            ("reduce(result, #acc + #) > 1", "reduce"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.text.contains(token), "{text}: {error}");
            assert!(refusal(&error).contains(&error.text), "{text}");
        }
    }
}
