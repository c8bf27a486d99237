//! The plots as SVG files, readable on light and dark ground.

use tidegate_core::{
    judge::chart::{Chart, Overlay, Timeline},
    model::Millis,
};

use super::{
    super::{outlook::number, text::clean},
    RATIOS, most_failed, of_time, outcome, rare, remark,
    scale::{Scale, seconds},
    two,
};

const WIDTH: f64 = 820.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 640.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 350.0;
/// Height with room for the time axis and a remark.
const HEIGHT: f64 = 420.0;
/// Height of one policy's row.
const ROW: f64 = 56.0;
/// Height of a line of text at the right side.
const LABEL: f64 = 16.0;
/// Traces that have a colour of their own.
const COLOURS: usize = 6;

/// Every plot: its file's name and its text.
pub(crate) fn plots_svg(chart: &Chart, title: &str) -> Vec<(&'static str, String)> {
    let mut files = vec![
        ("evidence.svg", meter(chart, title)),
        ("ratio.svg", funnel(chart, title)),
        ("errors.svg", errors(chart, title)),
        ("policies.svg", policies(chart, title)),
    ];
    if let Some(overlay) = &chart.latency {
        files.push(("latency.svg", latency(overlay, title)));
    }
    files
}

/// The text without what could end an element, an attribute or a line.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in clean(text).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A picture that grows by elements.
struct Picture {
    body: String,
    x: Scale,
    y: Scale,
}

impl Picture {
    const fn new(x: Scale, y: Scale) -> Self {
        Self { body: String::new(), x, y }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * self.x.part(value)
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * self.y.part(value)
    }

    fn push(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    fn text(&mut self, class: &str, at: (f64, f64), anchor: &str, text: &str) {
        let (x, y) = at;
        self.push(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escape(text)
        ));
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.push(&format!(
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// A rectangle between two values of the upright axis.
    fn stripe(&mut self, class: &str, low: f64, high: f64) {
        let (top, bottom) = (self.y(high), self.y(low));
        self.push(&format!(
            "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            RIGHT - LEFT,
            bottom - top
        ));
    }

    /// A line through values that hold until the next one.
    fn steps(&mut self, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        let (mut path, mut height) = (String::new(), 0.0);
        for (x, y) in points {
            let (x, y) = (self.x(x), self.y(y));
            if path.is_empty() {
                path = format!("M{x:.1} {y:.1}");
            } else {
                path = format!("{path} L{x:.1} {height:.1} L{x:.1} {y:.1}");
            }
            height = y;
        }
        self.push(&format!("<path class=\"{class}\" d=\"{path}\"/>"));
    }

    /// What lies between a lower and an upper line.
    fn between(&mut self, class: &str, points: &[(f64, f64, f64)]) {
        let upper = points.iter().map(|(x, _, high)| (self.x(*x), self.y(*high)));
        let lower = points.iter().rev().map(|(x, low, _)| (self.x(*x), self.y(*low)));
        let path: Vec<String> = upper.chain(lower).map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        if !path.is_empty() {
            self.push(&format!("<path class=\"{class}\" d=\"M{} z\"/>", path.join(" L")));
        }
    }

    fn upright(&mut self, what: &str, label: impl Fn(f64) -> String) {
        for tick in self.y.ticks() {
            let y = self.y(tick);
            self.line("grid", (LEFT, y), (RIGHT, y));
            self.text("", (LEFT - 8.0, y + 4.0), "end", &label(tick));
        }
        self.text("", (LEFT - 60.0, 46.0), "start", what);
    }

    fn level(&mut self, ticks: &[f64], what: &str, label: impl Fn(f64) -> String) {
        self.line("axis", (LEFT, BOTTOM), (RIGHT, BOTTOM));
        for tick in ticks {
            let x = self.x(*tick);
            self.line("axis", (x, BOTTOM), (x, BOTTOM + 5.0));
            self.text("", (x, BOTTOM + 20.0), "middle", &label(*tick));
        }
        self.text("", (RIGHT, BOTTOM + 38.0), "end", what);
    }

    /// The time axis, and where the stages begin.
    fn time(&mut self, chart: &Chart) {
        self.level(&seconds(span(chart)), "time since the first batch", of_time);
        let mut free = LEFT;
        for mark in &chart.stages {
            let x = self.x(at(mark.after));
            self.line("stage", (x, TOP), (x, BOTTOM));
            // A name that would be written over the one before is left to the pointer.
            if x >= free {
                self.text("name", (x, TOP - 4.0), "start", &mark.name);
                free = x + 7.0 * mark.name.chars().count() as f64 + 12.0;
            }
        }
    }

    /// Writes at the right side, as near to its line as the others leave room.
    fn labels(&mut self, mut labels: Vec<(f64, String, String)>) {
        labels.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut free = TOP - 20.0;
        for (y, _, _) in &mut labels {
            *y = y.max(free + LABEL);
            free = *y;
        }
        // Those that were pushed out at the bottom push the others up.
        let mut free = BOTTOM + LABEL;
        for (y, _, _) in labels.iter_mut().rev() {
            *y = y.min(free - LABEL);
            free = *y;
        }
        for (y, class, text) in labels {
            self.text(&class, (RIGHT + 10.0, y + 4.0), "start", &text);
        }
    }

    fn end(mut self, name: &str, title: &str, height: f64, note: Option<&str>) -> String {
        self.text("title", (LEFT - 60.0, 26.0), "start", &format!("{title}: {name}"));
        if let Some(note) = note {
            self.text("", (LEFT - 60.0, height - 12.0), "start", note);
        }
        let name = escape(&format!("{title}: {name}"));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
             role=\"img\" aria-label=\"{name}\">\n<title>{name}</title>\n{STYLE}{}</svg>\n",
            self.body
        )
    }
}

const STYLE: &str = r#"<style>
text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #57606a; }
.title { font-size: 15px; font-weight: 600; fill: #1f2328; }
.name { font-size: 11px; }
.ground { fill: #ffffff; }
.grid { stroke: #d8dee4; stroke-width: 1; }
.axis { stroke: #6e7781; stroke-width: 1; }
.stage { stroke: #8c959f; stroke-width: 1; stroke-dasharray: 3 3; }
.limit { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 7 4; }
.good { fill: #dafbe1; } .open { fill: #fff8c5; } .bad { fill: #ffebe9; }
.band { fill: #0969da; fill-opacity: .18; } .funnel { fill: #0969da; fill-opacity: .35; stroke: #0969da; stroke-width: 1; }
.t0, .t1, .t2, .t3, .t4, .t5 { fill: none; stroke-width: 2; stroke-linejoin: round; }
.t0 { stroke: #0969da; } .t1 { stroke: #bc4c00; } .t2 { stroke: #1a7f37; } .t3 { stroke: #8250df; } .t4 { stroke: #bf3989; } .t5 { stroke: #6e7781; }
.l0 { fill: #0969da; } .l1 { fill: #bc4c00; } .l2 { fill: #1a7f37; } .l3 { fill: #8250df; } .l4 { fill: #bf3989; } .l5 { fill: #57606a; } .lx { fill: #cf222e; }
.row { stroke: #8c959f; stroke-width: 2; } .passed { fill: #1a7f37; } .failed { fill: #cf222e; } .back { stroke: #cf222e; stroke-width: 3; }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1; }
.title { fill: #f0f6fc; }
.ground { fill: #0d1117; }
.grid { stroke: #21262d; }
.axis { stroke: #8b949e; }
.stage { stroke: #6e7681; }
.limit, .back { stroke: #ff7b72; }
.good { fill: #12261e; } .open { fill: #272115; } .bad { fill: #25171c; }
.band { fill: #58a6ff; } .funnel { fill: #58a6ff; stroke: #58a6ff; }
.t0 { stroke: #58a6ff; } .t1 { stroke: #f0883e; } .t2 { stroke: #3fb950; } .t3 { stroke: #bc8cff; } .t4 { stroke: #f778ba; } .t5 { stroke: #8b949e; }
.l0 { fill: #58a6ff; } .l1 { fill: #f0883e; } .l2 { fill: #3fb950; } .l3 { fill: #bc8cff; } .l4 { fill: #f778ba; } .l5 { fill: #9198a1; } .lx { fill: #ff7b72; }
.row { stroke: #6e7681; } .passed { fill: #3fb950; } .failed { fill: #ff7b72; }
}
</style>
<rect class="ground" width="100%" height="100%"/>
"#;

fn at(after: Millis) -> f64 {
    after.0 as f64 / 1_000.0
}

fn span(chart: &Chart) -> f64 {
    at(chart.length).max(1.0)
}

fn meter(chart: &Chart, title: &str) -> String {
    let mut picture =
        Picture::new(Scale::Even(0.0, span(chart)), Scale::Logarithmic(1.0, chart.allowed.max(2.0) * 1.3));
    picture.upright("a healthy release looks this bad in one rollout of", number);
    picture.time(chart);
    let limit = picture.y(chart.allowed);
    picture.line("limit", (LEFT, limit), (RIGHT, limit));
    let mut labels = vec![(limit, "lx".to_owned(), "turned back from here on".to_owned())];
    for (place, trace) in chart.meter.iter().enumerate() {
        let colour = place.min(COLOURS - 1);
        picture.steps(&format!("t{colour}"), trace.points.iter().map(|(after, odds)| (at(*after), *odds)));
        if let Some((_, odds)) = trace.points.last() {
            labels.push((picture.y(*odds), format!("l{colour}"), format!("{} {}", trace.gate, rare(*odds))));
        }
    }
    picture.labels(labels);
    picture.end("evidence against the release", title, HEIGHT, remark(chart))
}

fn funnel(chart: &Chart, title: &str) -> String {
    let (low, high) = RATIOS;
    let mut picture = Picture::new(Scale::Even(0.0, span(chart)), Scale::Logarithmic(low, high));
    picture.stripe("good", low, chart.tolerated);
    picture.stripe("open", chart.tolerated, chart.bad);
    picture.stripe("bad", chart.bad, high);
    picture.upright("failures of the new release, times the stable one's", |ratio| format!("{ratio} x"));
    picture.time(chart);
    let points: Vec<(f64, f64, f64)> =
        chart.funnel.iter().map(|one| (at(one.after), one.low, one.high.unwrap_or(f64::MAX))).collect();
    picture.between("funnel", &points);
    let middle = |picture: &Picture, low: f64, high: f64| f64::midpoint(picture.y(low), picture.y(high));
    let mut labels = vec![
        (
            middle(&picture, low, chart.tolerated),
            "l2".to_owned(),
            format!("tolerated, up to {} x", two(chart.tolerated)),
        ),
        (middle(&picture, chart.tolerated, chart.bad), "l5".to_owned(), "neither".to_owned()),
        (middle(&picture, chart.bad, high), "lx".to_owned(), format!("bad, from {} x on", two(chart.bad))),
    ];
    if let Some(last) = chart.funnel.last() {
        let upper = last.high.map_or_else(|| "no end yet".to_owned(), |high| format!("{} x", two(high)));
        labels.push((TOP, "l0".to_owned(), format!("plausible: {} x to {upper}", two(last.low))));
    }
    picture.labels(labels);
    picture.end("plausible ratio of failures (95 %)", title, HEIGHT, remark(chart))
}

fn errors(chart: &Chart, title: &str) -> String {
    let most = most_failed(chart);
    let mut picture = Picture::new(Scale::Even(0.0, span(chart)), Scale::Even(0.0, most * 1.1));
    picture.upright("failed requests of the new release so far", number);
    picture.time(chart);
    picture.steps("t5", chart.errors.iter().map(|one| (at(one.after), one.expected)));
    picture.steps("t0", chart.errors.iter().map(|one| (at(one.after), one.seen as f64)));
    if let Some(last) = chart.errors.last() {
        let seen =
            (picture.y(last.seen as f64), "l0".to_owned(), format!("seen: {}", number(last.seen as f64)));
        let expected = format!("as the stable release: {}", number(last.expected));
        let expected = (picture.y(last.expected), "l5".to_owned(), expected);
        picture.labels(vec![seen, expected]);
    }
    picture.end("failed requests against what was to be expected", title, HEIGHT, None)
}

fn latency(overlay: &Overlay, title: &str) -> String {
    let edges = || overlay.points.iter().map(|point| point.edge_us as f64).filter(|edge| *edge < 1e15);
    let (low, high) = (edges().fold(f64::MAX, f64::min).max(1.0), edges().fold(2.0, f64::max));
    let mut picture = Picture::new(Scale::Logarithmic(low.min(high / 2.0), high), Scale::Even(0.0, 1.0));
    picture.upright("share of requests that took no longer", |share| format!("{:.0} %", share * 100.0));
    let ticks = picture.x.ticks();
    picture.level(&ticks, "latency", of_latency);
    let around =
        |edge: f64, share: f64| (edge, (share - overlay.band).max(0.0), (share + overlay.band).min(1.0));
    let mut band = Vec::with_capacity(2 * overlay.points.len());
    let mut before = None;
    for point in &overlay.points {
        let edge = point.edge_us as f64;
        band.extend(before.map(|share| around(edge, share)));
        band.push(around(edge, point.new));
        before = Some(point.new);
    }
    picture.between("band", &band);
    picture.steps("t5", overlay.points.iter().map(|point| (point.edge_us as f64, point.stable)));
    picture.steps("t0", overlay.points.iter().map(|point| (point.edge_us as f64, point.new)));
    picture.labels(vec![
        (TOP + 20.0, "l0".to_owned(), format!("new: {} requests", number(overlay.new as f64))),
        (TOP + 36.0, "l0".to_owned(), format!("± {:.1} % (95 %)", overlay.band * 100.0)),
        (TOP + 60.0, "l5".to_owned(), format!("stable: {} requests", number(overlay.stable as f64))),
    ]);
    picture.end("latencies while both had traffic", title, HEIGHT, None)
}

fn policies(chart: &Chart, title: &str) -> String {
    let bottom = TOP + ROW * chart.policies.len() as f64;
    let mut picture = Picture::new(Scale::Even(0.0, span(chart)), Scale::Even(0.0, 1.0));
    for (place, line) in chart.policies.iter().enumerate() {
        policy(&mut picture, chart, line, TOP + ROW * place as f64 + 14.0);
    }
    for mark in &chart.stages {
        let x = picture.x(at(mark.after));
        picture.line("stage", (x, TOP - 10.0), (x, bottom));
    }
    for tick in seconds(span(chart)) {
        let x = picture.x(tick);
        picture.text("", (x, bottom + 16.0), "middle", &of_time(tick));
    }
    let note = "green: a look that passed; red: one that failed. The others look once a minute.";
    picture.end("what other ways of deciding would have done", title, bottom + 50.0, Some(note))
}

fn policy(picture: &mut Picture, chart: &Chart, line: &Timeline, y: f64) {
    let end = line.turned_back.map_or_else(|| span(chart), at);
    let end = picture.x(end);
    picture.text("", (LEFT + 8.0, y), "start", &format!("{}: {}", line.policy, outcome(line)));
    let y = y + 18.0;
    picture.line("row", (LEFT, y), (end, y));
    for check in &line.checks {
        let class = if check.failed { "failed" } else { "passed" };
        let x = picture.x(at(check.after));
        picture.push(&format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>"));
    }
    if line.turned_back.is_some() {
        picture.line("back", (end, y - 9.0), (end, y + 9.0));
    }
}

fn of_latency(us: f64) -> String {
    match us {
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us if us < 1_000_000.0 => format!("{} ms", two(us / 1_000.0)),
        us => format!("{} s", two(us / 1_000_000.0)),
    }
}
