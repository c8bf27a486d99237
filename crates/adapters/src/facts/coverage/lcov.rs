//! lcov's tracefile: `SF:` opens a source file, `DA:line,hits` is a line of it, `end_of_record` closes it
//! (geninfo(1), section "FILES").

use super::{CoverageReport, Fault, paths};

pub(super) fn parse(text: &str) -> Result<CoverageReport, Fault> {
    let mut report = CoverageReport::default();
    let mut open: Option<String> = None;
    let mut last = 0;
    for (number, line) in text.lines().enumerate() {
        last = number + 1;
        let fault = |what: String| Fault { line: number + 1, what };
        let line = line.trim();
        if let Some(name) = line.strip_prefix("SF:") {
            if open.is_some() {
                return Err(fault("`SF:` before the `end_of_record` of the file before".to_owned()));
            }
            if name.trim().is_empty() {
                return Err(fault("`SF:` without a path".to_owned()));
            }
            report.file(name);
            open = Some(paths::normal(name));
        } else if let Some(data) = line.strip_prefix("DA:") {
            let Some(name) = &open else { return Err(fault("`DA:` outside of a file".to_owned())) };
            let (line, hits) = counted(data).map_err(fault)?;
            let seen = report.file(name).entry(line).or_insert(0);
            *seen = seen.saturating_add(hits);
        } else if line == "end_of_record" {
            open = None;
        } else if !known(line) {
            return Err(fault(format!(
                "`{}` is no line of an lcov report",
                line.chars().take(40).collect::<String>()
            )));
        }
    }
    match open {
        Some(name) => {
            Err(Fault { line: last, what: format!("the report ends within the file {name}; it was cut off") })
        }
        None => Ok(report),
    }
}

fn counted(data: &str) -> Result<(u32, u64), String> {
    let mut parts = data.split(',');
    let line = parts.next().unwrap_or_default().trim();
    let hits = parts.next().unwrap_or_default().trim();
    let number = line.parse().ok().filter(|line| *line > 0);
    let number = number.ok_or_else(|| format!("`DA:{data}`: `{line}` is no line number"))?;
    // A third part is a checksum.
    let hits = hits.parse().map_err(|_| format!("`DA:{data}`: `{hits}` is no count"))?;
    Ok((number, hits))
}

/// Everything else is a keyword of capitals (branches, functions, totals, tests), a comment or nothing.
fn known(line: &str) -> bool {
    line.is_empty()
        || line.starts_with('#')
        || line.split_once(':').is_some_and(|(word, _)| {
            (2..=8).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_uppercase())
        })
}
