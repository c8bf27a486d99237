//! TOUCHES: the only room that dials out or runs programs on a deployment's behalf. An adapter returns facts and numbers,
//! never a verdict.

pub mod clock;
pub mod evidence;
pub mod facts;
pub mod local;
pub mod metrics;
pub mod target_spec;
pub mod unix_http;

/// An error with its causes, each said once: what a person is told.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}
