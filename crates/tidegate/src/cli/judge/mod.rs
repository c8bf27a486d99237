//! `judge`: the gates asked about numbers from outside, a batch a line.

mod form;
mod line;
mod sitting;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;
use tidegate_core::model::Share;

use self::{
    line::Context,
    sitting::{Answer, Decision, End, Sitting},
};
use super::project;
use crate::{
    compose, config,
    fault::{Exit, Fault},
};

/// A longer line is not read.
const LINE_BYTES_MAX: usize = 256 * 1024;
/// Bad lines that are named one by one.
const NAMED_MAX: u64 = 20;

#[derive(Args)]
pub(super) struct JudgeArgs {
    /// What is asked: `gates` and `judgement` as in tidegate.yaml, `criticality`, `shares` of the stages.
    #[arg(long, value_name = "FILE")]
    gates: PathBuf,
    /// The batches, one JSON object a line; default: standard input.
    #[arg(long, value_name = "FILE")]
    batches: Option<PathBuf>,
    /// Leave lines out that cannot be read, and say how many, instead of refusing.
    #[arg(long)]
    skip_bad: bool,
}

pub(super) fn judge(args: &JudgeArgs) -> Result<Exit, Fault> {
    let judged =
        config::load_judged(&args.gates).map_err(|rejected| Fault::refuse(project::rejection(&rejected)))?;
    let input: Box<dyn Read> = match &args.batches {
        Some(path) => Box::new(open(path)?),
        None => Box::new(standard_input()),
    };
    let mut bench = Bench::new(&judged, args.skip_bad)?;
    bench.hear(BufReader::new(input), &mut io::stdout(), &mut io::stderr())
}

/// The page of the reference.
pub(super) fn page() -> String {
    format!("{}\n{}", include_str!("page.txt"), config::reference::judged_markdown())
}

/// Standard input; at a terminal it is said that something is waited for.
fn standard_input() -> io::Stdin {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        anstream::eprintln!("reading batches from the terminal, one JSON object a line; Ctrl-D ends them");
    }
    stdin
}

fn open(path: &Path) -> Result<File, Fault> {
    let refuse =
        |why: &dyn std::fmt::Display| Fault::refuse(format!("cannot read {}: {why}", path.display()));
    let file = File::open(path).map_err(|error| refuse(&error))?;
    let kind = file.metadata().map_err(|error| refuse(&error))?;
    if kind.is_dir() { Err(refuse(&"it is a directory")) } else { Ok(file) }
}

/// Reads lines and answers each.
struct Bench {
    sitting: Sitting,
    shares: Vec<Share>,
    skip_bad: bool,
    bad: u64,
}

impl Bench {
    fn new(judged: &config::Judged, skip_bad: bool) -> Result<Self, Fault> {
        let shares = judged.shares.iter().map(|points| Share::from_basis_points(*points));
        let shares = shares.collect::<Result<Vec<_>, _>>().map_err(Fault::caller)?;
        let gates = compose::gates(&judged.gates, &judged.judgement)?;
        if gates.is_empty() {
            return Err(Fault::refuse("every gate is off: nothing would be asked, and that is no pass"));
        }
        let sitting = Sitting::new(gates, judged.judgement.settings(), &shares);
        Ok(Self { sitting, shares, skip_bad, bad: 0 })
    }

    /// Answers line by line. Once a line is bad, the others are only checked, unless bad ones are skipped.
    fn hear(
        &mut self,
        mut input: impl BufRead,
        answers: &mut impl Write,
        complaints: &mut impl Write,
    ) -> Result<Exit, Fault> {
        let (mut number, mut batches) = (0_u64, 0_u64);
        while let Some(line) = next(&mut input)? {
            number += 1;
            let (stage, after) = self.sitting.last();
            let context = Context { number: batches + 1, after, stage, shares: &self.shares };
            let read = match &line {
                Line::Whole(text) if text.trim_ascii().is_empty() => continue,
                Line::Whole(text) => context.read(text),
                Line::TooLong => Err(format!("it is longer than {LINE_BYTES_MAX} bytes")),
            };
            match read {
                Ok(batch) if self.bad == 0 || self.skip_bad => {
                    batches += 1;
                    let (said, end) = self.sitting.take(&batch);
                    if let Some(exit) = self.say(said, end, answers)? {
                        return Ok(exit);
                    }
                }
                Ok(_) => {}
                Err(why) => self.complain(number, &why, complaints)?,
            }
        }
        if self.bad > 0 && !self.skip_bad {
            return Err(Fault::refuse(format!(
                "{} of {number} lines cannot be read, so nothing was decided; mend them, or leave them out with --skip-bad",
                self.bad
            )));
        }
        let (said, end) = self.sitting.end();
        let exit = self.say(said, Some(end), answers)?;
        Ok(exit.unwrap_or(Exit::Held))
    }

    fn complain(&mut self, number: u64, why: &str, complaints: &mut impl Write) -> Result<(), Fault> {
        self.bad += 1;
        if self.bad <= NAMED_MAX {
            writeln!(complaints, "line {number}: {why}").map_err(Fault::world)?;
        } else if self.bad == NAMED_MAX + 1 {
            writeln!(complaints, "more bad lines are counted and not named").map_err(Fault::world)?;
        }
        Ok(())
    }

    /// Writes what was said, at once; the exit code when that is the end.
    fn say(&self, said: Vec<Answer>, end: Option<End>, to: &mut impl Write) -> Result<Option<Exit>, Fault> {
        for answer in said {
            write(to, &answer)?;
        }
        let exit = match end {
            None => None,
            Some(end) => {
                let exit = match end.decision {
                    Decision::RollBack => Exit::RolledBack,
                    Decision::Pass => Exit::Success,
                    Decision::Undecided => Exit::Held,
                };
                write(to, &End { skipped: self.bad, ..end })?;
                Some(exit)
            }
        };
        to.flush().map_err(unheard)?;
        Ok(exit)
    }
}

fn write(to: &mut impl Write, value: &impl Serialize) -> Result<(), Fault> {
    let text = serde_json::to_string(value).map_err(Fault::internal)?;
    writeln!(to, "{text}").map_err(unheard)
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
fn unheard(error: io::Error) -> Fault {
    Fault::trouble(format!("cannot write the answers: {error}; nothing was decided"))
}

/// A line, or that there was too much of it.
enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// The next line without its end; nothing at the end of the input. No more than the bound is ever held.
fn next(input: &mut impl BufRead) -> Result<Option<Line>, Fault> {
    let bound = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = Vec::new();
    let count = input.take(bound).read_until(b'\n', &mut text).map_err(Fault::world)?;
    if count == 0 {
        return Ok(None);
    }
    if text.last() == Some(&b'\n') || text.len() <= LINE_BYTES_MAX {
        return Ok(Some(Line::Whole(text)));
    }
    while !matches!(text.last(), None | Some(b'\n')) {
        text.clear();
        input.take(bound).read_until(b'\n', &mut text).map_err(Fault::world)?;
    }
    Ok(Some(Line::TooLong))
}
