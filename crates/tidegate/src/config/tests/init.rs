//! `tidegate init` on small projects of every kind.

use std::{fs, path::Path};

use super::super::{
    Probe, RunKind,
    init::{Guess, InitError, Project, commented_yaml, detect, init},
    load,
};

type Row = (
    &'static [(&'static str, &'static str)],
    Project,
    &'static str,
    &'static [&'static str],
    Option<&'static str>,
);

/// Files of a project, and what it must be taken for: kind, name, command, health path.
const ROWS: &[Row] = &[
    (
        &[("Procfile", "release: ./migrate\nweb: bundle exec puma -p $PORT\n")],
        Project::Procfile,
        "my-shop",
        &["bundle", "exec", "puma", "-p", "$PORT"],
        None,
    ),
    (
        &[("Procfile", "web: A=1 ./run --port ${PORT} | tee log\n")],
        Project::Procfile,
        "my-shop",
        &["sh", "-c", "exec A=1 ./run --port $PORT | tee log"],
        None,
    ),
    (
        &[
            ("Cargo.toml", "[package]\nname = \"till\"\n"),
            ("src/main.rs", "route(\"/health\")"),
            ("static/a.css", ""),
        ],
        Project::Rust,
        "till",
        &["./target/release/till"],
        Some("/health"),
    ),
    (
        &[("Cargo.toml", "[package]\nname = \"lib\"\n[[bin]]\nname = \"Till_2\" # ours\npath = \"x.rs\"\n")],
        Project::Rust,
        "till-2",
        &["./target/release/Till_2"],
        None,
    ),
    (
        &[
            ("Cargo.toml", "[workspace]\nmembers = [\"crates/*\"]\n"),
            ("crates/a/Cargo.toml", "[package]\nname = \"a\"\n"),
            ("crates/b/Cargo.toml", "[package]\nname = \"b\"\n"),
            ("crates/b/src/main.rs", ""),
        ],
        Project::Rust,
        "b",
        &["./target/release/b"],
        None,
    ),
    (
        &[
            ("package.json", r#"{"name": "@acme/Web Shop", "scripts": {"start": "node server.js --x"}}"#),
            ("server.js", "app.get('/healthz', ok)"),
        ],
        Project::Node,
        "web-shop",
        &["node", "server.js", "--x"],
        Some("/healthz"),
    ),
    (
        &[(
            "package.json",
            r#"{"scripts": {"start": "NODE_ENV=production next start", "build": "next build"}}"#,
        )],
        Project::Node,
        "my-shop",
        &["npm", "start"],
        None,
    ),
    (
        &[
            ("requirements.txt", "fastapi==0.1\nuvicorn\n"),
            ("app/main.py", "from fastapi import FastAPI\napi: FastAPI = FastAPI()\n@api.get(\"/ready\")\n"),
        ],
        Project::Python,
        "my-shop",
        &["python3", "-m", "uvicorn", "app.main:api", "--host", "127.0.0.1", "--port", "$PORT"],
        Some("/ready"),
    ),
    (
        &[
            ("pyproject.toml", "dependencies = [\"flask>=3\", \"gunicorn\"]"),
            ("app.py", "app = Flask(__name__)"),
        ],
        Project::Python,
        "my-shop",
        &["python3", "-m", "gunicorn", "--bind", "127.0.0.1:$PORT", "app:app"],
        None,
    ),
    (
        &[("app.py", "app = Flask(__name__)")],
        Project::Python,
        "my-shop",
        &["python3", "-m", "flask", "--app", "app:app", "run", "--port", "$PORT"],
        None,
    ),
    (
        &[("manage.py", ""), ("requirements.txt", "Django\ngunicorn"), ("shop/wsgi.py", "")],
        Project::Python,
        "my-shop",
        &["python3", "-m", "gunicorn", "--bind", "127.0.0.1:$PORT", "shop.wsgi"],
        None,
    ),
    (
        &[("requirements.txt", "requests"), ("main.py", "print()")],
        Project::Python,
        "my-shop",
        &["python3", "main.py"],
        None,
    ),
    (
        &[
            ("go.mod", "module example.org/acme/till/v2\n\ngo 1.26\n"),
            ("main.go", "http.HandleFunc(\"/up\", up)"),
        ],
        Project::Go,
        "till",
        &["./bin/till"],
        Some("/up"),
    ),
    (
        &[("go.mod", "module example.org/acme/mono\n"), ("cmd/till/main.go", "")],
        Project::Go,
        "till",
        &["./bin/till"],
        None,
    ),
    (
        &[(
            "pom.xml",
            "<project><parent><artifactId>spring-boot-starter-parent</artifactId><version>4</version></parent><artifactId>till</artifactId><version>1.2</version><dependencies><dependency><artifactId>spring-boot-starter-actuator</artifactId></dependency></dependencies></project>",
        )],
        Project::Java,
        "till",
        &["java", "-jar", "target/till-1.2.jar", "--server.port=$PORT"],
        Some("/actuator/health"),
    ),
    (
        &[("public/index.html", "<h1>")],
        Project::Static,
        "my-shop",
        &["python3", "-m", "http.server", "$PORT", "--bind", "127.0.0.1", "--directory", "public"],
        Some("/"),
    ),
    (&[], Project::Unknown, "my-shop", &["./server", "--port", "$PORT"], None),
    // Files that say nothing, or nonsense.
    (
        &[
            ("package.json", "{"),
            ("Cargo.toml", "\u{0}[["),
            ("go.mod", "module"),
            ("pom.xml", "<artifactId>"),
            ("Procfile", "web:"),
        ],
        Project::Unknown,
        "my-shop",
        &["./server", "--port", "$PORT"],
        None,
    ),
];

fn project(directory: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn each_kind_of_project_is_recognised_and_its_file_loads() {
    for (files, kind, name, command, health) in ROWS {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("My Shop");
        fs::create_dir(&directory).unwrap();
        project(&directory, files);
        let (path, detected) = init(&directory).unwrap();
        assert_eq!((detected.project, detected.name.as_str()), (*kind, *name), "{files:?}");
        assert_eq!(detected.health.as_deref(), *health, "{files:?}");
        let config = load(&path).unwrap_or_else(|rejected| panic!("{files:?}\n{rejected}"));
        let RunKind::Command(run) = &config.services[*name].run.kind else { panic!("{files:?}") };
        assert_eq!(run.argv, *command, "{files:?}");
        let probe = health.map_or(Probe::Tcp, |path| Probe::Http(path.to_owned()));
        assert_eq!(config.services[*name].run.ready.probe, probe, "{files:?}");
    }
}

#[test]
fn a_dockerfile_alone_makes_a_container() {
    let root = tempfile::tempdir().unwrap();
    project(root.path(), &[("Dockerfile", "FROM scratch\nexpose 3000/tcp 4000\n")]);
    let detected = detect(root.path());
    assert!(matches!(&detected.run, Guess::Container { port: 3_000, .. }), "{detected:?}");
    assert_eq!(detected.kind_name(), "a container");
    let (path, _) = init(root.path()).unwrap();
    load(&path).unwrap();
}

#[test]
fn settings_that_are_commented_out_hold_when_they_are_switched_on() {
    let root = tempfile::tempdir().unwrap();
    for files in [&[("Dockerfile", "EXPOSE 80")][..], &[][..]] {
        project(root.path(), files);
        let text = commented_yaml(&detect(root.path()));
        let on = |line: &str| {
            let indent = line.len() - line.trim_start().len();
            match line.trim_start().strip_prefix('#') {
                Some(rest) if indent > 0 && !rest.is_empty() => {
                    // Prose has one space after the `#`; lines of a block below a key have more.
                    let prose = rest.starts_with(' ') && !rest.starts_with("  ");
                    if prose { line.to_owned() } else { format!("{}{rest}", &line[..indent]) }
                }
                _ => line.to_owned(),
            }
        };
        let text: String = text.lines().map(|line| on(line) + "\n").collect();
        let config = super::parse(&text).unwrap_or_else(|rejected| panic!("{text}\n{rejected}"));
        assert!(
            config
                .services
                .values()
                .all(|service| service.shadow.is_some() && service.routing.sticky.is_some())
        );
    }
}

#[test]
fn a_file_that_is_there_is_not_overwritten() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("tidegate.yaml");
    fs::write(&path, "mine").unwrap();
    assert!(matches!(init(root.path()), Err(InitError::Exists(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    assert!(matches!(init(&root.path().join("nowhere")), Err(InitError::Write { .. })));
}
