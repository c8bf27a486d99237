//! Cobertura's XML: `<class filename="…">` with `<line number="…" hits="…"/>` inside, paths relative to `<source>`.

use quick_xml::{
    XmlVersion,
    events::{BytesStart, Event},
    reader::Reader,
};
use tidegate_core::model::Timestamp;

use super::{CoverageReport, Fault, paths};

/// Elements may stand in each other so deep; a report needs seven.
const DEPTH_MAX: usize = 64;

pub(super) fn parse(text: &str) -> Result<CoverageReport, Fault> {
    Walk::new(text).run()
}

struct Walk<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
    report: CoverageReport,
    /// Open elements; quick-xml checks that they close in order, not that they close at all.
    depth: usize,
    in_source: bool,
    sources: Vec<String>,
    /// The open class's file.
    file: Option<String>,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str) -> Self {
        let reader = Reader::from_str(text);
        let report = CoverageReport::default();
        Self { text, reader, report, depth: 0, in_source: false, sources: Vec::new(), file: None }
    }

    fn run(mut self) -> Result<CoverageReport, Fault> {
        loop {
            match self.reader.read_event() {
                Ok(Event::Start(element)) => {
                    self.depth += 1;
                    self.open(&element)?;
                }
                Ok(Event::Empty(element)) => {
                    self.open(&element)?;
                    self.close(element.local_name().as_ref());
                }
                Ok(Event::End(element)) => {
                    self.depth = self.depth.saturating_sub(1);
                    self.close(element.local_name().as_ref());
                }
                Ok(Event::Text(text)) if self.in_source => {
                    if let Ok(source) = text.decode() {
                        self.sources.push(source.trim().to_owned());
                    }
                }
                Ok(Event::Eof) => break,
                Ok(
                    Event::Text(_)
                    | Event::CData(_)
                    | Event::Comment(_)
                    | Event::Decl(_)
                    | Event::PI(_)
                    | Event::DocType(_)
                    | Event::GeneralRef(_),
                ) => {}
                Err(error) => return Err(self.fault(error.to_string())),
            }
        }
        if self.depth > 0 {
            return Err(self.fault("the report ends within an element; it was cut off".to_owned()));
        }
        Ok(self.rooted())
    }

    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), Fault> {
        if self.depth > DEPTH_MAX {
            return Err(self.fault(format!("elements stand in each other deeper than {DEPTH_MAX}")));
        }
        match element.local_name().as_ref() {
            b"coverage" => {
                let at = self.attribute(element, "timestamp")?;
                self.report.written_at = at.and_then(|at| moment(&at));
            }
            b"source" => self.in_source = true,
            b"class" => {
                let name = self.attribute(element, "filename")?;
                let name = name.filter(|name| !name.trim().is_empty());
                let name = name.ok_or_else(|| self.fault("`class` without `filename`".to_owned()))?;
                self.report.file(&name);
                self.file = Some(paths::normal(&name));
            }
            b"line" => self.line(element)?,
            b"html" => return Err(self.fault("this is a web page, not a Cobertura report".to_owned())),
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &[u8]) {
        match name {
            b"source" => self.in_source = false,
            b"class" => self.file = None,
            _ => {}
        }
    }

    fn line(&mut self, element: &BytesStart<'_>) -> Result<(), Fault> {
        let Some(file) = self.file.clone() else {
            return Err(self.fault("`line` outside of a `class`".to_owned()));
        };
        let number = self.number(element, "number")?;
        let number = u32::try_from(number).ok().filter(|number| *number > 0);
        let number = number.ok_or_else(|| self.fault("`line`: `number` is no line number".to_owned()))?;
        let hits = self.number(element, "hits")?;
        // A line stands under its method and again under its class: the same runs, not more of them.
        let seen = self.report.file(&file).entry(number).or_insert(0);
        *seen = (*seen).max(hits);
        Ok(())
    }

    fn number(&self, element: &BytesStart<'_>, name: &str) -> Result<u64, Fault> {
        let text = self.attribute(element, name)?;
        let text = text.ok_or_else(|| self.fault(format!("`line` without `{name}`")))?;
        text.trim()
            .parse()
            .map_err(|_| self.fault(format!("`line`: `{name}` is `{text}`, which is no count")))
    }

    fn attribute(&self, element: &BytesStart<'_>, name: &str) -> Result<Option<String>, Fault> {
        let found = element.try_get_attribute(name).map_err(|error| self.fault(error.to_string()))?;
        let Some(found) = found else { return Ok(None) };
        let value = found
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| self.fault(format!("`{name}`: {error}")))?;
        Ok(Some(value.into_owned()))
    }

    /// File names below their source directory, when there is exactly one: with several nobody says which.
    fn rooted(self) -> CoverageReport {
        let [source] = self.sources.as_slice() else { return self.report };
        let mut rooted = CoverageReport { written_at: self.report.written_at, ..CoverageReport::default() };
        for (name, lines) in self.report.files {
            let absolute = name.starts_with('/') || name.get(1..2) == Some(":");
            let name = if absolute || source.is_empty() { name } else { format!("{source}/{name}") };
            rooted.file(&name).extend(lines);
        }
        rooted
    }

    /// The line is counted only for a fault, of which there is one at most.
    fn fault(&self, what: String) -> Fault {
        // The reader's own faults have a place of their own: where the markup that is wrong begins.
        let at = match self.reader.error_position() {
            0 => self.reader.buffer_position(),
            at => at,
        };
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let before = self.text.as_bytes().iter().take(at);
        Fault { line: before.filter(|byte| **byte == b'\n').count() + 1, what }
    }
}

/// Seconds or milliseconds since the Unix epoch: tools write either, and no report is from before 2001 in milliseconds.
fn moment(text: &str) -> Option<Timestamp> {
    const MILLISECONDS_FROM: i64 = 1_000_000_000_000;
    let number: i64 = text.trim().parse().ok().filter(|number| *number > 0)?;
    Some(Timestamp(if number < MILLISECONDS_FROM { number.saturating_mul(1_000) } else { number }))
}
