//! Against repositories that the real `git` made.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use tidegate_core::confidence::{Absence, DelicateKind, FactorValue, Points};

use super::*;

const DAY: i64 = 86_400;
/// 2024-01-01.
const START: i64 = 1_704_067_200;

struct Scratch {
    dir: TempDir,
    author: &'static str,
    at: i64,
}

impl Scratch {
    fn new() -> Self {
        let scratch = Self { dir: tempfile::tempdir().unwrap(), author: "ann", at: START };
        scratch.git(&["init", "-q", "-b", "main"]);
        scratch
    }

    fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    fn git(&self, arguments: &[&str]) -> String {
        git(self.dir.path(), self.author, self.at, arguments)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn remove(&self, path: &str) -> &Self {
        fs::remove_file(self.dir.path().join(path)).unwrap();
        self
    }

    fn commit(&self) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn changed(&self, from: &str, to: &str) -> Change {
        changed(self.dir.path(), from, to).unwrap()
    }
}

fn git(dir: &Path, author: &str, at: i64, arguments: &[&str]) -> String {
    let date = format!("@{at} +0000");
    let email = format!("{author}@example.com");
    let output = Command::new("git")
        .args(["-c", "protocol.file.allow=always", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .envs([("HOME", "/nonexistent"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
        .envs([("GIT_AUTHOR_NAME", author), ("GIT_COMMITTER_NAME", author)])
        .envs([("GIT_AUTHOR_EMAIL", &email), ("GIT_COMMITTER_EMAIL", &email)])
        .envs([("GIT_AUTHOR_DATE", &date), ("GIT_COMMITTER_DATE", &date)])
        .output()
        .expect("git must be installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn numbered(range: std::ops::Range<u32>) -> String {
    range.map(|number| format!("line {number}")).collect::<Vec<_>>().join("\n") + "\n"
}

fn said(error: &GitError) -> String {
    crate::chain(error)
}

#[test]
fn lines_files_directories_and_added_lines_are_counted_as_git_counts_them() {
    let scratch = Scratch::new();
    scratch.write("src/a.rs", numbered(0..20)).write("src/deep/b.rs", "x\ny\n").write("old.txt", "gone\n");
    let from = scratch.commit();
    let edited = numbered(0..20).replace("line 3\n", "new 3\nnew 4\n").replace("line 10\n", "") + "end";
    scratch.write("src/a.rs", edited).write("src/deep/b.rs", "x\nz\n").write("new.md", "a\n\nb\n");
    scratch.remove("old.txt");
    let to = scratch.commit();
    let change = scratch.changed(&from, &to);
    let ours: Vec<String> =
        change.files.iter().map(|file| format!("{}\t{}\t{}", file.added, file.deleted, file.path)).collect();
    assert_eq!(ours.join("\n"), scratch.git(&["diff", "--histogram", "--numstat", &from, &to]));
    let source = change.files.iter().find(|file| file.path == "src/a.rs").unwrap();
    assert_eq!(source.added_lines, [4..=5, 21..=21]);
    let size = &change.size;
    assert_eq!((size.lines_added, size.lines_deleted, size.files, size.directories), (7, 4, 4, 3));
    // Shares 5, 2, 1 and 3 of 11 over four files: 1.7899 bits of 2.
    assert_eq!(size.entropy, Points::new(8_950));
    assert_eq!((change.from, change.to, change.at), (from, to, Timestamp(START * 1_000)));
}

#[test]
fn many_random_edits_are_counted_as_git_counts_them() {
    let scratch = Scratch::new();
    let mut dice = 7_u64;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    for round in 0..12_u64 {
        for file in 0..4 {
            let mut lines = Vec::new();
            for line in 0..60 {
                match roll(7) {
                    0 => {}
                    1 => lines.push(format!("{round} {line}")),
                    _ => lines.push(format!("same {line}")),
                }
            }
            scratch.write(&format!("d{}/f{file}.rs", file % 2), lines.join("\n"));
        }
        let to = scratch.commit();
        if round > 0 {
            let from = scratch.git(&["rev-parse", "HEAD~1"]);
            let change = scratch.changed(&from, &to);
            let ours: Vec<String> = change
                .files
                .iter()
                .map(|file| format!("{}\t{}\t{}", file.added, file.deleted, file.path))
                .collect();
            assert_eq!(ours.join("\n"), scratch.git(&["diff", "--histogram", "--numstat", &from, &to]));
        }
    }
}

#[test]
fn a_moved_file_is_a_move_and_not_a_rewrite() {
    let scratch = Scratch::new();
    scratch.write("a/same.rs", numbered(0..50)).write("a/edited.rs", numbered(100..150));
    scratch.write("a/logo.png", b"\0PNG");
    let from = scratch.commit();
    scratch.remove("a/same.rs").remove("a/edited.rs").remove("a/logo.png").write("b/logo.png", b"\0PNG");
    scratch.write("b/same.rs", numbered(0..50));
    scratch
        .write("b/other.rs", numbered(100..150).replace("line 120\n", "else\n"))
        .write("b/new.rs", "fresh\n");
    let to = scratch.commit();
    let change = scratch.changed(&from, &to);
    let ours: Vec<_> = change
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.renamed_from.as_deref(), file.added, file.deleted))
        .collect();
    let expected = [
        ("b/logo.png", Some("a/logo.png"), 0, 0),
        ("b/new.rs", None, 1, 0),
        ("b/other.rs", Some("a/edited.rs"), 1, 1),
        ("b/same.rs", Some("a/same.rs"), 0, 0),
    ];
    assert_eq!(ours, expected);
}

#[test]
fn what_nobody_wrote_is_listed_and_not_counted() {
    let scratch = Scratch::new();
    let from = scratch.commit();
    scratch.write("Cargo.lock", numbered(0..900)).write("vendor/x.go", numbered(0..900));
    scratch.write("api.go", format!("// Code generated by x. DO NOT EDIT.\n{}", numbered(0..900)));
    scratch.write("src/main.rs", "fn main() {}\n");
    let to = scratch.commit();
    let change = scratch.changed(&from, &to);
    assert_eq!((change.size.lines(), change.size.files, change.files.len()), (1, 1, 4));
    let why: Vec<_> = change.files.iter().map(|file| file.left_out).collect();
    assert_eq!(why, [Some(LeftOut::LockFile), Some(LeftOut::Generated), None, Some(LeftOut::Vendored)]);
}

#[test]
fn churn_and_experience_come_from_the_history_before_the_change() {
    let mut scratch = Scratch::new();
    scratch.write("hot.rs", "0\n").write("cold.rs", "0\n");
    scratch.commit();
    // Too old to be churn, young enough to be experience: bob's only one.
    scratch.at = START + 200 * DAY;
    scratch.author = "bob";
    scratch.write("hot.rs", "1\n").commit();
    scratch.author = "ann";
    for day in 0..3_i64 {
        scratch.at = START + (330 + day) * DAY;
        scratch.write("hot.rs", format!("{day} again\n")).commit();
        scratch.write("cold.rs", format!("{day}\n")).commit();
    }
    let from = scratch.git(&["rev-parse", "HEAD"]);
    scratch.author = "bob";
    scratch.at = START + 350 * DAY;
    scratch.write("hot.rs", "bob was here\n").commit();
    let to = scratch.write("hot.rs", "bob is here\n").commit();
    let size = scratch.changed(&from, &to).size;
    assert_eq!(size.churn, Some(3), "the change itself is not its own past");
    // Five commits touched the file in the year before, one of them bob's.
    assert_eq!(size.inexperience, Some(Points::new(8_000)));
    // Going back: the change has no commits of its own.
    let back = scratch.changed(&to, &from);
    assert_eq!((back.size.churn, back.size.inexperience, back.unknown.len()), (Some(5), None, 1));
}

#[test]
fn a_shallow_clone_gives_what_it_has_and_says_what_it_has_not() {
    let scratch = Scratch::new();
    let from = scratch.write("a.rs", "1\n").commit();
    let middle = scratch.write("a.rs", "2\n").commit();
    let to = scratch.write("a.rs", "3\n").commit();
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", scratch.path().display());
    git(dir.path(), "ann", START, &["clone", "-q", "--depth", "2", &url, "clone"]);
    let clone = dir.path().join("clone");
    let error = changed(&clone, &from, &to).unwrap_err();
    assert!(
        said(&error).ends_with("which is a shallow clone: fetch the rest (`git fetch --unshallow`)"),
        "{error}"
    );
    assert_eq!(error.factor().value, FactorValue::Absent(Absence::Unreadable));
    let change = changed(&clone, &middle, &to).unwrap();
    assert_eq!((change.size.lines(), change.size.churn, change.size.inexperience), (2, None, None));
    assert_eq!(change.unknown, ["the clone is shallow: churn and experience are not known"]);
}

#[test]
fn names_that_are_no_commit_are_refused_by_name_and_side() {
    let scratch = Scratch::new();
    let id = scratch.write("a", "1\n").commit();
    scratch.git(&["tag", "-a", "v1", "-m", "one"]);
    let blob = scratch.git(&["rev-parse", "HEAD:a"]);
    for (name, message) in [
        (
            "0123456789012345678901234567890123456789",
            "the new commit 0123456789012345678901234567890123456789 is not in the repository: fetch it first",
        ),
        ("fffffff", "the new commit fffffff is not in the repository: fetch it first"),
        (
            "no such branch",
            "`no such branch` (new) names no commit: give its hexadecimal id, a branch or a tag",
        ),
        ("--help", "`--help` (new) names no commit: give its hexadecimal id, a branch or a tag"),
        ("", "`` (new) names no commit: give its hexadecimal id, a branch or a tag"),
        (
            "../../etc/passwd",
            "`../../etc/passwd` (new) names no commit: give its hexadecimal id, a branch or a tag",
        ),
        (blob.as_str(), &format!("`{blob}` (new) is not a commit but a blob")),
    ] {
        assert_eq!(said(&changed(&scratch.path(), &id, name).unwrap_err()), message);
    }
    for name in ["main", "HEAD", "v1", id.get(..9).unwrap(), "refs/heads/main"] {
        assert_eq!(scratch.changed(name, &id).to, id, "{name}");
    }
}

#[test]
fn the_same_commit_twice_is_an_empty_change() {
    let scratch = Scratch::new();
    let id = scratch.write("a", "1\n").commit();
    let change = scratch.changed(&id, &id);
    assert_eq!((change.size.lines(), change.size.files, change.files.len()), (0, 0, 0));
}

#[test]
fn bare_repositories_subdirectories_and_worktrees_are_repositories() {
    let scratch = Scratch::new();
    let from = scratch.write("sub/a.rs", "1\n").commit();
    let to = scratch.write("sub/a.rs", "2\n").commit();
    let dir = tempfile::tempdir().unwrap();
    let url = scratch.path().display().to_string();
    git(dir.path(), "ann", START, &["clone", "-q", "--bare", &url, "bare.git"]);
    scratch.git(&["worktree", "add", "-q", dir.path().join("tree").to_str().unwrap()]);
    for place in [scratch.path().join("sub"), dir.path().join("bare.git"), dir.path().join("tree/sub")] {
        assert_eq!(changed(&place, &from, &to).unwrap().size.lines(), 2, "{}", place.display());
    }
}

#[test]
fn what_is_no_repository_or_a_broken_one_is_an_error_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    for place in [dir.path().to_owned(), dir.path().join("absent")] {
        let error = changed(&place, "HEAD", "HEAD").unwrap_err();
        assert!(matches!(error, GitError::NotARepository { .. }), "{error}");
    }
    let unborn = Scratch::new();
    assert!(changed(&unborn.path(), "HEAD", "HEAD").is_err());
    let scratch = Scratch::new();
    let from = scratch.write("a.rs", "1\n").commit();
    let to = scratch.write("a.rs", "2\n").commit();
    let blob = scratch.git(&["rev-parse", "HEAD:a.rs"]);
    let (head, rest) = blob.split_at(2);
    let object = scratch.path().join(".git/objects").join(head).join(rest);
    fs::remove_file(&object).unwrap();
    let error = said(&changed(&scratch.path(), &from, &to).unwrap_err());
    assert!(
        error.starts_with(&format!(
            "cannot read the file content {blob} from the repository; fetch it in full"
        )),
        "{error}"
    );
    fs::write(&object, b"no zlib").unwrap();
    assert!(changed(&scratch.path(), &from, &to).is_err());
    fs::write(scratch.path().join(".git/HEAD"), b"\xff\x00").unwrap();
    assert!(changed(&scratch.path(), &from, "main").is_err());
}

#[test]
fn damaged_history_leaves_churn_and_experience_unknown_and_the_change_known() {
    let scratch = Scratch::new();
    let old = scratch.write("a.rs", "0\n").commit();
    let from = scratch.write("a.rs", "1\n").commit();
    let to = scratch.write("a.rs", "2\n").commit();
    let (head, rest) = old.split_at(2);
    fs::remove_file(scratch.path().join(".git/objects").join(head).join(rest)).unwrap();
    let change = scratch.changed(&from, &to);
    assert_eq!((change.size.lines(), change.size.churn, change.size.inexperience), (2, None, None));
    assert!(change.unknown[0].ends_with("churn and experience are not known"), "{:?}", change.unknown);
}

#[test]
fn binary_files_submodules_links_and_strange_names_count_as_files() {
    let scratch = Scratch::new();
    let from = scratch.write("keep", "1\n").commit();
    scratch
        .write("image.bin", b"\x89PNG\x00\x01\x02")
        .write("latin-1.txt", b"caf\xe9\n")
        .write("a b\"\u{e9}.txt", "x\n");
    std::os::unix::fs::symlink("keep", scratch.path().join("link")).unwrap();
    scratch.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{from},module")]);
    fs::create_dir(scratch.path().join("module")).unwrap();
    scratch.git(&["add", "image.bin", "latin-1.txt", "link", "a b\"\u{e9}.txt"]);
    scratch.git(&["commit", "-q", "-m", "odd"]);
    let change = scratch.changed(&from, "HEAD");
    let content: Vec<_> =
        change.files.iter().map(|file| (file.path.as_str(), file.content, file.added)).collect();
    let expected = [
        ("a b\"\u{e9}.txt", Content::Text, 1),
        ("image.bin", Content::Binary, 0),
        ("latin-1.txt", Content::Text, 1),
        ("link", Content::Text, 1),
        ("module", Content::Submodule, 0),
    ];
    assert_eq!(content, expected);
    assert_eq!(change.size.files, 5);
}

#[test]
fn delicate_parts_of_a_change_are_named_with_an_example_each() {
    let scratch = Scratch::new();
    let manifest = |version: &str| format!("[dependencies]\nserde = \"{version}\"\n");
    let from = scratch.write("Cargo.toml", manifest("1.0")).commit();
    scratch.write("Cargo.toml", manifest("2.0")).write("db/migrations/2_more.sql", "alter\n");
    scratch
        .write("deploy/Dockerfile", "FROM x\n")
        .write("src/auth/login.rs", "x\n")
        .write("src/auth/zoo.rs", "x\n");
    scratch.write("vendor/auth/jwt.go", "x\n").write("docs/auth.md", "x\n");
    let to = scratch.commit();
    let delicate = scratch.changed(&from, &to).size.delicate;
    let found: Vec<_> = delicate.iter().map(|one| (one.kind, one.example.as_str())).collect();
    let expected = [
        (DelicateKind::SchemaMigration, "db/migrations/2_more.sql"),
        (DelicateKind::Infrastructure, "deploy/Dockerfile"),
        (DelicateKind::Authentication, "src/auth/login.rs"),
        (DelicateKind::DependencyMajor, "Cargo.toml: serde 1 to 2"),
    ];
    assert_eq!(found, expected);
}
