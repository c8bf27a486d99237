//! The rules for a Canary of Flagger's.

use tidegate_yaml::finding::Code;

use super::Said;
use crate::{duration, field::Field};

pub(super) fn check(root: &Field<'_>, said: &mut Said) {
    let Some(spec) = root.get("spec") else { return };
    let analysis = spec.get("analysis").or_else(|| spec.get("canaryAnalysis"));
    let skips = spec.get("skipAnalysis").and_then(|skip| skip.truth()) == Some(true);
    let Some(analysis) = analysis else {
        if !skips {
            said.missing(&spec, "analysis", "how the release is checked, or `skipAnalysis: true`");
        }
        return;
    };
    if let Some(interval) = analysis.get("interval")
        && interval.text().is_some_and(|text| duration::go(text).is_none())
    {
        let message = format!("expected a duration, found {}", interval.found());
        said.add(&interval, Code::BadText, message, "write 30s, 1m or 5m");
    }
    for key in ["maxWeight", "stepWeight", "stepWeightPromotion", "mirrorWeight"] {
        let Some(field) = analysis.get(key) else { continue };
        if field.whole().is_some_and(|weight| !(0..=100).contains(&weight)) {
            said.add(
                &field,
                Code::OutOfRange,
                format!("{} is out of range: 0 to 100", field.found()),
                "write the share in percent",
            );
        }
    }
}
