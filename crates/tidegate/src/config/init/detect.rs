//! What a project is: the files in its root are asked one by one, the most explicit first.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use super::{Detected, FILE_NAME, Guess, Project, languages};

/// No manifest that says how to run something is larger than this; the rest of a larger one is not read.
const BYTES_MAX: u64 = 256 * 1024;
/// Files that are searched for a health path.
const SOURCES_MAX: usize = 100;
/// Paths that services commonly answer on when they are well, the most telling first.
const HEALTH_PATHS: [&str; 8] =
    ["/healthz", "/readyz", "/health", "/ready", "/actuator/health", "/up", "/status", "/ping"];

/// What the project in `directory` seems to be. Never fails: what cannot be read is not there.
pub(crate) fn detect(directory: &Path) -> Detected {
    let project = Files::new(directory);
    let found = procfile(&project)
        .or_else(|| languages::rust(&project))
        .or_else(|| languages::node(&project))
        .or_else(|| languages::python(&project))
        .or_else(|| languages::go(&project))
        .or_else(|| languages::java(&project))
        .or_else(|| container(&project))
        .or_else(|| site(&project))
        .unwrap_or_else(|| unknown(&project));
    let health = found.health.clone().or_else(|| health_path(&project));
    Detected { health, ..found }
}

/// The files of a project, read within bounds.
pub(super) struct Files<'a> {
    root: &'a Path,
    /// The service's name when nothing better is known.
    pub(super) name: String,
}

impl<'a> Files<'a> {
    fn new(root: &'a Path) -> Self {
        let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let name = absolute.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self { root, name: service_name(&name).unwrap_or_else(|| "service".to_owned()) }
    }

    /// The text of a file, up to the bound; `None` when there is none.
    pub(super) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let path = self.root.join(path);
        if !fs::metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// Names in a folder, sorted, up to a bound; paths start from the project's root.
    pub(super) fn list(&self, folder: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.root.join(folder)) else { return Vec::new() };
        let mut names: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .take(10 * SOURCES_MAX)
            .map(|entry| {
                if folder.is_empty() {
                    entry.file_name().into()
                } else {
                    Path::new(folder).join(entry.file_name())
                }
            })
            .collect();
        names.sort();
        names
    }
}

/// `name` as the name of a service: small letters, digits and `-`, a letter first.
pub(super) fn service_name(name: &str) -> Option<String> {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let start = plain.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let cut: String = start.chars().take(41).collect();
    let name = cut.trim_end_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

/// A line of shell as program and arguments; with a shell around it when it needs one.
pub(super) fn words(line: &str) -> Vec<String> {
    let line: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
    let line = line.trim().replace("${PORT}", "$PORT");
    let shell = line
        .replace("$PORT", "")
        .contains(['|', '&', ';', '<', '>', '$', '`', '"', '\'', '\\', '*', '(', '='])
        || line.is_empty();
    if shell {
        return ["sh", "-c", &format!("exec {line}")].map(str::to_owned).to_vec();
    }
    line.split_whitespace().map(str::to_owned).collect()
}

/// A command from the whole project.
pub(super) fn command(argv: &[&str], files: &[&str], exclude: &[&str]) -> Guess {
    let owned = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Guess::Command { argv: owned(argv), files: owned(files), exclude: owned(exclude) }
}

fn procfile(project: &Files<'_>) -> Option<Detected> {
    let text = project.text("Procfile")?;
    let web = text.lines().find_map(|line| line.strip_prefix("web:"))?.trim();
    if web.is_empty() {
        return None;
    }
    let argv = words(web);
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    Some(Detected {
        project: Project::Procfile,
        name: project.name.clone(),
        reason: "the Procfile has a web process".to_owned(),
        build: None,
        run: command(&argv, &["."], &[]),
        health: None,
    })
}

fn container(project: &Files<'_>) -> Option<Detected> {
    let text = ["Dockerfile", "Containerfile"].into_iter().find_map(|name| project.text(name))?;
    let expose = text.lines().filter_map(|line| {
        let (word, rest) = line.trim().split_once(char::is_whitespace)?;
        word.eq_ignore_ascii_case("EXPOSE").then_some(rest)
    });
    let first =
        expose.flat_map(str::split_whitespace).find_map(|port| port.split('/').next()?.parse::<u16>().ok());
    let port = first.filter(|port| *port > 0);
    let image = format!("{}:1", project.name);
    Some(Detected {
        project: Project::Container,
        name: project.name.clone(),
        reason: match port {
            Some(port) => format!("the Dockerfile exposes port {port}"),
            None => "there is a Dockerfile; it exposes no port, so check `port`".to_owned(),
        },
        build: Some(format!("docker build -t {image} .")),
        run: Guess::Container { image, port: port.unwrap_or(8_080) },
        health: None,
    })
}

fn site(project: &Files<'_>) -> Option<Detected> {
    let folder = ["", "public", "dist", "site"].into_iter().find(|folder| {
        project.has(&if folder.is_empty() { "index.html".to_owned() } else { format!("{folder}/index.html") })
    })?;
    let directory = if folder.is_empty() { "." } else { folder };
    let argv = ["python3", "-m", "http.server", "$PORT", "--bind", "127.0.0.1", "--directory", directory];
    Some(Detected {
        project: Project::Static,
        name: project.name.clone(),
        reason: "there is an index.html".to_owned(),
        build: None,
        // This very file is nothing to be served.
        run: command(&argv, &[directory], if folder.is_empty() { &[FILE_NAME] } else { &[] }),
        health: Some("/".to_owned()),
    })
}

fn unknown(project: &Files<'_>) -> Detected {
    Detected {
        project: Project::Unknown,
        name: project.name.clone(),
        reason: "nothing here says what to run: put your own command in".to_owned(),
        build: None,
        run: command(&["./server", "--port", "$PORT"], &["."], &[]),
        health: None,
    }
}

/// A health path that stands, in quotes, in one of the project's sources.
fn health_path(project: &Files<'_>) -> Option<String> {
    let source = |path: &PathBuf| {
        path.extension().is_some_and(|end| {
            ["rs", "js", "mjs", "cjs", "ts", "py", "go", "java", "rb", "php"]
                .iter()
                .any(|known| end == *known)
        })
    };
    let folders = ["", "src", "app", "cmd", "server", "lib", "routes", "src/routes"];
    let paths = folders.into_iter().flat_map(|folder| project.list(folder)).filter(source).take(SOURCES_MAX);
    let texts: Vec<String> = paths.filter_map(|path| project.text(path)).collect();
    let quoted = |path: &str| {
        let forms = ['"', '\'', '`'].map(|quote| format!("{quote}{path}{quote}"));
        texts.iter().any(|text| forms.iter().any(|form| text.contains(form.as_str())))
    };
    HEALTH_PATHS.into_iter().find(|path| quoted(path)).map(str::to_owned)
}
