//! The text formats: Prometheus 0.0.4 and OpenMetrics 1.0.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::model::Timestamp;

use super::{
    super::{
        answer::{Labels, epoch, named},
        fault::{FaultKind, words},
    },
    Exposition, POINTS_MAX, Point,
};

/// Which of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Prometheus,
    OpenMetrics,
}

const KINDS: [&str; 10] = [
    "counter",
    "gauge",
    "histogram",
    "gaugehistogram",
    "summary",
    "untyped",
    "unknown",
    "info",
    "stateset",
    "",
];

pub(super) fn parse(body: &[u8], format: Format) -> Result<Exposition, FaultKind> {
    let text = std::str::from_utf8(body).map_err(|why| {
        let before = body.get(..why.valid_up_to()).unwrap_or_default();
        FaultKind::NotMetrics { line: 1 + lines_in(before), why: "it is not UTF-8".to_owned() }
    })?;
    let mut reader = Reader::new(format);
    for (at, line) in text.lines().enumerate() {
        reader.line(line).map_err(|why| FaultKind::NotMetrics { line: at + 1, why })?;
        if reader.points.len() > POINTS_MAX {
            return Err(FaultKind::TooMany(POINTS_MAX));
        }
    }
    if format == Format::OpenMetrics && !reader.ended {
        return Err(FaultKind::Truncated("it does not end with # EOF".to_owned()));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(FaultKind::Truncated("its last line does not end".to_owned()));
    }
    Ok(reader.finished())
}

struct Reader {
    format: Format,
    points: Vec<Point>,
    /// Families and their declared kinds.
    kinds: BTreeMap<String, String>,
    /// Families that had samples: their kind can no longer be declared.
    begun: BTreeSet<String>,
    seen: BTreeSet<(String, Labels)>,
    created: BTreeMap<(String, Labels), Timestamp>,
    ended: bool,
}

impl Reader {
    fn new(format: Format) -> Self {
        Self {
            format,
            points: Vec::new(),
            kinds: BTreeMap::new(),
            begun: BTreeSet::new(),
            seen: BTreeSet::new(),
            created: BTreeMap::new(),
            ended: false,
        }
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let strict = self.format == Format::OpenMetrics;
        if self.ended {
            return Err("there is more after # EOF".to_owned());
        }
        let line = if strict { line } else { line.trim() };
        if let Some(comment) = line.strip_prefix('#') {
            return self.comment(comment);
        }
        match (line.is_empty(), strict) {
            (true, true) => Err("it is empty".to_owned()),
            (true, false) => Ok(()),
            (false, _) => self.sample(line),
        }
    }

    fn comment(&mut self, comment: &str) -> Result<(), String> {
        if self.format == Format::OpenMetrics && comment.trim_end() == " EOF" {
            self.ended = true;
            return Ok(());
        }
        let Some(rest) = comment.trim_start().strip_prefix("TYPE ") else { return Ok(()) };
        let (name, kind) = rest.trim().rsplit_once(char::is_whitespace).unwrap_or((rest.trim(), "?"));
        let name = name.trim().trim_matches('"');
        if !KINDS.contains(&kind) {
            return Err(format!("`{}` is no type of metric", words(kind)));
        }
        if self.begun.contains(name) {
            return Err(format!("the type of {} stands after its samples", words(name)));
        }
        match self.kinds.insert(name.to_owned(), kind.to_owned()) {
            Some(_) => Err(format!("the type of {} is given twice", words(name))),
            None => Ok(()),
        }
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let end = line.find(|c: char| !is_name(c)).unwrap_or(line.len());
        let (name, rest) = line.split_at_checked(end).unwrap_or((line, ""));
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("a metric's name does not begin with a digit".to_owned());
        }
        let mut name = name.to_owned();
        let (labels, rest) = match rest.trim_start().strip_prefix('{') {
            Some(inner) => labels(inner, &mut name)?,
            None => (Labels::new(), rest),
        };
        if name.is_empty() {
            return Err("it names no metric".to_owned());
        }
        // An exemplar stands behind ` # `; it is another measurement and not read.
        let numbers = rest.split_once(" # ").map_or(rest, |(before, _)| before);
        let mut numbers = numbers.split_ascii_whitespace();
        let value = numbers.next().ok_or("it has no value")?;
        let value: f64 = value.parse().map_err(|_| format!("`{}` is no number", words(value)))?;
        let at = numbers.next().map(|at| self.time(at)).transpose()?;
        if numbers.next().is_some() {
            return Err("there is more behind the time".to_owned());
        }
        self.take(Point { name, labels, value, at, created: None })
    }

    fn take(&mut self, point: Point) -> Result<(), String> {
        let key = (point.name.clone(), point.labels.clone());
        if let Some(family) = self.created_of(&point.name) {
            let at = epoch(point.value).map_err(|why| why.to_string())?;
            self.created.insert((family, point.labels.clone()), at);
        }
        self.begun.insert(family_of(&point.name, &self.kinds));
        if !self.seen.insert(key) {
            let mut labels = point.labels;
            labels.insert("__name__".to_owned(), point.name);
            return Err(format!("{} is given twice", named(&labels)));
        }
        self.points.push(point);
        Ok(())
    }

    /// The family whose `_created` sample this is.
    fn created_of(&self, name: &str) -> Option<String> {
        let family = name.strip_suffix("_created")?;
        let kind = self.kinds.get(family)?;
        matches!(kind.as_str(), "counter" | "histogram" | "summary").then(|| family.to_owned())
    }

    /// Seconds in OpenMetrics, milliseconds in the older format.
    fn time(&self, text: &str) -> Result<Timestamp, String> {
        let wrong = || format!("`{}` is no time", words(text));
        let seconds = match self.format {
            Format::OpenMetrics => text.parse::<f64>().map_err(|_| wrong())?,
            Format::Prometheus => text.parse::<i64>().map_err(|_| wrong())? as f64 / 1_000.0,
        };
        epoch(seconds).map_err(|_| wrong())
    }

    fn finished(mut self) -> Exposition {
        for point in &mut self.points {
            let family = family_of(&point.name, &self.kinds);
            let mut labels = point.labels.clone();
            labels.remove("le");
            labels.remove("quantile");
            point.created = self.created.get(&(family, labels)).copied();
        }
        Exposition { points: self.points, native: Vec::new() }
    }
}

/// The declared family that a sample belongs to, or its own name.
fn family_of(name: &str, kinds: &BTreeMap<String, String>) -> String {
    let suffixes = ["_total", "_bucket", "_count", "_sum", "_created", "_info", "_gcount", "_gsum"];
    let family =
        suffixes.iter().find_map(|suffix| name.strip_suffix(suffix).filter(|f| kinds.contains_key(*f)));
    family.unwrap_or(name).to_owned()
}

/// Labels up to the closing brace, and what follows it. A quoted text without `=` is the metric's name.
fn labels<'a>(mut rest: &'a str, name: &mut String) -> Result<(Labels, &'a str), String> {
    let mut labels = Labels::new();
    loop {
        rest = rest.trim_start();
        if let Some(behind) = rest.strip_prefix('}') {
            return Ok((labels, behind));
        }
        let (label, behind) = if let Some(both) = quoted(rest) {
            both
        } else {
            let end = rest.find(|c: char| !is_name(c)).ok_or("the labels never end")?;
            let (label, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
            (label.to_owned(), behind)
        };
        if label.is_empty() {
            return Err("a label has no name".to_owned());
        }
        let behind = behind.trim_start();
        if let Some(value) = behind.strip_prefix('=') {
            let (value, behind) =
                quoted(value.trim_start()).ok_or("a label's value stands in double quotes")?;
            if labels.insert(label, value).is_some() {
                return Err("a label is given twice".to_owned());
            }
            rest = behind;
        } else if name.is_empty() {
            *name = label;
            rest = behind;
        } else {
            return Err("a label has no value".to_owned());
        }
        rest = rest.trim_start();
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None if rest.starts_with('}') => {}
            None => return Err("labels are separated by commas and end with a brace".to_owned()),
        }
    }
}

/// A text in double quotes at the beginning, unescaped, and what follows. Unknown escapes stay as they are.
pub(super) fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut characters = inner.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return inner.get(at + 1..).map(|rest| (value, rest)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('\\' | '"') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            plain => value.push(plain),
        }
    }
    None
}

/// Whether a character may stand in a metric's or a label's name.
pub(super) fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn lines_in(bytes: &[u8]) -> usize {
    bytes.split(|b| *b == b'\n').count() - 1
}
