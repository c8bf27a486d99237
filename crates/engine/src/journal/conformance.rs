//! What every journal must do, told by running one.

use super::entry::{Append, Epoch, NewEvent, Row, Standing};

/// A well-formed first append of a deployment.
pub fn first_append(deployment: &str, epoch: Epoch) -> Append {
    Append {
        deployment: deployment.to_owned(),
        expected_seq: 0,
        epoch,
        events: vec![NewEvent { at_unix_ms: 1, kind: "requested".to_owned(), payload: "{}".to_owned() }],
        row: Row {
            service: deployment.to_owned(),
            environment: "production".to_owned(),
            state: "queued".to_owned(),
            standing: Standing::Queued,
            release: "r1".to_owned(),
            turn: 1,
            updated_unix_ms: 1,
        },
        request: None,
    }
}
