//! Bad evidence never becomes a value.

use std::{collections::BTreeSet, time::Instant};

use tidegate_core::expression::{Conditions, Expression, Finding, Scope, Unit, Values};

use crate::corpus::{Bad, answers};

#[tokio::test]
async fn every_bad_answer_is_a_fault_that_names_the_query_and_what_to_do() {
    let begun = Instant::now();
    let all = answers().await;
    let wrong: Vec<String> = all.iter().filter_map(complaint).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    let names: BTreeSet<&str> = all.iter().map(|bad| bad.name.as_str()).collect();
    assert_eq!(names.len(), all.len(), "each has its own name");
    assert!(all.len() >= 250, "{}", all.len());
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    // A condition over what is not there can not be told, whichever way round it is asked.
    let parse = |text: &str| Some(Expression::parse(text).unwrap());
    for (success, failure) in [
        (parse("result < 5%"), None),
        (None, parse("result > 5%")),
        (parse("all(result, # < 5%)"), parse("any(result, # > 50%)")),
    ] {
        let conditions = Conditions { success, failure };
        let (finding, _) = conditions.evaluate(&Scope::result(Unit::Ratio), &Values::new());
        assert!(matches!(finding, Finding::CannotTell(_)), "{conditions:?}");
    }
}

fn complaint(bad: &Bad) -> Option<String> {
    let Bad { name, codes, query, answered } = bad;
    let fault = match answered {
        Ok(answer) => return Some(format!("{name}: taken for {answer:?}")),
        Err(fault) => fault,
    };
    let said = fault.to_string();
    let shown: String = query.chars().take(60).collect();
    if !codes.contains(&fault.kind.code()) {
        return Some(format!("{name}: expected one of {codes:?}, but: {said}"));
    }
    let complete =
        said.contains(&shown) && said.contains(&fault.kind.to_string()) && said.contains(fault.kind.advice());
    if !complete || said.len() > 1_000 || said.chars().any(char::is_control) || said.contains("token=") {
        return Some(format!("{name}: says {said:?}"));
    }
    None
}
