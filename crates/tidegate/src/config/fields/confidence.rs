//! `confidence`: what is known of a release before it gets traffic.

use super::{Block, Form, Kind, field, optional};

pub(super) static CONFIDENCE: Block = Block::of(
    "Confidence: a score from 0 to 100 out of six factors. What is not given is left out of it.",
    &[
        field(
            "enforce",
            Kind::Bool,
            "false",
            "Let the score decide: 80 starts and promotes, 60 asks a person, below that nothing starts and what runs goes back. \
             Otherwise it is only shown. A safety report that says no is obeyed in any case.",
        ),
        optional(
            "safety_report",
            Kind::Text(Form::File),
            "the factor is left out",
            "What the safety gates say, JSON with `passed` and `recommendation`. While `enforce` is on it has to be there.",
        ),
        optional(
            "coverage",
            Kind::Text(Form::File),
            "the factor is left out",
            "Which lines the tests ran, lcov or Cobertura: what counts is the share of changed lines.",
        ),
        optional(
            "coverage_commit",
            Kind::Text(Form::Any),
            "the report's own time, or its file's, has to be later than the commit's",
            "The commit that the coverage report was made from.",
        ),
        optional(
            "dependents",
            Kind::Whole { min: 0, max: 1_000_000 },
            "left out",
            "Services that depend on this one: a part of the blast radius.",
        ),
        optional(
            "history_prior",
            Kind::Share { min: 1, max: 9_999 },
            "85%",
            "The share of good releases that is assumed before there is any history.",
        ),
    ],
);
