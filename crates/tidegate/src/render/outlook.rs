//! What a plan can see, before it runs.

use tidegate_core::{
    gate::{Gate, Mode, Rule},
    judge::{
        Settings,
        outlook::{Against, Found, Outlook, PlainGate, Regression, StageOutlook},
    },
    model::Millis,
    plan::Plan,
    view::rough,
};

use super::text::{Row, Table, Tone, page, wrapped};

/// Width of the sentences.
const WIDTH: usize = 100;

/// From this ratio on a plan is said to see little.
const LITTLE: f64 = 4.0;

/// What the plan can see; `from` says where the traffic's numbers come from.
pub(crate) fn outlook(plan: &Plan, outlook: &Outlook, from: &str) -> String {
    let mut lines = vec![
        Row::new(),
        Row::new().add(Tone::Strong, "What can be seen").plain(format!(
            " at {} requests/s, {} of them failing ({from})",
            number(outlook.load.requests_per_s),
            percent(outlook.load.failed_share)
        )),
    ];
    lines.extend(stages(outlook));
    if !outlook.plain.is_empty() {
        lines.push(Row::new());
        lines.extend(plain(&outlook.plain));
    }
    lines.push(Row::new());
    let mut said = vec![format!(
        "Times are averages, with the users' requests that the new release fails until then; {} the stable release's \
             failures are tolerated, {} are bad.",
        times(Some(outlook.tolerated)),
        times(Some(outlook.bad))
    )];
    if !plan.stages.iter().flat_map(|stage| &stage.gates).any(by_evidence) {
        said.push(
            "The plan's gate on errors asks plainly: this is what a sequential one would see.".to_owned(),
        );
    }
    said.extend(outlook.found.iter().map(|found| sentence(plan, found)));
    said.extend(reach(outlook));
    said.extend(slow(outlook));
    said.push(learned(&plan.judge));
    lines.extend(said.iter().flat_map(|text| item(text)));
    page(&lines)
}

fn by_evidence(gate: &Gate) -> bool {
    gate.mode == Mode::Sequential && matches!(gate.rule, Rule::ErrorRate { .. })
}

/// What the plan could see at several traffics, when the real one is not known.
pub(crate) fn unknown_traffic(failed_share: f64, outlooks: &[Outlook]) -> String {
    let mut table = Table::new(vec![
        "requests/s",
        "smallest seen",
        "if undecided",
        "2 x worse",
        "5 x worse",
        "50 % failing",
    ]);
    for outlook in outlooks {
        let (smallest, at_most) = outlook.smallest();
        let mut cells = vec![
            (Tone::Strong, number(outlook.load.requests_per_s)),
            (Tone::Plain, times(smallest)),
            (Tone::Plain, times(at_most)),
        ];
        cells.extend(outlook.found.iter().map(|found| (Tone::Plain, price(found))));
        table.row(cells);
    }
    let mut lines = vec![
        Row::new(),
        Row::new()
            .add(Tone::Strong, "What can be seen")
            .plain(" depends on the traffic, which is unknown: give --rps"),
        Row::new().plain(format!(
            "  the whole rollout, if {} of the stable release's requests fail (--error-rate):",
            percent(failed_share)
        )),
    ];
    lines.extend(table.lines(2));
    page(&lines)
}

fn item(text: &str) -> Vec<Row> {
    let lead = |first: bool| if first { "- " } else { "  " };
    wrapped(text, WIDTH)
        .into_iter()
        .enumerate()
        .map(|(n, line)| Row::new().plain(lead(n == 0)).plain(line))
        .collect()
}

fn stages(outlook: &Outlook) -> Vec<Row> {
    let heads = vec![
        "stage",
        "smallest seen",
        "if undecided",
        "2 x worse",
        "5 x worse",
        "50 % failing",
        "rules bad out",
    ];
    let mut table = Table::new(heads);
    for stage in &outlook.stages {
        let mut cells = vec![(Tone::Strong, stage.name.clone())];
        if stage.against == Against::Nothing {
            cells.push((Tone::Dim, "no users".to_owned()));
        } else {
            cells.push((Tone::Plain, seen(stage.smallest, stage.bake)));
            let waits = stage.at_most > stage.bake;
            cells.push((
                Tone::Plain,
                if waits { seen(stage.smallest_at_most, stage.at_most) } else { String::new() },
            ));
            cells.extend(stage.found.iter().map(|found| (Tone::Plain, price(found))));
            cells.push((Tone::Plain, ruled_out(stage)));
        }
        table.row(cells);
    }
    table.lines(2)
}

fn seen(ratio: Option<f64>, length: Millis) -> String {
    format!("{} in {}", times(ratio), rough(length))
}

fn ruled_out(stage: &StageOutlook) -> String {
    match (stage.against, stage.rule_out) {
        (Against::Stable, Some(after)) => rough(after),
        (Against::Stable, None) => "never".to_owned(),
        (Against::Before | Against::Nothing, _) => "compared with before".to_owned(),
    }
}

fn price(found: &Found) -> String {
    match (found.after, found.failed_requests) {
        (Some(after), Some(failed)) => format!("{}, {} fail", rough(after), number(failed)),
        (Some(after), None) => rough(after),
        (None, _) => "not seen".to_owned(),
    }
}

fn sentence(plan: &Plan, found: &Found) -> String {
    let what = match found.regression {
        Regression::Times(times) => format!("fails {times} x as often as the stable one"),
        Regression::Failing(percent) => format!("fails {percent} % of its requests"),
    };
    let stage = found.stage.and_then(|stage| plan.stage(stage)).map_or("", |stage| stage.name.as_str());
    match (found.after, found.failed_requests) {
        (Some(after), Some(failed)) => format!(
            "A release that {what} is found after about {}, in {stage}, at the price of about {} failed requests.",
            rough(after),
            number(failed)
        ),
        (Some(_) | None, _) => format!("A release that {what} is not found before the end of the rollout."),
    }
}

/// How little the plan sees, said in words.
fn reach(outlook: &Outlook) -> Option<String> {
    let (smallest, at_most) = outlook.smallest();
    let least = at_most.or(smallest);
    if least.is_some_and(|ratio| ratio < LITTLE) {
        return None;
    }
    let what = match least {
        Some(ratio) => format!("sees only what fails at least {} as often", times(Some(ratio))),
        None => "does not even see a release that fails always".to_owned(),
    };
    Some(format!(
        "At this traffic the plan {what}: smaller regressions pass it. Longer stages, larger first shares or more traffic \
         would show more."
    ))
}

/// Stages that may end before they know.
fn slow(outlook: &Outlook) -> Option<String> {
    let late = |stage: &&StageOutlook| {
        stage.against == Against::Stable && stage.rule_out.is_none_or(|after| after > stage.at_most)
    };
    let names: Vec<&str> = outlook.stages.iter().filter(late).map(|stage| stage.name.as_str()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "Ruling out {} takes longer than {} may last: there the release goes on when little is at risk, or as \
             `on_inconclusive` says.",
            times(Some(outlook.bad)),
            names.join(", ")
        )
    })
}

fn plain(gates: &[PlainGate]) -> Vec<Row> {
    let mut table = Table::new(vec![
        "plain gate",
        "turns back one that is as good",
        "one that fails 2 x as often",
        "too little traffic",
    ]);
    for gate in gates {
        let often = gate.false_alarm.unwrap_or(0.0) > 0.05;
        let alarm =
            gate.false_alarm.map_or_else(|| "unknown: latencies are not known yet".to_owned(), percent);
        let silent = match gate.silent_stages {
            0 => String::new(),
            1 => "in 1 stage".to_owned(),
            stages => format!("in {stages} stages"),
        };
        table.row(vec![
            (Tone::Strong, gate.gate.clone()),
            (if often { Tone::Bad } else { Tone::Plain }, alarm),
            (Tone::Plain, gate.catches_double.map_or_else(String::new, percent)),
            (Tone::Plain, silent),
        ]);
    }
    table.lines(2)
}

/// What is known of how the service varies by itself.
fn learned(settings: &Settings) -> String {
    let usual = Settings::default();
    let mut said = Vec::new();
    if settings.dispersion_milli > 1_000 {
        said.push(format!(
            "its errors come in bursts ({} times the variance of single ones)",
            milli(settings.dispersion_milli)
        ));
    }
    if settings.spread_milli > 0 {
        said.push(format!("its instances differ by {} % in how often they fail", settings.spread_milli / 10));
    }
    for (what, noise, before) in [("CPU", settings.cpu, usual.cpu), ("memory", settings.memory, usual.memory)]
    {
        if noise != before {
            said.push(format!(
                "{what} moves by {} % of its limit by itself",
                milli(noise.deviation_ppm / 10)
            ));
        }
    }
    if said.is_empty() {
        return "Nothing was learned yet of how the service varies by itself: single, independent errors are assumed.".to_owned();
    }
    format!("Learned from the service's past: {}; the gates and these times allow for it.", said.join(", "))
}

fn milli(thousandths: u32) -> String {
    format!("{:.1}", f64::from(thousandths) / 1_000.0)
}

/// `3.6 x`; what is not seen at all is said.
fn times(ratio: Option<f64>) -> String {
    match ratio {
        None => "nothing".to_owned(),
        Some(ratio) if ratio >= 10.0 => format!("{ratio:.0} x"),
        Some(ratio) if ratio >= 3.0 => format!("{} x", (ratio * 10.0).round() / 10.0),
        Some(ratio) => format!("{} x", (ratio * 100.0).round() / 100.0),
    }
}

/// `0.10 %`, `75 %`, `below 0.01 %`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        p if p <= 0.0 => "0 %".to_owned(),
        p if p < 0.01 => "below 0.01 %".to_owned(),
        p if p < 10.0 => format!("{p:.2} %"),
        p if p < 99.5 => format!("{p:.0} %"),
        p if p < 99.95 => format!("{p:.1} %"),
        _ => "100 %".to_owned(),
    }
}

/// `0.4`, `30`, `1,203`: about so many.
pub(super) fn number(count: f64) -> String {
    if count < 9.95 {
        let tenths = (count * 10.0).round() / 10.0;
        return format!("{tenths}");
    }
    let digits = format!("{count:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
