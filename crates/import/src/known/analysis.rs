//! The fields of an `AnalysisTemplate`.

use super::{
    Known,
    Shape::{Count, Keys, List, Text, Truth, Whole},
    known, object,
    provider::PROVIDER,
};

pub(super) static TEMPLATE: [Known; 5] = object(&[
    known("metrics", List(METRIC)),
    known("args", List(ARGS)),
    known("templates", List(TEMPLATES)),
    known("dryRun", List(DRY_RUN)),
    known("measurementRetention", List(RETENTION))
        .note("so many measurements of a run are kept", "every measurement is in the journal"),
]);

pub(super) static TEMPLATES: &[Known] =
    &[known("templateName", Text).required(), known("clusterScope", Truth)];

pub(super) static DRY_RUN: &[Known] = &[known("metricName", Text).required()];

pub(super) static RETENTION: &[Known] =
    &[known("metricName", Text).required(), known("limit", Whole).required()];

const FIELD: Known = known("fieldRef", Keys(&[known("fieldPath", Text).required()]));

static ARGS: &[Known] = &[
    known("name", Text).required(),
    known("value", Text),
    known(
        "valueFrom",
        Keys(&[
            known("podTemplateHashValue", Text),
            FIELD,
            known("secretKeyRef", Keys(&[known("name", Text).required(), known("key", Text).required()])),
        ]),
    ),
];

/// Those that a Rollout hands over; secrets are the template's own.
pub(super) static RUN_ARGS: &[Known] = &[
    known("name", Text).required(),
    known("value", Text),
    known("valueFrom", Keys(&[known("podTemplateHashValue", Text), FIELD])),
];

static METRIC: &[Known] = &[
    known("name", Text).required(),
    known("interval", Text),
    known("initialDelay", Text),
    known("count", Count),
    known("successCondition", Text),
    known("failureCondition", Text),
    known("failureLimit", Count),
    known("inconclusiveLimit", Count),
    known("consecutiveErrorLimit", Count),
    known("consecutiveSuccessLimit", Count),
    known("provider", Keys(PROVIDER)).required(),
];
