//! Where the states and the changes between them are drawn: the main path from top to bottom, the ends and the way back on
//! the right. Which changes are drawn is checked against the machine.

use tidegate_core::deployment::StateName::{
    self, AwaitingApproval, Building, Canary, CanaryEvaluating, CanaryWaiting, Cancelled, Checking,
    Deploying, Failed, Init, Paused, Promoted, Promoting, Queued, RolledBack, RollingBack, Stuck, Verified,
    Verifying,
};

pub(super) type Change = (StateName, StateName);

pub(super) const WIDTH: i32 = 1_180;
pub(super) const HEIGHT: i32 = 930;
pub(super) const NODE_WIDTH: i32 = 168;
pub(super) const NODE_HEIGHT: i32 = 38;
/// Centre of the first row, and the distance between rows.
const TOP: i32 = 114;
const ROW: i32 = 66;
/// Centres of the columns: the main path, what stands still, the ends.
pub(super) const MAIN: i32 = 300;
const ASIDE: i32 = 590;
const ENDS: i32 = 980;

/// Which side of a point a label is on.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Text in the picture: its lines, the base line's place of the first, its side.
pub(super) struct Label {
    pub(super) lines: Vec<&'static str>,
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) anchor: Anchor,
}

/// A line with an arrow head, through these points, which stands for these changes of state.
pub(super) struct Arrow {
    pub(super) stands_for: Vec<Change>,
    pub(super) points: Vec<(i32, i32)>,
    /// Whether it runs into another line instead of crossing it.
    pub(super) joins: bool,
    pub(super) label: Option<Label>,
}

const fn row(number: i32) -> i32 {
    TOP + number * ROW
}

/// Where a state is drawn: the centre of its node.
pub(super) const fn place(state: StateName) -> (i32, i32) {
    match state {
        Queued => (MAIN, row(0)),
        Checking => (MAIN, row(1)),
        Init => (MAIN, row(2)),
        Building => (MAIN, row(3)),
        Deploying => (MAIN, row(4)),
        Canary => (MAIN, row(5)),
        CanaryWaiting => (MAIN, row(6)),
        CanaryEvaluating => (MAIN, row(7)),
        Promoting => (MAIN, row(8)),
        Promoted => (MAIN, row(9)),
        Verifying => (MAIN, row(10)),
        Verified => (MAIN, row(11)),
        Paused => (ASIDE, row(4)),
        AwaitingApproval => (ASIDE, row(6)),
        Cancelled => (ENDS, row(0)),
        Failed => (ENDS, row(2)),
        RollingBack => (ENDS, row(7)),
        RolledBack => (ENDS - 95, row(9)),
        Stuck => (ENDS + 95, row(9)),
    }
}

/// A frame round states that have something in common: left, top, right, bottom.
pub(super) const FRAMES: [(i32, i32, i32, i32); 3] = [
    (150, row(0) - 52, 470, row(3) + 30),
    (196, row(1) - 26, 454, row(3) + 24),
    (30, row(4) - 28, 730, row(10) + 30),
];

const UNTOUCHED: [StateName; 4] = [Queued, Checking, Init, Building];
const TRYING: [StateName; 3] = [Checking, Init, Building];
const UNDER_WAY: [StateName; 9] = [
    Deploying,
    Canary,
    CanaryWaiting,
    CanaryEvaluating,
    AwaitingApproval,
    Paused,
    Promoting,
    Promoted,
    Verifying,
];

fn label(lines: &[&'static str], x: i32, y: i32, anchor: Anchor) -> Label {
    Label { lines: lines.to_vec(), x, y, anchor }
}

/// A step down the main path.
fn down(from: StateName, to: StateName, words: &'static str) -> Arrow {
    let ((x, above), (_, below)) = (place(from), place(to));
    let half = NODE_HEIGHT / 2;
    Arrow {
        stands_for: vec![(from, to)],
        points: vec![(x, above + half), (x, below - half)],
        joins: false,
        label: Some(label(&[words], x + 8, i32::midpoint(above, below) + 4, Anchor::Start)),
    }
}

fn arrow(stands_for: &[Change], points: &[(i32, i32)], label: Option<Label>) -> Arrow {
    Arrow { stands_for: stands_for.to_vec(), points: points.to_vec(), joins: false, label }
}

/// An arrow from a frame: it stands for one change of each state inside.
fn from_all(inside: &[StateName], to: StateName, points: &[(i32, i32)], label: Option<Label>) -> Arrow {
    Arrow {
        stands_for: inside.iter().map(|from| (*from, to)).collect(),
        points: points.to_vec(),
        joins: false,
        label,
    }
}

fn main_path() -> Vec<Arrow> {
    let start = arrow(&[], &[(MAIN, 26), (MAIN, row(0) - NODE_HEIGHT / 2)], None);
    vec![
        start,
        down(Queued, Checking, "admitted"),
        down(Checking, Init, "checked"),
        down(Init, Building, "counters read"),
        down(Building, Deploying, "built"),
        down(Deploying, Canary, "instances ready"),
        down(Canary, CanaryWaiting, "share in force"),
        down(CanaryWaiting, CanaryEvaluating, "bake over"),
        down(CanaryEvaluating, Promoting, "last stage passed"),
        down(Promoting, Promoted, "promoted"),
        down(Promoted, Verifying, "watch opened"),
        down(Verifying, Verified, "watch passed"),
    ]
}

/// Round the stages: again, by hand, and with a person's approval.
fn round_the_stages() -> Vec<Arrow> {
    use Anchor::{End, Start};
    let (left, right) = (MAIN - NODE_WIDTH / 2, MAIN + NODE_WIDTH / 2);
    let half = NODE_HEIGHT / 2;
    let loop_back = Some(label(&["next stage,", "or the same", "once more"], 144, row(6) - 12, End));
    vec![
        arrow(
            &[(CanaryEvaluating, Canary)],
            &[(left, row(7)), (154, row(7)), (154, row(5)), (left, row(5))],
            loop_back,
        ),
        Arrow {
            joins: true,
            ..arrow(
                &[(CanaryWaiting, Canary)],
                &[(left, row(6)), (154, row(6)), (154, row(5)), (left, row(5))],
                None,
            )
        },
        arrow(
            &[(CanaryWaiting, Promoting)],
            &[(right, row(6) + 11), (440, row(6) + 11), (440, row(8) - 8), (right, row(8) - 8)],
            Some(label(&["by hand"], 446, row(7) + 24, Start)),
        ),
        arrow(
            &[(Canary, AwaitingApproval)],
            &[(right, row(5) - 9), (630, row(5) - 9), (630, row(6) - half)],
            Some(label(&["approval planned"], 448, row(5) - 15, Start)),
        ),
        arrow(
            &[(AwaitingApproval, Canary)],
            &[(540, row(6) - half), (540, row(5) + 9), (right, row(5) + 9)],
            Some(label(&["approved"], 448, row(5) + 24, Start)),
        ),
        arrow(
            &[(CanaryWaiting, AwaitingApproval)],
            &[(right, row(6) - 6), (ASIDE - NODE_WIDTH / 2, row(6) - 6)],
            Some(label(&["a gate asks"], 408, row(6) - 12, Start)),
        ),
        arrow(
            &[(CanaryEvaluating, AwaitingApproval)],
            &[(right, row(7)), (540, row(7)), (540, row(6) + half)],
            Some(label(&["a gate asks"], 448, row(7) - 6, Start)),
        ),
        arrow(
            &[(AwaitingApproval, Promoting)],
            &[(630, row(6) + half), (630, row(8) + 8), (right, row(8) + 8)],
            Some(label(&["approved"], 546, row(8) + 2, Start)),
        ),
    ]
}

fn ends() -> Vec<Arrow> {
    use Anchor::{End, Middle, Start};
    let (left, right) = (ENDS - NODE_WIDTH / 2, ENDS + NODE_WIDTH / 2);
    let half = NODE_HEIGHT / 2;
    let causes = [
        "a gate fails",
        "evidence stays missing",
        "an effect fails",
        "a wait is too long",
        "abort, supersede",
    ];
    vec![
        from_all(
            &UNTOUCHED,
            Cancelled,
            &[(470, row(0)), (left, row(0))],
            Some(label(&["abort, supersede, no plan left"], 683, row(0) - 7, Middle)),
        ),
        from_all(
            &TRYING,
            Failed,
            &[(454, row(2)), (left, row(2))],
            Some(label(&["an effect fails"], 683, row(2) - 7, Middle)),
        ),
        arrow(
            &[(Paused, Cancelled)],
            &[(ASIDE + NODE_WIDTH / 2, row(4)), (1_110, row(4)), (1_110, row(0)), (right, row(0))],
            Some(label(&["paused in the queue: abort, or too long"], 742, row(4) - 7, Start)),
        ),
        from_all(
            &UNDER_WAY,
            RollingBack,
            &[(730, row(7)), (left, row(7))],
            Some(label(&causes, 813, row(7) - 68, Middle)),
        ),
        arrow(
            &[(RollingBack, RolledBack)],
            &[(925, row(7) + half), (925, row(9) - half)],
            Some(label(&["traffic is back,", "instances stopped"], 917, row(8) - 6, End)),
        ),
        arrow(
            &[(RollingBack, Stuck)],
            &[(1_010, row(7) + half), (1_010, row(9) - half)],
            Some(label(&["it fails"], 1_002, row(8) + 4, End)),
        ),
        arrow(
            &[(Stuck, RollingBack)],
            &[(1_046, row(9) - half), (1_046, row(7) + half)],
            Some(label(&["retry"], 1_054, row(8) + 4, Start)),
        ),
        arrow(
            &[(Stuck, Failed)],
            &[(1_136, row(9) - half), (1_136, row(2)), (right, row(2))],
            Some(label(&["abort:", "given up"], 1_130, row(5) + 4, End)),
        ),
    ]
}

pub(super) fn arrows() -> Vec<Arrow> {
    [main_path(), round_the_stages(), ends()].into_iter().flatten().collect()
}

pub(super) fn titles() -> Vec<Label> {
    let title = |text, x, y| Label { lines: vec![text], x, y, anchor: Anchor::Start };
    vec![title("nothing is touched yet", MAIN + 10, row(0) - 30), title("under way", 44, row(4) - 6)]
}

pub(super) fn legend_labels() -> Vec<Label> {
    let line = |text, x| Label { lines: vec![text], x, y: HEIGHT - 22, anchor: Anchor::Start };
    vec![
        line("can be paused here, or will be as soon as its effect is done", 64),
        line("a pause goes on here", 524),
        line("an arrow from a frame: from every state inside it", 720),
    ]
}

/// Distance between the base lines of a label.
pub(super) const LINE: i32 = 15;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::states::crossings, *};

    #[test]
    fn the_picture_shows_every_change_of_state_and_no_other() {
        let mut shown: BTreeSet<Change> = arrows().into_iter().flat_map(|arrow| arrow.stands_for).collect();
        // Pausing and going on are marks at the states, made from the machine.
        let marks = |(from, to): &Change| {
            *to == Paused || (*from == Paused && !matches!(to, Cancelled | RollingBack))
        };
        let all: BTreeSet<Change> = crossings().into_keys().collect();
        shown.extend(all.iter().filter(|change| marks(change)));
        assert_eq!(shown, all);
    }

    /// Left, top, right, bottom.
    type Area = (i32, i32, i32, i32);

    /// About the room that a label needs: 7 per character is what the widest usual letters of this size take.
    fn area(label: &Label) -> Area {
        let width = label.lines.iter().map(|line| i32::try_from(line.len()).unwrap() * 7).max().unwrap();
        let left = match label.anchor {
            Anchor::Start => label.x,
            Anchor::Middle => label.x - width / 2,
            Anchor::End => label.x - width,
        };
        let height = i32::try_from(label.lines.len()).unwrap() * LINE;
        (left, label.y - 11, left + width, label.y - 11 + height)
    }

    const fn apart(a: Area, b: Area) -> bool {
        a.2 <= b.0 || b.2 <= a.0 || a.3 <= b.1 || b.3 <= a.1
    }

    #[test]
    fn no_label_lies_on_a_node_or_on_another_label_or_on_a_line() {
        let arrows = arrows();
        let (titles, legend) = (titles(), legend_labels());
        let labels: Vec<&Label> =
            arrows.iter().filter_map(|arrow| arrow.label.as_ref()).chain(&titles).chain(&legend).collect();
        for (index, label) in labels.iter().enumerate() {
            let mine = area(label);
            assert!(mine.0 >= 0 && mine.2 <= WIDTH, "{:?} leaves the picture", label.lines);
            for state in StateName::ALL {
                let (x, y) = place(state);
                let (w, h) = (NODE_WIDTH / 2, NODE_HEIGHT / 2);
                assert!(apart(mine, (x - w, y - h, x + w, y + h)), "{:?} lies on {state}", label.lines);
            }
            for other in labels.iter().skip(index + 1) {
                assert!(apart(mine, area(other)), "{:?} lies on {:?}", label.lines, other.lines);
            }
            for pair in arrows.iter().flat_map(|arrow| arrow.points.windows(2)) {
                let (a, b) = (pair[0], pair[1]);
                let line = (a.0.min(b.0), a.1.min(b.1), a.0.max(b.0) + 1, a.1.max(b.1) + 1);
                assert!(apart(mine, line), "{:?} lies on the line from {a:?} to {b:?}", label.lines);
            }
        }
    }
}
