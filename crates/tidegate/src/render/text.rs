//! Styled rows of text, and tables made of them.

use anstyle::{AnsiColor, Style};

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Dim,
    Good,
    Bad,
    /// Neither good nor bad yet, or a person is asked.
    Open,
}

impl Tone {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(anstyle::Color::Ansi(colour)));
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Dim => Style::new().dimmed(),
            Self::Good => colour(AnsiColor::Green),
            Self::Bad => colour(AnsiColor::Red).bold(),
            Self::Open => colour(AnsiColor::Yellow),
        }
    }
}

/// The text without what could steer a terminal or hide what is written: control characters (C0, C1, delete) and marks
/// that turn or hide text. Line breaks and tabs become spaces.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c })
        .filter(|c| !c.is_control() && !steers(*c))
        .collect()
}

/// Marks of Unicode that turn the direction of text, or have no width.
const fn steers(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// One line, made of pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct Row(Vec<(Tone, String)>);

impl Row {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// One more piece; control characters are taken out of it.
    #[must_use]
    pub(super) fn add(mut self, tone: Tone, text: impl AsRef<str>) -> Self {
        self.0.push((tone, clean(text.as_ref())));
        self
    }

    #[must_use]
    pub(super) fn plain(self, text: impl AsRef<str>) -> Self {
        self.add(Tone::Plain, text)
    }

    /// Columns that it takes; every character counts as one.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// Filled up with spaces to this width.
    #[must_use]
    pub(super) fn padded(self, width: usize) -> Self {
        let missing = width.saturating_sub(self.width());
        self.plain(" ".repeat(missing))
    }

    /// Cut to this width; the last column says that something is missing.
    #[must_use]
    pub(super) fn cut(self, width: usize) -> Self {
        if self.width() <= width {
            return self;
        }
        let mut left = width.saturating_sub(1);
        let mut short = Self::new();
        for (tone, text) in self.0 {
            let piece: String = text.chars().take(left).collect();
            left -= piece.chars().count();
            short = short.add(tone, piece);
        }
        if width == 0 { short } else { short.plain("…") }
    }

    /// The line with its styles, without a line break.
    pub(super) fn styled(&self) -> String {
        let mut line = String::new();
        for (tone, text) in &self.0 {
            if *tone == Tone::Plain || text.is_empty() {
                line.push_str(text);
            } else {
                let style = tone.style();
                line = format!("{line}{style}{text}{style:#}");
            }
        }
        let end = line.trim_end_matches(' ').len();
        line.truncate(end);
        line
    }
}

/// Rows under a heading, in columns; a column that is empty everywhere is left out.
pub(super) struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<(Tone, String)>>,
}

impl Table {
    pub(super) const fn new(heads: Vec<&'static str>) -> Self {
        Self { heads, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<(Tone, String)>) {
        self.rows.push(cells.into_iter().map(|(tone, text)| (tone, clean(&text))).collect());
    }

    /// The lines, each indented by so many spaces.
    pub(super) fn lines(&self, indent: usize) -> Vec<Row> {
        let heads: Vec<(Tone, String)> =
            self.heads.iter().map(|head| (Tone::Dim, (*head).to_owned())).collect();
        let widths = self.widths();
        std::iter::once(&heads)
            .chain(&self.rows)
            .map(|cells| {
                let mut line = Row::new().plain(" ".repeat(indent));
                for ((tone, text), width) in cells.iter().zip(&widths).filter(|(_, width)| **width > 0) {
                    let to = line.width() + width + 2;
                    line = line.add(*tone, text).padded(to);
                }
                line
            })
            .collect()
    }

    /// The width of each column, 0 for those left out.
    fn widths(&self) -> Vec<usize> {
        let cell = |row: &Vec<(Tone, String)>, column: usize| {
            row.get(column).map_or(0, |(_, text)| text.chars().count())
        };
        let widest = |column| self.rows.iter().map(|row| cell(row, column)).max().unwrap_or(0);
        let with_head = |(column, head): (usize, &&str)| match widest(column) {
            0 => 0,
            width => width.max(head.chars().count()),
        };
        self.heads.iter().enumerate().map(with_head).collect()
    }
}

/// The lines as one text, each with its line break.
pub(super) fn page(lines: &[Row]) -> String {
    lines.iter().map(|line| line.styled() + "\n").collect()
}

/// The text in lines of at most this width, broken at spaces; a longer word stays whole.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in clean(text).split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The text as a terminal without colours shows it.
    pub(crate) fn unstyled(text: &str) -> String {
        let mut shown = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            shown.push_str(before);
            rest = after.split_once('m').expect("only styles are written").1;
        }
        shown + rest
    }

    #[test]
    fn what_could_steer_a_terminal_is_taken_out() {
        assert_eq!(clean("a\u{1b}[2Jb\u{9b}31mc\u{7f}\u{7}"), "a[2Jb31mc");
        assert_eq!(clean("two\nlines\tand \u{202e}back\u{200b}"), "two lines and back");
        assert_eq!(clean("25 %, µs, 日本"), "25 %, µs, 日本");
        let row = Row::new().add(Tone::Bad, "x\u{1b}]0;title\u{7}");
        assert_eq!(unstyled(&row.styled()), "x]0;title");
    }

    #[test]
    fn a_row_is_cut_to_its_width() {
        let row = Row::new().plain("12345").add(Tone::Good, "67890");
        assert_eq!(unstyled(&row.clone().cut(10).styled()), "1234567890");
        assert_eq!(unstyled(&row.clone().cut(7).styled()), "123456…");
        assert_eq!(unstyled(&row.cut(0).styled()), "");
    }

    #[test]
    fn a_table_aligns_its_columns_and_leaves_out_empty_ones() {
        let mut table = Table::new(vec!["name", "nothing", "n"]);
        let cells = |name: &str, n: &str| {
            vec![(Tone::Plain, name.to_owned()), (Tone::Plain, String::new()), (Tone::Good, n.to_owned())]
        };
        table.row(cells("a", "1"));
        table.row(cells("longer", "22"));
        assert_eq!(unstyled(&page(&table.lines(1))), " name    n\n a       1\n longer  22\n");
    }

    #[test]
    fn text_is_broken_at_spaces() {
        assert_eq!(wrapped("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefgh i", 3), ["abcdefgh", "i"]);
    }
}
