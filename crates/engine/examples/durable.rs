//! How many durable transitions per second the journal takes, against what the disk does bare.
//!
//! A round measures, in one directory, for 1, 16 and 64 deployments that each append an event of 300 bytes with its row, wait
//! for the answer and go on: `fdatasync` after overwriting 4 KiB of a preallocated file, then the transitions, then `fdatasync`
//! again. The slices are short because a shared disk changes its speed within seconds. The figures are the medians over the
//! rounds of (transitions per second / mean of the two `fdatasync` per second around them).
//!
//! `durable [--short] [--check] [--list] [--dir DIRECTORY]`; the last line on standard output is JSON.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tidegate_engine::journal::{Append, Epoch, Journal, NewEvent, Row, SqliteJournal, Standing};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

const FILE_BYTES: u64 = 16 << 20;
const BLOCK: [u8; 4096] = [7; 4096];
const PAYLOAD_BYTES: usize = 300;
/// How many deployments at a time, and the goal for each: the C programs of the research reached 0.64-0.81, 1.9 and 2.7.
const CASES: [(&str, usize, f64); 3] = [("ratio_1", 1, 0.45), ("ratio_16", 16, 1.3), ("ratio_64", 64, 1.8)];

struct Options {
    short: bool,
    check: bool,
    list: bool,
    dir: PathBuf,
}

/// Rates per second of one case in one round.
#[derive(Clone, Copy)]
struct Rates {
    fdatasync: f64,
    transitions: f64,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = options()?;
    let mut out = std::io::stdout().lock();
    if options.list {
        writeln!(out, "durable: ratio_1, ratio_16, ratio_64")?;
        return Ok(ExitCode::SUCCESS);
    }
    let (rounds, span) = if options.short { (12, 230) } else { (20, 600) };
    let home = tempfile::Builder::new().prefix("durable-").tempdir_in(&options.dir)?;
    let bench = Bench::new(home.path(), Duration::from_millis(span))?;
    // The first appends make the files grow, which a running engine does not wait for.
    bench.round("warm-up")?;
    let measured = (0..rounds).map(|round| bench.round(&round.to_string())).collect::<Result<Vec<_>, _>>()?;
    let mut figures = Vec::new();
    for (case, (id, deployments, goal)) in CASES.into_iter().enumerate() {
        let rates: Vec<Rates> = measured.iter().filter_map(|round| round.get(case)).copied().collect();
        let value = median(&rates, |rates| rates.transitions / rates.fdatasync);
        writeln!(
            out,
            "{deployments} deployments: {:.0} transitions/s, {:.0} fdatasync/s, ratio {value:.2} (medians of {rounds} rounds)",
            median(&rates, |rates| rates.transitions),
            median(&rates, |rates| rates.fdatasync),
        )?;
        figures.push((id, value, goal));
    }
    let missed = figures.iter().any(|(_, value, goal)| value < goal);
    writeln!(out, "{}", json(&figures))?;
    Ok(if options.check && missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options { short: false, check: false, list: false, dir: std::env::current_dir()? };
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--short") => options.short = true,
            Some("--check") => options.check = true,
            Some("--list") => options.list = true,
            Some("--dir") => options.dir = words.next().ok_or("--dir needs a directory")?.into(),
            _ => return Err(format!("unknown option {}", word.display()).into()),
        }
    }
    Ok(options)
}

fn median(rounds: &[Rates], figure: impl Fn(&Rates) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    // No rounds is no figure: not a number meets no goal.
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn json(figures: &[(&str, f64, f64)]) -> String {
    let figures: Vec<String> = figures
        .iter()
        .map(|(id, value, goal)| {
            format!(
                r#"{{"id": "{id}", "value": {value:.3}, "unit": "transitions per fdatasync", "goal": {goal}, "against": "fdatasync of 4 KiB, overwritten, same directory and round"}}"#
            )
        })
        .collect();
    format!(r#"{{"name": "durable", "seed": 0, "figures": [{}]}}"#, figures.join(", "))
}

struct Bench {
    journal: SqliteJournal,
    epoch: Epoch,
    file: File,
    span: Duration,
}

impl Bench {
    fn new(home: &Path, span: Duration) -> Result<Self, Box<dyn Error>> {
        let (journal, epoch) = SqliteJournal::open(&home.join("journal"))?;
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(home.join("bare"))?;
        for block in 0..FILE_BYTES / 4096 {
            file.write_all_at(&BLOCK, block * 4096)?;
        }
        file.sync_all()?;
        Ok(Self { journal, epoch, file, span })
    }

    fn round(&self, name: &str) -> Result<Vec<Rates>, Box<dyn Error>> {
        let mut before = self.bare()?;
        let mut rates = Vec::new();
        for (_, deployments, _) in CASES {
            let transitions = self.transitions(name, deployments)?;
            let after = self.bare()?;
            rates.push(Rates { fdatasync: f64::midpoint(before, after), transitions });
            before = after;
        }
        Ok(rates)
    }

    /// `fdatasync` per second, one thread.
    fn bare(&self) -> Result<f64, Box<dyn Error>> {
        let begun = Instant::now();
        let mut count = 0_u32;
        while begun.elapsed() < self.span {
            self.file.write_all_at(&BLOCK, u64::from(count) * 4096 % FILE_BYTES)?;
            self.file.sync_data()?;
            count += 1;
        }
        Ok(f64::from(count) / begun.elapsed().as_secs_f64())
    }

    fn transitions(&self, round: &str, deployments: usize) -> Result<f64, Box<dyn Error>> {
        let runtime = Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let begun = Instant::now();
            let mut running = JoinSet::new();
            for number in 0..deployments {
                let first = append(self.epoch, &format!("d-{round}-{deployments}-{number}"));
                running.spawn(transit(self.journal.clone(), first, begun + self.span));
            }
            let mut count = 0;
            while let Some(done) = running.join_next().await {
                count += done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            }
            Ok(f64::from(count) / begun.elapsed().as_secs_f64())
        })
    }
}

/// Appends to one deployment until the time is over; says how often.
async fn transit(
    journal: SqliteJournal,
    mut next: Append,
    until: Instant,
) -> Result<u32, Box<dyn Error + Send + Sync>> {
    let mut count = 0;
    while Instant::now() < until {
        let known = journal.append(next.clone()).await?;
        next.expected_seq = known.seq;
        count += 1;
    }
    Ok(count)
}

fn append(epoch: Epoch, deployment: &str) -> Append {
    Append {
        deployment: deployment.to_owned(),
        expected_seq: 0,
        epoch,
        events: vec![NewEvent {
            at_unix_ms: 1_700_000_000_000,
            kind: "stage_entered".to_owned(),
            payload: "x".repeat(PAYLOAD_BYTES),
        }],
        row: Row {
            service: deployment.to_owned(),
            environment: "production".to_owned(),
            state: "canary".to_owned(),
            standing: Standing::Running,
            release: "0123456789abcdef-1700000000".to_owned(),
            turn: 1,
            updated_unix_ms: 1_700_000_000_000,
        },
        request: None,
    }
}
