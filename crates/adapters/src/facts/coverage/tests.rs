//! Both formats, good and bad, and what they say of a change.

use tidegate_core::confidence::{ChangeSize, FactorValue, Points};

use super::*;
use crate::facts::git::{ChangedFile, Content};

const LCOV: &str = "TN:unit\nSF:src/app/main.py\nFN:1,main\nDA:1,3\nDA:2,0\nDA:3,1,abcdef\nLF:3\nLH:2\nend_of_record\n\
                    SF:/ci/src/lib.py\nDA:7,0\nend_of_record\n";
const COBERTURA: &str = r#"<?xml version="1.0" ?>
<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">
<coverage line-rate="0.5" timestamp="1704067200">
  <sources><source>/ci/build/src</source></sources>
  <packages><package name="app"><classes>
    <class name="main" filename="app/main.py" line-rate="0.6"><methods><method name="m"><lines>
      <line number="1" hits="3"/></lines></method></methods>
      <lines><line number="1" hits="3"/><line number="2" hits="0" branch="true"/><line number="3" hits="1"/></lines>
    </class>
  </classes></package></packages>
</coverage>
"#;

fn parse(text: &str) -> Result<CoverageReport, String> {
    CoverageReport::parse(Path::new("cov.info"), text).map_err(|error| crate::chain(&error))
}

fn change(path: &str, added_lines: &[std::ops::RangeInclusive<u32>]) -> Change {
    let file = ChangedFile {
        path: path.to_owned(),
        renamed_from: None,
        added: 9,
        deleted: 0,
        added_lines: added_lines.to_vec(),
        content: Content::Text,
        left_out: None,
    };
    Change {
        from: "0".repeat(40),
        to: "abcdef0123456789abcdef0123456789abcdef01".to_owned(),
        at: Timestamp(1_704_067_200_000),
        size: ChangeSize::default(),
        files: vec![file],
        unknown: Vec::new(),
    }
}

#[test]
fn both_formats_say_the_same_of_a_change() {
    let changed = change("src/app/main.py", &[1..=2, 40..=90]);
    for text in [LCOV, COBERTURA, &LCOV.replace('\n', "\r\n"), &format!("\u{feff}{COBERTURA}")] {
        let factor = coverage_of(&changed, &parse(text).unwrap(), Origin::default());
        // One of two lines that can be run: 50 of 80 %.
        assert_eq!(factor.points(), Some(Points::new(6_250)), "{factor:?}");
    }
    let report = parse(COBERTURA).unwrap();
    assert_eq!(report.hits("/ci/build/src/app/main.py", 1), Some(3));
    assert_eq!(report.written_at(), Some(Timestamp(1_704_067_200_000)));
    assert_eq!(parse(&LCOV.replace("DA:2,0", "DA:2,0\nDA:2,5")).unwrap().hits("src/app/main.py", 2), Some(5));
}

#[test]
fn a_report_of_another_commit_or_of_other_files_is_absent_and_never_0_or_1() {
    let changed = change("src/app/main.py", &[1..=3]);
    let report = parse(LCOV).unwrap();
    let value = |origin| coverage_of(&changed, &report, origin).value;
    let of = |commit| value(Origin { commit: Some(commit), written_at: None });
    assert!(matches!(of("abcdef0"), FactorValue::Known(_)));
    assert!(matches!(of("ABCDEF0123456789abcdef0123456789abcdef01\n"), FactorValue::Known(_)));
    for other in ["abcdef1", "0000000000000000000000000000000000000000", "abc", ""] {
        assert_eq!(of(other), FactorValue::Absent(Absence::OtherRelease), "{other}");
    }
    let at = |ms| value(Origin { commit: None, written_at: Some(Timestamp(ms)) });
    assert_eq!(at(1_704_067_199_999), FactorValue::Absent(Absence::OtherRelease));
    assert!(matches!(at(1_704_067_200_000), FactorValue::Known(_)));
    let old = parse(&COBERTURA.replace("1704067200", "1704067199999")).unwrap();
    assert_eq!(
        coverage_of(&changed, &old, Origin::default()).value,
        FactorValue::Absent(Absence::OtherRelease)
    );
    for (path, lines, why, reason) in [
        ("elsewhere/other.py", 1..=3, Absence::NotGiven, "elsewhere/other.py is not in the coverage report"),
        ("src/app/main.py", 50..=60, Absence::NotApplicable, "no line that a test could run"),
    ] {
        let factor = coverage_of(&change(path, &[lines]), &report, Origin::default());
        assert_eq!(factor.value, FactorValue::Absent(why), "{path}");
        assert!(factor.reason.contains(reason), "{}", factor.reason);
    }
}

#[test]
fn a_malformed_report_is_named_with_file_line_and_fault() {
    for (text, message) in [
        ("SF:a\nDA:1\nend_of_record\n", "line 2: `DA:1`: `` is no count"),
        ("SF:a\nDA:0,1\nend_of_record\n", "line 2: `DA:0,1`: `0` is no line number"),
        ("SF:a\nDA:-1,1\nend_of_record\n", "line 2: `DA:-1,1`: `-1` is no line number"),
        ("SF:a\nDA:5000000000,1\nend_of_record\n", "`5000000000` is no line number"),
        ("SF:a\nDA:1,-1\nend_of_record\n", "line 2: `DA:1,-1`: `-1` is no count"),
        ("SF:a\nDA:1,NaN\nend_of_record\n", "`NaN` is no count"),
        ("DA:1,1\n", "line 1: `DA:` outside of a file"),
        ("SF:a\nDA:1,1\n", "line 2: the report ends within the file a; it was cut off"),
        ("SF:a\nSF:b\n", "line 2: `SF:` before the `end_of_record`"),
        ("SF:\n", "line 1: `SF:` without a path"),
        ("{\"coverage\": 1}", "line 1: `{\"coverage\": 1}` is no line of an lcov report"),
        ("", "names no source file"),
        ("TN:\n", "names no source file"),
        ("<coverage></coverage>", "names no source file"),
        ("<html><body>login</body></html>", "line 1: this is a web page, not a Cobertura report"),
        ("<coverage>\n<packages>", "the report ends within an element; it was cut off"),
        ("<coverage>\n<packages></coverage>", "line 2: "),
        ("<coverage>\n<class name=\"x\">", "line 2: `class` without `filename`"),
        ("<coverage><line number=\"1\" hits=\"1\"/></coverage>", "`line` outside of a `class`"),
        ("<a><class filename=\"x\">\n\n<line number=\"1\"/></class></a>", "line 3: `line` without `hits`"),
        (
            "<a><class filename=\"x\"><line number=\"one\" hits=\"1\"/>",
            "`number` is `one`, which is no count",
        ),
        ("<a><class filename=\"x\"><line number=\"0\" hits=\"1\"/>", "`number` is no line number"),
        ("<a><class filename=\"x\"><line number=\"1\" hits=\"-3\"/>", "`hits` is `-3`, which is no count"),
        ("<a><class filename=\"&bomb;\">", "`filename`: "),
        ("<a b='1", "line 1: "),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with("the coverage report cov.info "), "{error}");
        assert!(error.contains(message), "{text:?}: {error}");
    }
    let deep = "<a>".repeat(100);
    assert!(parse(&deep).unwrap_err().contains("deeper than 64"));
}

#[test]
fn no_cut_and_no_flipped_byte_of_a_report_panics() {
    for text in [LCOV, COBERTURA] {
        for end in 0..text.len() {
            let _ = parse(text.get(..end).unwrap());
            let mut bytes = text.as_bytes().to_vec();
            bytes[end] = bytes[end].wrapping_add(5) & 0x7f;
            let _ = parse(&String::from_utf8(bytes).unwrap());
        }
    }
}

#[test]
fn generated_files_do_not_count() {
    let mut changed = change("src/app/main.py", &[1..=3]);
    changed.files[0].left_out = Some(crate::facts::git::LeftOut::Generated);
    let factor = coverage_of(&changed, &parse(LCOV).unwrap(), Origin::default());
    assert_eq!(factor.points(), None);
}
