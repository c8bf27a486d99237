//! Standard output: a reader that went away ends nothing, and a disk that is full is said instead of a panic.

use std::{fmt, io, io::Write as _};

use crate::fault::Fault;

/// Prints to standard output; leaves the function with the fault when that cannot be done.
macro_rules! say {
    ($($what:tt)*) => { $crate::cli::out::print(format_args!($($what)*))? };
}

/// The same with the end of a line.
macro_rules! sayln {
    ($($what:tt)*) => { $crate::cli::out::print(format_args!("{}\n", format_args!($($what)*)))? };
}

pub(super) use {say, sayln};

/// Writes and flushes. What nobody reads any more is no fault: the work goes on as if somebody did.
pub(super) fn print(what: fmt::Arguments<'_>) -> Result<(), Fault> {
    let mut stdout = anstream::stdout().lock();
    written(stdout.write_fmt(what).and_then(|()| stdout.flush()))
}

/// What a write to standard output comes to.
pub(super) fn written(done: io::Result<()>) -> Result<(), Fault> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Fault::trouble(format!("cannot write to standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
