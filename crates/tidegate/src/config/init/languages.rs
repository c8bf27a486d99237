//! What each language's own manifest says about how a project runs.

use serde_json::Value;

use super::{
    Detected, Project,
    detect::{Files, command, service_name, words},
};

/// Folders that a compiled program often reads when it runs.
const ASSETS: [&str; 6] = ["static", "public", "templates", "assets", "migrations", "config"];
const PYTHON_LEFTOVERS: [&str; 4] = ["__pycache__", "*.pyc", ".venv", "venv"];

fn assets(project: &Files<'_>) -> Vec<&'static str> {
    ASSETS.into_iter().filter(|folder| project.has(folder)).collect()
}

/// `Cargo.toml` with a binary, here or in one member of a workspace.
pub(super) fn rust(project: &Files<'_>) -> Option<Detected> {
    let manifest = project.text("Cargo.toml")?;
    let binary = rust_binary(project, &manifest, "").or_else(|| {
        let members = ["crates", ""].into_iter().flat_map(|folder| project.list(folder)).take(100);
        members.into_iter().find_map(|member| {
            let folder = member.to_str()?;
            rust_binary(project, &project.text(format!("{folder}/Cargo.toml"))?, folder)
        })
    })?;
    let path = format!("target/release/{binary}");
    let mut files = vec![path.as_str()];
    files.extend(assets(project));
    Some(Detected {
        project: Project::Rust,
        name: service_name(&binary).unwrap_or_else(|| project.name.clone()),
        reason: format!("Cargo.toml makes the binary `{binary}`"),
        build: Some("cargo build --release".to_owned()),
        run: command(&[&format!("./{path}")], &files, &[]),
        health: None,
    })
}

fn rust_binary(project: &Files<'_>, manifest: &str, folder: &str) -> Option<String> {
    let named = toml_value(manifest, "[[bin]]", "name");
    let main = if folder.is_empty() { "src/main.rs".to_owned() } else { format!("{folder}/src/main.rs") };
    let own = || toml_value(manifest, "[package]", "name").filter(|_| project.has(&main));
    named.or_else(own).filter(|name| is_file_name(name))
}

/// The first `key = "value"` below `section`. Enough for names, which are never written in another way in practice.
fn toml_value(text: &str, section: &str, key: &str) -> Option<String> {
    let mut here = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            here = line == section;
        } else if here {
            let value =
                line.split_once('=').filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim());
            let quoted =
                value.and_then(|value| value.trim_start_matches(['"', '\'']).split(['"', '\'']).next());
            if let Some(value) = quoted.filter(|value| !value.is_empty()) {
                return Some(value.to_owned());
            }
        }
    }
    None
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && !name.starts_with('.')
}

/// `package.json` with a start script.
pub(super) fn node(project: &Files<'_>) -> Option<Detected> {
    let manifest: Value = serde_json::from_str(&project.text("package.json")?).ok()?;
    let start = manifest.pointer("/scripts/start").and_then(Value::as_str)?;
    let builds = manifest.pointer("/scripts/build").is_some();
    let name = manifest
        .get("name")
        .and_then(Value::as_str)
        .and_then(|name| name.rsplit('/').next())
        .and_then(service_name);
    // Straight to `node` when that is all the script does: npm does not hand signals on.
    let parts = words(start);
    let argv: Vec<&str> = match parts.first().map(String::as_str) {
        Some("node") => parts.iter().map(String::as_str).collect(),
        _ => vec!["npm", "start"],
    };
    let install = if project.has("package-lock.json") { "npm ci" } else { "npm install" };
    Some(Detected {
        project: Project::Node,
        name: name.unwrap_or_else(|| project.name.clone()),
        reason: "package.json has a start script".to_owned(),
        build: Some(if builds { format!("{install} && npm run build") } else { install.to_owned() }),
        run: command(&argv, &["."], &["*.log"]),
        health: None,
    })
}

/// Python with a web framework that is known, or with one obvious file to start.
pub(super) fn python(project: &Files<'_>) -> Option<Detected> {
    let manifests = ["pyproject.toml", "requirements.txt", "Pipfile", "setup.py"];
    let wants: Vec<String> = manifests.into_iter().filter_map(|name| project.text(name)).collect();
    let wanted = |package: &str| wants.iter().any(|text| mentions(&text.to_lowercase(), package));
    let (argv, reason) = if project.has("manage.py") && (wanted("django") || wants.is_empty()) {
        django(project, wanted("gunicorn"))
    } else if let Some(module) =
        python_module(project, "FastAPI(").or_else(|| python_module(project, "Starlette("))
    {
        let argv = ["python3", "-m", "uvicorn", &module, "--host", "127.0.0.1", "--port", "$PORT"];
        (argv.map(str::to_owned).to_vec(), format!("`{module}` is a FastAPI or Starlette application"))
    } else if let Some(module) = python_module(project, "Flask(") {
        flask(&module, wanted("gunicorn"))
    } else if wants.is_empty() {
        return None;
    } else {
        let file = ["app.py", "main.py", "server.py"].into_iter().find(|file| project.has(file))?;
        (["python3", file].map(str::to_owned).to_vec(), format!("this is a Python project with {file}"))
    };
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    Some(Detected {
        project: Project::Python,
        name: project.name.clone(),
        reason,
        build: None,
        run: command(&argv, &["."], &PYTHON_LEFTOVERS),
        health: None,
    })
}

fn django(project: &Files<'_>, gunicorn: bool) -> (Vec<String>, String) {
    let package = project.list("").into_iter().find_map(|folder| {
        let folder = folder.to_str()?.to_owned();
        (is_file_name(&folder) && project.has(&format!("{folder}/wsgi.py"))).then_some(folder)
    });
    let reason = "manage.py belongs to Django".to_owned();
    let argv = match package.filter(|_| gunicorn) {
        Some(package) => {
            ["python3", "-m", "gunicorn", "--bind", "127.0.0.1:$PORT", &format!("{package}.wsgi")]
                .map(str::to_owned)
                .to_vec()
        }
        None => {
            ["python3", "manage.py", "runserver", "--noreload", "127.0.0.1:$PORT"].map(str::to_owned).to_vec()
        }
    };
    (argv, reason)
}

fn flask(module: &str, gunicorn: bool) -> (Vec<String>, String) {
    let argv: Vec<&str> = if gunicorn {
        vec!["python3", "-m", "gunicorn", "--bind", "127.0.0.1:$PORT", module]
    } else {
        vec!["python3", "-m", "flask", "--app", module, "run", "--port", "$PORT"]
    };
    (argv.into_iter().map(str::to_owned).collect(), format!("`{module}` is a Flask application"))
}

/// Whether a list of dependencies names `package` as a word of its own.
fn mentions(text: &str, package: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).any(|word| word == package)
}

/// `module:name` of the application that `call` makes: `main:app`.
fn python_module(project: &Files<'_>, call: &str) -> Option<String> {
    let files = [
        "main.py",
        "app.py",
        "server.py",
        "wsgi.py",
        "asgi.py",
        "app/main.py",
        "app/__init__.py",
        "src/main.py",
    ];
    files.into_iter().find_map(|file| {
        let text = project.text(file)?;
        let line = text.lines().find(|line| line.contains(call) && !line.starts_with([' ', '\t', '#']))?;
        let name = line.split_once('=')?.0.split(':').next()?.trim();
        let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let module = file.trim_end_matches(".py").trim_end_matches("/__init__").replace('/', ".");
        good.then(|| format!("{module}:{name}"))
    })
}

/// `go.mod`.
pub(super) fn go(project: &Files<'_>) -> Option<Detected> {
    let manifest = project.text("go.mod")?;
    let module = manifest.lines().find_map(|line| line.trim().strip_prefix("module "))?.trim();
    let last = module.rsplit('/').find(|part| !is_major_version(part))?;
    let commands = project.list("cmd");
    let only = match commands.as_slice() {
        [only] if !project.has("main.go") => only.file_name().and_then(|name| name.to_str()),
        _ => None,
    };
    let binary = only.unwrap_or(last);
    if !is_file_name(binary) {
        return None;
    }
    let package = only.map_or_else(|| ".".to_owned(), |name| format!("./cmd/{name}"));
    let path = format!("bin/{binary}");
    let mut files = vec![path.as_str()];
    files.extend(assets(project));
    Some(Detected {
        project: Project::Go,
        name: service_name(binary).unwrap_or_else(|| project.name.clone()),
        reason: format!("go.mod names the module `{module}`"),
        build: Some(format!("go build -o {path} {package}")),
        run: command(&[&format!("./{path}")], &files, &[]),
        health: None,
    })
}

/// `v2` at the end of a module's path.
fn is_major_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// `pom.xml`.
pub(super) fn java(project: &Files<'_>) -> Option<Detected> {
    let manifest = project.text("pom.xml")?;
    // The parent has the same elements, and comes first.
    let own = match (manifest.find("<parent>"), manifest.find("</parent>")) {
        (Some(start), Some(end)) if start < end => {
            format!("{}{}", manifest.get(..start)?, manifest.get(end..)?)
        }
        _ => manifest.clone(),
    };
    let before = own.split("<dependencies>").next().unwrap_or_default();
    let artifact = element(before, "artifactId").filter(|name| is_file_name(name))?;
    let version =
        element(before, "version").or_else(|| element(&manifest, "version")).filter(|v| is_file_name(v));
    let jar = format!("target/{artifact}-{}.jar", version.unwrap_or("1.0-SNAPSHOT"));
    let spring = manifest.contains("spring-boot");
    let mut argv = vec!["java", "-jar", jar.as_str()];
    if spring {
        argv.push("--server.port=$PORT");
    }
    Some(Detected {
        project: Project::Java,
        name: service_name(artifact).unwrap_or_else(|| project.name.clone()),
        reason: format!("pom.xml makes `{artifact}`"),
        build: Some(if project.has("mvnw") { "./mvnw package" } else { "mvn package" }.to_owned()),
        run: command(&argv, &[&jar], &[]),
        health: manifest.contains("spring-boot-starter-actuator").then(|| "/actuator/health".to_owned()),
    })
}

/// The text of the first element of this name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let start = text.split_once(&format!("<{name}>"))?.1;
    Some(start.split_once("</")?.0.trim())
}
