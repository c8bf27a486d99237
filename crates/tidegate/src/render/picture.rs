//! The state machine as an SVG picture with a layout of its own.

use tidegate_core::deployment::StateName::{
    self, AwaitingApproval, Building, Canary, CanaryEvaluating, CanaryWaiting, Cancelled, Checking,
    Deploying, Failed, Init, Paused, Promoted, Promoting, Queued, RolledBack, RollingBack, Stuck, Verified,
    Verifying,
};

use super::{
    layout::{
        Anchor, Arrow, FRAMES, HEIGHT, LINE, Label, MAIN, NODE_HEIGHT, NODE_WIDTH, WIDTH, arrows,
        legend_labels, place, titles,
    },
    states::crossings,
};

/// Radius of a bend.
const BEND: i32 = 8;

/// The picture; readable on light and dark ground.
pub(crate) fn states_svg() -> String {
    let changes = crossings();
    let mut body = String::new();
    for (left, top, right, bottom) in FRAMES {
        let (width, height) = (right - left, bottom - top);
        body = format!(
            "{body}<rect class=\"frame\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"12\"/>\n"
        );
    }
    body.extend(titles().iter().map(written));
    for arrow in arrows() {
        body.push_str(&drawn(&arrow));
    }
    body = format!("{body}<circle class=\"dot\" cx=\"{MAIN}\" cy=\"26\" r=\"6\"/>\n");
    for state in StateName::ALL {
        let pauses = changes.contains_key(&(state, Paused));
        let goes_on = changes.contains_key(&(Paused, state)) && !matches!(state, Cancelled | RollingBack);
        body.push_str(&node(state, pauses, goes_on));
    }
    body.push_str(&legend());
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\" aria-labelledby=\"name\">\n<title id=\"name\">The states of a deployment</title>\n{STYLE}{body}</svg>\n"
    )
}

const STYLE: &str = r#"<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path class="tip" d="M0 0.8 L10 5 L0 9.2 z"/></marker></defs>
<style>
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #424a53; }
.ground { fill: #ffffff; }
.frame { fill: #f6f8fa; stroke: #d0d7de; }
.line { fill: none; stroke: #6e7781; stroke-width: 1.5; }
.under { fill: none; stroke: #f6f8fa; stroke-width: 7; }
.tip, .dot, .badge { fill: #6e7781; }
.name { font-weight: 600; text-anchor: middle; fill: #1f2328; }
.main { fill: #ddf4ff; stroke: #0969da; }
.still { fill: #fbefff; stroke: #8250df; }
.good { fill: #dafbe1; stroke: #1a7f37; }
.back { fill: #fff8c5; stroke: #9a6700; }
.bad { fill: #ffebe9; stroke: #cf222e; }
.end { fill: #eaeef2; stroke: #6e7781; }
@media (prefers-color-scheme: dark) {
text { fill: #b1bac4; }
.ground { fill: #0d1117; }
.frame { fill: #161b22; stroke: #30363d; }
.line { stroke: #8b949e; }
.under { stroke: #161b22; }
.tip, .dot, .badge { fill: #8b949e; }
.name { fill: #f0f6fc; }
.main { fill: #0c2d6b; stroke: #58a6ff; }
.still { fill: #3c1e70; stroke: #bc8cff; }
.good { fill: #033a16; stroke: #3fb950; }
.back { fill: #4b2900; stroke: #d29922; }
.bad { fill: #67060c; stroke: #ff7b72; }
.end { fill: #21262d; stroke: #8b949e; }
}
</style>
<rect class="ground" width="100%" height="100%"/>
"#;

fn node(state: StateName, pauses: bool, goes_on: bool) -> String {
    let (x, y) = place(state);
    let (left, top) = (x - NODE_WIDTH / 2, y - NODE_HEIGHT / 2);
    let class = class(state);
    let mut svg = format!(
        "<rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"{NODE_WIDTH}\" height=\"{NODE_HEIGHT}\" rx=\"8\"/>\
         <text class=\"name\" x=\"{x}\" y=\"{}\">{state}</text>\n",
        y + 5
    );
    if pauses {
        svg.push_str(&pause_mark(left + 5, top + 5));
    }
    if goes_on {
        svg.push_str(&resume_mark(left + NODE_WIDTH - 12, top + 5));
    }
    svg
}

/// Two bars, 7 wide and 8 high.
fn pause_mark(x: i32, y: i32) -> String {
    let right = x + 4;
    format!("<path class=\"badge\" d=\"M{x} {y} h3 v8 h-3 z M{right} {y} h3 v8 h-3 z\"/>\n")
}

/// A triangle, 7 wide and 8 high.
fn resume_mark(x: i32, y: i32) -> String {
    format!("<path class=\"badge\" d=\"M{x} {y} l7 4 l-7 4 z\"/>\n")
}

/// The class that colours a state.
const fn class(state: StateName) -> &'static str {
    match state {
        Verified => "good",
        RollingBack | RolledBack => "back",
        Stuck => "bad",
        Failed | Cancelled => "end",
        Paused | AwaitingApproval => "still",
        Queued | Checking | Init | Building | Deploying | Canary | CanaryWaiting | CanaryEvaluating
        | Promoting | Promoted | Verifying => "main",
    }
}

fn legend() -> String {
    let labels: String = legend_labels().iter().map(written).collect();
    format!("{}{}{labels}", pause_mark(48, HEIGHT - 30), resume_mark(508, HEIGHT - 30))
}

/// The line, and what a pointer that rests on it is shown: the changes that it stands for.
fn drawn(arrow: &Arrow) -> String {
    let path = path(&arrow.points);
    let label = arrow.label.as_ref().map_or_else(String::new, written);
    // The wide line under it makes a gap where it crosses another.
    let under = if arrow.joins { String::new() } else { format!("<path class=\"under\" d=\"{path}\"/>") };
    let changes: Vec<String> = arrow.stands_for.iter().map(|(from, to)| format!("{from} to {to}")).collect();
    let changes =
        if changes.is_empty() { String::new() } else { format!("<title>{}</title>", changes.join(", ")) };
    format!("<g>{changes}{under}<path class=\"line\" d=\"{path}\" marker-end=\"url(#head)\"/></g>\n{label}")
}

/// A path of straight lines with round bends; every part is horizontal or vertical.
fn path(points: &[(i32, i32)]) -> String {
    let mut path = String::new();
    for (index, &(x, y)) in points.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| points.get(index));
        let after = points.get(index + 1);
        path = match (before, after) {
            (None, _) => format!("M{x} {y}"),
            (Some(_), None) => format!("{path} L{x} {y}"),
            (Some(from), Some(to)) => {
                let (near, far) = (towards((x, y), *from), towards((x, y), *to));
                format!("{path} L{} {} Q{x} {y} {} {}", near.0, near.1, far.0, far.1)
            }
        };
    }
    path
}

/// The point a bend's radius away from a corner.
fn towards(corner: (i32, i32), to: (i32, i32)) -> (i32, i32) {
    (corner.0 + (to.0 - corner.0).signum() * BEND, corner.1 + (to.1 - corner.1).signum() * BEND)
}

fn written(label: &Label) -> String {
    let anchor = match label.anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let (x, mut y) = (label.x, label.y);
    let mut text = String::new();
    for line in &label.lines {
        text = format!("{text}<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{line}</text>\n");
        y += LINE;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_well_formed() {
        let svg = states_svg();
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let (tag, text) = tag.split_once('>').unwrap();
            assert!(!text.contains('&') && tag.matches('"').count() % 2 == 0, "{tag}");
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if tag.ends_with('/') => {}
                None => open.push(tag.split(' ').next().unwrap()),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}
