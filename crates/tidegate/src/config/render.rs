//! Findings as a person reads them: the message, the line, the offending text underlined, and what to write instead.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::finding::Finding;

/// Columns of source that are shown of a long line.
const COLUMNS_MAX: usize = 110;
/// Columns kept before the offending text when a line is cut.
const COLUMNS_BEFORE: usize = 40;

/// The findings as plain text.
pub(crate) fn render(findings: &[Finding], source: &str) -> String {
    rendered(findings, source, &Look::default())
}

/// The findings with ANSI colours, for a terminal.
pub(crate) fn render_coloured(findings: &[Finding], source: &str) -> String {
    let bold = Style::new().bold();
    rendered(
        findings,
        source,
        &Look {
            error: bold.fg_color(Some(AnsiColor::Red.into())),
            message: bold,
            frame: bold.fg_color(Some(AnsiColor::Blue.into())),
            help: bold.fg_color(Some(AnsiColor::Cyan.into())),
        },
    )
}

/// How the parts look; the default is plain.
#[derive(Default)]
struct Look {
    error: Style,
    message: Style,
    frame: Style,
    help: Style,
}

fn rendered(findings: &[Finding], source: &str, look: &Look) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let mut out = String::new();
    for finding in findings {
        let line = finding.place.line.checked_sub(1).and_then(|index| lines.get(index)).copied();
        // Writing to a String cannot fail.
        let _ = one(&mut out, finding, line, look);
    }
    out
}

fn one(out: &mut String, finding: &Finding, line: Option<&str>, look: &Look) -> std::fmt::Result {
    let Look { error, message, frame, help } = look;
    writeln!(out, "{error}error[{}]{error:#}{message}: {}{message:#}", finding.code.word(), finding.message)?;
    let place = finding.place;
    let number = if place.line == 0 { String::new() } else { place.line.to_string() };
    let margin = " ".repeat(number.len());
    let at = if place.line == 0 { String::new() } else { format!(":{}:{}", place.line, place.column) };
    let path = if finding.path.is_empty() { String::new() } else { format!("  ({})", finding.path) };
    writeln!(out, "{margin}{frame}-->{frame:#} {}{at}{path}", finding.file)?;
    if let Some(line) = line {
        let (excerpt, before, length) = excerpt(line, place.column, place.length);
        writeln!(out, "{margin} {frame}|{frame:#}")?;
        writeln!(out, "{frame}{number} |{frame:#} {excerpt}")?;
        writeln!(
            out,
            "{margin} {frame}|{frame:#} {}{error}{}{error:#}",
            " ".repeat(before),
            "^".repeat(length)
        )?;
    }
    if let Some(text) = &finding.help {
        writeln!(out, "{margin} {frame}={frame:#} {help}help{help:#}: {text}")?;
    }
    writeln!(out)
}

/// The part of a line around `column`, what stands before the offending text in it, and how long that is. Characters that
/// would move the cursor are replaced; each character is taken for one column.
fn excerpt(line: &str, column: usize, length: usize) -> (String, usize, usize) {
    let visible = |c: char| match c {
        '\t' => '→',
        _ if c.is_control() => ' ',
        _ => c,
    };
    let start = column.saturating_sub(1);
    let skip = if line.chars().count() > COLUMNS_MAX { start.saturating_sub(COLUMNS_BEFORE) } else { 0 };
    let mut text: String = line.chars().skip(skip).take(COLUMNS_MAX).map(visible).collect();
    let mut before = start - skip;
    if skip > 0 {
        text.insert_str(0, "… ");
        before += 2;
    }
    if line.chars().nth(skip + COLUMNS_MAX).is_some() {
        text.push_str(" …");
    }
    (text, before, length.clamp(1, COLUMNS_MAX.saturating_sub(start - skip).max(1)))
}
