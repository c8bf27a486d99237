//! YAML text to a tree that remembers where everything stood. The guards against hostile files live here: size, depth,
//! number of nodes, anchors and aliases, tags, directives, tabs, duplicate keys and more than one document.

use std::collections::BTreeMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};

use crate::finding::{Code, Complaint, Findings, Place, shown};

/// A larger file is not read.
pub const BYTES_MAX: usize = 1024 * 1024;
/// Lists and mappings inside each other.
const DEPTH_MAX: usize = 64;
/// Values and keys of the whole file, with every alias written out.
const NODES_MAX: usize = 20_000;
/// Bytes of text that aliases may repeat: as much again as the file may hold.
const REPEATED_BYTES_MAX: usize = BYTES_MAX;
/// Lines with tabs that are named one by one.
const TAB_LINES_MAX: usize = 20;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub content: Content,
}

/// What a value is, as written: nothing is taken for a number or a word yet.
#[derive(Clone, Debug)]
pub enum Content {
    /// A text.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// Keys with their values, in the order of the file; no key twice.
    Map(Vec<(Key, Node)>),
}

/// A text and whether it stood without quotes.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// The text.
    pub text: String,
    /// Whether it stood without quotes.
    pub plain: bool,
}

impl Scalar {
    /// Whether YAML reads this as "nothing".
    pub fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

/// The tree of `source`, or `None` when it cannot be read at all; whatever is wrong is in `findings`.
pub fn grow(source: &str, findings: &mut Findings) -> Option<Node> {
    let root = read(source, false, findings)?.pop();
    if root.as_ref().is_none_or(is_nothing) {
        findings.add(
            Place::default(),
            "",
            Complaint::new(Code::Empty, "the file is empty")
                .help("start with `version: 1` and `services:`, or let `tidegate init` write one"),
        );
        return None;
    }
    root
}

/// The trees of all documents of `source` that hold something, as in a manifest of Kubernetes; `None` when it cannot be
/// read at all. Whatever is wrong is in `findings`.
pub fn grow_all(source: &str, findings: &mut Findings) -> Option<Vec<Node>> {
    let mut roots = read(source, true, findings)?;
    roots.retain(|root| !is_nothing(root));
    Some(roots)
}

fn read(source: &str, several: bool, findings: &mut Findings) -> Option<Vec<Node>> {
    let options = granit_parser::options! {
        disallow_directives: true,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut parser = Parser::new_from_str_with_options(source, options);
    let mut builder = Builder {
        source,
        findings,
        open: Vec::new(),
        anchors: BTreeMap::new(),
        spent: Spent::default(),
        several,
        roots: Vec::new(),
    };
    while let Some(next) = parser.next_event() {
        match next {
            Ok((event, span)) => builder.take(event, span).ok()?,
            Err(error) => {
                report_syntax(source, &error, builder.findings);
                return None;
            }
        }
    }
    Some(builder.roots)
}

fn is_nothing(node: &Node) -> bool {
    matches!(&node.content, Content::Scalar(scalar) if scalar.is_null())
}

/// Reading stops here; the reason is among the findings.
struct Stop;

/// What was used up of the budgets.
#[derive(Default)]
struct Spent {
    nodes: usize,
    repeated: usize,
}

/// A list or mapping whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, lines: BTreeMap<String, usize>, key: Option<Pending> },
}

/// The key whose value comes next.
enum Pending {
    /// The value is kept.
    Good(Key),
    /// The value is dropped: its key was refused and reported.
    Refused,
}

struct Builder<'a> {
    source: &'a str,
    findings: &'a mut Findings,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    spent: Spent,
    /// Whether a second document may follow.
    several: bool,
    roots: Vec<Node>,
}

impl Builder<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's own list of events, which may grow")]
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let place = place_of(self.source, span);
        match event {
            Event::DocumentStart(..) if !self.several && !self.roots.is_empty() => self.stop(
                place,
                Code::Yaml,
                "a second document starts here",
                "keep everything in one document and take this `---` out",
            ),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), place)?;
                self.charge(place, 1, 0)?;
                let scalar = Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                self.put(Node { place, content: Content::Scalar(scalar) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), place)?;
                self.begin(place, anchor, Inside::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), place)?;
                self.begin(
                    place,
                    anchor,
                    Inside::Map { entries: Vec::new(), lines: BTreeMap::new(), key: None },
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.repeat(id, place),
            // Everything else says nothing about values.
            _ => Ok(()),
        }
    }

    fn begin(&mut self, place: Place, anchor: usize, inside: Inside) -> Result<(), Stop> {
        self.charge(place, 1, 0)?;
        if self.open.len() >= DEPTH_MAX {
            return self.too_deep(place);
        }
        self.open.push(Open { place, anchor, inside });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(Open { place, anchor, inside }) = self.open.pop() else { return Ok(()) };
        let content = match inside {
            Inside::List(items) => Content::List(items),
            Inside::Map { entries, .. } => Content::Map(entries),
        };
        self.put(Node { place, content }, anchor)
    }

    /// Writes an alias out.
    fn repeat(&mut self, id: usize, place: Place) -> Result<(), Stop> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            return self.stop(
                place,
                Code::Yaml,
                "this alias repeats something that contains it",
                "write the value out",
            );
        };
        let size = measure(&node);
        self.charge(place, size.nodes, size.bytes)?;
        if self.open.len() + size.height > DEPTH_MAX {
            return self.too_deep(place);
        }
        self.put(node, 0)
    }

    /// Places a finished node: as the root, an item, a key or a value.
    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        if anchor != 0 {
            let size = measure(&node);
            self.charge(node.place, size.nodes, size.bytes)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.inside) {
            None => self.roots.push(node),
            Some(Inside::List(items)) => items.push(node),
            Some(Inside::Map { entries, lines, key }) => match key.take() {
                None => *key = Some(pending(node, lines, self.findings)),
                Some(Pending::Good(key)) => entries.push((key, node)),
                Some(Pending::Refused) => {}
            },
        }
        Ok(())
    }

    fn charge(&mut self, place: Place, nodes: usize, bytes: usize) -> Result<(), Stop> {
        self.spent.nodes = self.spent.nodes.saturating_add(nodes);
        self.spent.repeated = self.spent.repeated.saturating_add(bytes);
        if self.spent.nodes > NODES_MAX || self.spent.repeated > REPEATED_BYTES_MAX {
            return self.stop(
                place,
                Code::TooLarge,
                format!(
                    "the file holds more than {NODES_MAX} values with its anchors and aliases written out"
                ),
                "split it, or use fewer aliases",
            );
        }
        Ok(())
    }

    fn refuse_tag(&mut self, tagged: bool, place: Place) -> Result<(), Stop> {
        if tagged {
            return self.stop(place, Code::Yaml, "tags (`!…`) have no meaning here", "take the tag out");
        }
        Ok(())
    }

    fn too_deep(&mut self, place: Place) -> Result<(), Stop> {
        let message = format!("more than {DEPTH_MAX} lists and mappings inside each other");
        self.stop(place, Code::TooLarge, message, "nothing in this file needs more than a dozen levels")
    }

    fn stop(&mut self, place: Place, code: Code, message: impl Into<String>, help: &str) -> Result<(), Stop> {
        self.findings.add(place, "", Complaint::new(code, message).help(help));
        Err(Stop)
    }
}

/// Takes a node as the key of what follows; refuses keys that are not texts, and those seen before.
fn pending(node: Node, lines: &mut BTreeMap<String, usize>, findings: &mut Findings) -> Pending {
    let Content::Scalar(Scalar { text, plain }) = node.content else {
        findings.add(
            node.place,
            "",
            Complaint::new(Code::Yaml, "a key must be a text, not a list or a mapping"),
        );
        return Pending::Refused;
    };
    if text == "<<" && plain {
        let complaint = Complaint::new(Code::Yaml, "merge keys (`<<`) are not read")
            .help("write the keys out, or repeat a whole value with an alias");
        findings.add(node.place, "", complaint);
        return Pending::Refused;
    }
    if let Some(first) = lines.get(&text) {
        let complaint = Complaint::new(
            Code::DuplicateKey,
            format!("`{}` is already there on line {first}", shown(&text)),
        )
        .help("keep one of the two");
        findings.add(node.place, "", complaint);
        return Pending::Refused;
    }
    lines.insert(text.clone(), node.place.line);
    Pending::Good(Key { text, place: node.place })
}

struct Size {
    nodes: usize,
    bytes: usize,
    height: usize,
}

/// Recursion is safe: no node is deeper than [`DEPTH_MAX`].
fn measure(node: &Node) -> Size {
    let mut size = Size { nodes: 1, bytes: 0, height: 0 };
    let mut add = |inner: Size, key: usize| {
        size.nodes += inner.nodes + usize::from(key > 0);
        size.bytes += inner.bytes + key;
        size.height = size.height.max(inner.height + 1);
    };
    match &node.content {
        Content::Scalar(scalar) => size.bytes = scalar.text.len(),
        Content::List(items) => items.iter().for_each(|item| add(measure(item), 0)),
        Content::Map(entries) => entries.iter().for_each(|(key, item)| add(measure(item), key.text.len())),
    }
    size
}

fn place_of(source: &str, span: Span) -> Place {
    let text = span.slice(source).unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    Place { line: span.start.line(), column: span.start.col() + 1, length: first.trim_end().chars().count() }
}

fn report_syntax(source: &str, error: &ScanError, findings: &mut Findings) {
    let marker = error.marker();
    let lines = source.lines().count().max(1);
    let line = marker.line().clamp(1, lines);
    let tabs = tab_lines(source);
    for place in &tabs {
        let complaint = Complaint::new(Code::Tab, "a tab cannot indent a line in YAML").help("use spaces");
        findings.add(*place, "", complaint);
    }
    // A tab is the likely cause of whatever the parser stumbled over on its line or below.
    if tabs.iter().any(|place| place.line <= line) {
        return;
    }
    let (code, help) = advice(error.kind());
    let column = if line == marker.line() { marker.col() + 1 } else { 1 };
    let complaint =
        Complaint::new(code, format!("this is not YAML: {}", shown_long(&error.info()))).help(help);
    findings.add(Place { line, column, length: 1 }, "", complaint);
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's own list of mistakes, which may grow")]
fn advice(kind: &ErrorKind) -> (Code, &'static str) {
    match kind {
        ErrorKind::RecursionLimitExceeded => {
            (Code::TooLarge, "nothing in this file needs more than a dozen levels")
        }
        ErrorKind::UnknownAnchor => (Code::Yaml, "quote a text that starts with `*`"),
        ErrorKind::DirectiveDisallowed => (Code::Yaml, "take the `%` line out"),
        ErrorKind::TabInIndentation | ErrorKind::TabAtBlockScalarStart => (Code::Tab, "use spaces"),
        // The message says what was expected.
        _ => (Code::Yaml, "check indentation, colons, quotes and brackets here and on the line above"),
    }
}

fn shown_long(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn tab_lines(source: &str) -> Vec<Place> {
    let tab = |(index, line): (usize, &str)| {
        let indent: &str = line.get(..line.len() - line.trim_start_matches([' ', '\t']).len())?;
        let before = indent.find('\t')?;
        (indent.len() < line.len()).then(|| Place {
            line: index + 1,
            column: before + 1,
            length: indent.len() - before,
        })
    };
    source.lines().enumerate().filter_map(tab).take(TAB_LINES_MAX).collect()
}
