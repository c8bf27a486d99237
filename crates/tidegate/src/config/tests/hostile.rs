//! Files made to hurt: they end quickly, with little memory and a finding.

use std::{fmt::Write, time::Instant};

use super::{super::Code, findings, parse, service};

/// The first finding's code, after a time that no person would notice.
fn refused(text: &str) -> Code {
    let start = Instant::now();
    let found = findings(text);
    assert!(start.elapsed().as_secs() < 5, "took {:?}", start.elapsed());
    assert!(found.len() <= super::super::finding::FINDINGS_MAX);
    let longest = found.iter().map(|finding| finding.message.len() + finding.path.len()).max();
    assert!(longest < Some(4_096), "{longest:?}");
    found[0].code
}

#[test]
fn a_bomb_of_aliases_goes_off_harmlessly() {
    let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..30 {
        let items = format!("*a{},", level - 1).repeat(9);
        writeln!(laughs, "a{level}: &a{level} [{items}]").unwrap();
    }
    assert_eq!(refused(&laughs), Code::TooLarge);
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a,".repeat(9_000));
    assert_eq!(refused(&long), Code::TooLarge);
    let nested = format!("a: {}x{}\n", "&a [".repeat(60), "]".repeat(60));
    refused(&nested);
    assert_eq!(refused("a: &a [*a]\n"), Code::Yaml);
    assert_eq!(refused("a: *nobody\n"), Code::Yaml);
}

#[test]
fn depth_and_number_are_bounded() {
    assert_eq!(refused(&"[".repeat(100_000)), Code::TooLarge);
    assert_eq!(refused(&"{a: ".repeat(100_000)), Code::TooLarge);
    assert_eq!(refused(&"- ".repeat(100_000)), Code::TooLarge);
    let mixed = (0..70).fold(String::new(), |text, depth| format!("{text}{}a:\n", " ".repeat(depth)));
    assert_eq!(refused(&mixed), Code::TooLarge);
    // Neither kind alone is too deep, both together are; so is an alias that adds the rest.
    let blocks = (0..40).fold(String::new(), |text, depth| format!("{text}{}a:\n", " ".repeat(depth)));
    let flow = format!("{}x{}", "[".repeat(40), "]".repeat(40));
    assert_eq!(refused(&format!("{blocks}{}{flow}\n", " ".repeat(40))), Code::TooLarge);
    assert_eq!(refused(&format!("b: &b {flow}\n{blocks}{}*b\n", " ".repeat(40))), Code::TooLarge);
    assert_eq!(refused(&"- a\n".repeat(250_000)), Code::TooLarge);
    let keys = (0..9_000).fold("version: 1\n".to_owned(), |text, key| format!("{text}k{key}: 1\n"));
    assert_eq!(refused(&keys), Code::UnknownKey);
    assert_eq!(findings(&keys).len(), super::super::finding::FINDINGS_MAX);
    let names = (0..300)
        .fold(String::new(), |text, name| format!("{text}  s{name}: {{listen: 1, run: {{command: [a]}}}}\n"));
    refused(&format!("version: 1\nservices:\n{names}"));
    refused(&"a".repeat(1_000_000));
    refused(&format!("{}: 1", "a".repeat(1_000_000)));
    refused(&service(&format!("watch: \"{}\"", "9".repeat(1_000_000))));
    refused(&service(&format!("criticality: {}", "é".repeat(400_000))));
}

#[test]
fn what_yaml_allows_and_a_configuration_does_not_need_is_refused() {
    for (text, code, line) in [
        ("%YAML 1.2\n---\nversion: 1\n", Code::Yaml, 1),
        ("version: 1\n---\nversion: 1\n", Code::Yaml, 2),
        ("version: !!int 1\n", Code::Yaml, 1),
        ("version: !python/object:os.system 1\n", Code::Yaml, 1),
        ("version: 1\nservices:\n\tshop: {}\n", Code::Tab, 3),
        ("version: 1\n? [a]\n: b\n", Code::Yaml, 2),
        ("version: 1\nservices: {a: b\n", Code::Yaml, 2),
        ("version: 1\nservices: \"a\n", Code::Yaml, 2),
        ("version: 1\n  services: a\n", Code::Yaml, 2),
        ("version: 1\nservices: @a\n", Code::Yaml, 2),
        ("version: 1\nservices: a: b\n", Code::Yaml, 2),
        ("version: 1\u{0}\n", Code::Yaml, 1),
    ] {
        let found = findings(text);
        let there = found.iter().any(|finding| (finding.code, finding.place.line) == (code, line));
        assert!(there, "{text}\n{found:#?}");
    }
}

/// Each byte of a good file is cut, flipped and doubled: the answer is a configuration or findings, never a panic, and
/// every finding lies inside the file.
#[test]
fn no_damage_to_a_file_makes_the_reader_panic() {
    let mut texts: Vec<String> = vec![super::marked(&service(
        "strategy: {canary: {steps: [{share: 5%, bake: 1m30s}, 50%]}}\nlease: off\ngates:\n  cpu: off\n  memory: &m {limit: 90%}\n",
    ))
    .0];
    texts.push("version: 1\nservices:\n  é: [\"\\u00e9\", 'a''b', |\n  x\n  , >-\n  y\n]\n".to_owned());
    let noise: &[u8] = b"\0\t\n :-[]{}#&*!|>'\"%@`,?<=\\\xc3\x28\xff09az";
    for text in &texts {
        for at in 0..=text.len() {
            survives(&text.as_bytes()[..at]);
            for &byte in noise.iter().step_by(3) {
                let mut changed = text.clone().into_bytes();
                if let Some(old) = changed.get_mut(at) {
                    *old = byte;
                }
                survives(&changed);
                changed.insert(at, byte);
                survives(&changed);
            }
        }
    }
    // Several changes at once, from a fixed seed.
    let mut dice = fastrand::Rng::with_seed(7);
    for _ in 0..3_000 {
        let mut bytes = texts[0].clone().into_bytes();
        for _ in 0..dice.usize(1..8) {
            let at = dice.usize(..bytes.len());
            match dice.u8(..3) {
                0 => bytes[at] = noise[dice.usize(..noise.len())],
                1 => bytes.insert(at, noise[dice.usize(..noise.len())]),
                _ => drop(bytes.drain(at..(at + dice.usize(1..9)).min(bytes.len()))),
            }
        }
        survives(&bytes);
    }
}

fn survives(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Err(rejected) = parse(text) else { return };
    assert!(!rejected.findings.is_empty(), "refused without a reason:\n{text}");
    let lines = text.lines().count().max(1);
    for finding in &rejected.findings {
        assert!(finding.place.line <= lines + 1, "{finding:?}\n{text}");
    }
    assert!(!rejected.to_string().is_empty());
}
