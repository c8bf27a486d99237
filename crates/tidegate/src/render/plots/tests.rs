//! Plots of a release whose every number is known.

use tidegate_core::{
    judge::{
        FailedAt,
        chart::{Chart, Check, Errors, Faster, Mark, Overlay, Plausible, Policy, Timeline, Trace},
    },
    model::{Millis, Timestamp},
};

use super::{super::text::tests::unstyled, *};

fn chart() -> Chart {
    let secs = Millis::secs;
    let line = |policy, checks: &[(u64, bool)], turned_back, failed_requests| Timeline {
        policy,
        checks: checks.iter().map(|(at, failed)| Check { after: secs(*at), failed: *failed }).collect(),
        turned_back,
        failed_requests,
    };
    Chart {
        from: Timestamp(0),
        length: secs(200),
        supposed: false,
        stages: vec![
            Mark { after: secs(0), name: "canary 5 %".to_owned() },
            Mark { after: secs(120), name: "<script>\u{1b}[2J & \"50\" %".to_owned() },
        ],
        meter: vec![
            Trace {
                gate: "error_rate".to_owned(),
                points: (1..=200).map(|s| (secs(s), (s as f64 / 40.0).exp().min(100.0))).collect(),
            },
            Trace { gate: "latency_shift".to_owned(), points: (1..=200).map(|s| (secs(s), 1.2)).collect() },
        ],
        allowed: 100.0,
        funnel: (10..=200)
            .map(|s| Plausible {
                after: secs(s),
                low: 2.8 * (1.0 - 9.0 / s as f64),
                high: (s > 30).then(|| 3.0 + 400.0 / s as f64),
            })
            .collect(),
        tolerated: 1.1,
        bad: 2.0,
        errors: (1..=200).map(|s| Errors { after: secs(s), seen: s / 2, expected: s as f64 / 7.0 }).collect(),
        latency: Some(Overlay {
            new: 4_000,
            stable: 76_000,
            band: 0.041,
            points: [
                (5_000, 0.1, 0.1),
                (10_000, 0.4, 0.5),
                (20_000, 0.7, 0.8),
                (50_000, 0.9, 0.95),
                (400_000, 1.0, 1.0),
            ]
            .map(|(edge_us, new, stable)| Faster { edge_us, new, stable })
            .into(),
        }),
        policies: vec![
            line(Policy::PlainRatio, &[(60, false), (120, true)], Some(secs(120)), 60),
            line(Policy::Flagger, &[(60, true), (120, true), (180, true)], None, 100),
            line(Policy::Argo, &[(60, false), (120, false), (180, false)], None, 100),
            line(Policy::Gates, &[], Some(secs(185)), 92),
        ],
        failed: Some(FailedAt {
            gate: "error_rate".to_owned(),
            reason: "3 of 60 requests failed".to_owned(),
            after: secs(185),
            at: Timestamp(185_000),
            stage: Some(1),
        }),
    }
}

/// Elements close as they open, no text ends one, every attribute is quoted.
fn well_formed(svg: &str) {
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').unwrap();
        assert!(tag.matches('"').count() % 2 == 0, "{tag}");
        for (_, entity) in text.match_indices('&').map(|(at, _)| text.split_at(at)) {
            assert!(
                ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].iter().any(|known| entity.starts_with(known)),
                "{text}"
            );
        }
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split(' ').next().unwrap()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn every_picture_is_well_formed_and_no_name_from_outside_becomes_a_part_of_it() {
    let pictures = plots_svg(&chart(), "shop <2>");
    let names: Vec<&str> = pictures.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["evidence.svg", "ratio.svg", "errors.svg", "policies.svg", "latency.svg"]);
    for (name, svg) in &pictures {
        well_formed(svg);
        assert!(
            !svg.contains("<script")
                && !svg.contains('\u{1b}')
                && !svg.contains("NaN")
                && !svg.contains("inf"),
            "{name}"
        );
        assert!(svg.contains("shop &lt;2&gt;") && svg.contains("prefers-color-scheme: dark"), "{name}");
    }
    assert!(pictures[0].1.contains("&lt;script&gt;[2J &amp; &quot;50&quot; %"), "{}", pictures[0].1);
}

#[test]
fn a_chart_with_nothing_in_it_is_drawn_all_the_same() {
    let empty = Chart {
        length: Millis::ZERO,
        stages: Vec::new(),
        meter: Vec::new(),
        funnel: Vec::new(),
        errors: Vec::new(),
        latency: None,
        policies: Vec::new(),
        supposed: true,
        ..chart()
    };
    for (_, svg) in plots_svg(&empty, "shop-1") {
        well_formed(&svg);
    }
    assert!(plots_text(&empty, "shop-1", 80).contains("no evidence yet"));
}

#[test]
fn plots_in_a_terminal_are_in_the_golden_file_and_never_wider_than_it() {
    let shown = unstyled(&plots_text(&chart(), "shop-2", 100));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/render/plots/golden.txt");
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(path, &shown).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap() == shown,
        "the text changed: read the difference after blessing it"
    );
    for width in [1, 20, 60, 80, 300] {
        let narrow = unstyled(&plots_text(&chart(), "shop-2", width));
        assert!(narrow.lines().all(|line| line.chars().count() <= width), "{width}");
    }
}
