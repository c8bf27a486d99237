//! What makes a change delicate, told from the paths of its files and from its dependency manifests. Documentation and
//! tests are never delicate. The lists are deliberately short: a rule that is always true says nothing.

use tidegate_core::confidence::{Delicate, DelicateKind};

use super::{ChangedFile, dependencies, lines::Compared};

/// One example of each kind, in order of kinds; the first by path.
pub(super) fn found(compared: &[Compared]) -> Vec<Delicate> {
    let by_path = |kind: DelicateKind, rule: fn(&Path<'_>) -> bool| {
        let files = compared.iter().map(|compared| &compared.file);
        let example = files.filter(|file| worth_a_look(file)).find(|file| rule(&Path::of(&file.path)))?;
        Some(Delicate { kind, example: example.path.clone() })
    };
    let major = compared.iter().filter(|compared| compared.file.left_out.is_none()).find_map(|compared| {
        let (before, after) = compared.manifest.as_ref()?;
        let bump = dependencies::major_bump(&compared.file.path, before, after)?;
        let example = format!("{}: {bump}", compared.file.path);
        Some(Delicate { kind: DelicateKind::DependencyMajor, example })
    });
    let found = [
        by_path(DelicateKind::SchemaMigration, is_migration),
        by_path(DelicateKind::Infrastructure, is_infrastructure),
        by_path(DelicateKind::Authentication, is_authentication),
        major,
    ];
    found.into_iter().flatten().collect()
}

fn worth_a_look(file: &ChangedFile) -> bool {
    file.counts() && !Path::of(&file.path).is_prose_or_test()
}

/// A path in lower case, taken apart.
struct Path<'a> {
    original: &'a str,
    directories: Vec<String>,
    name: String,
    ending: String,
}

impl<'a> Path<'a> {
    fn of(path: &'a str) -> Self {
        let lower = path.to_ascii_lowercase();
        let (directories, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_owned();
        let directories = directories.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Self { original: path, directories, name: name.to_owned(), ending }
    }

    fn below(&self, names: &[&str]) -> bool {
        self.directories.iter().any(|directory| names.contains(&directory.as_str()))
    }

    fn ends(&self, endings: &[&str]) -> bool {
        endings.contains(&self.ending.as_str())
    }

    fn is_prose_or_test(&self) -> bool {
        let stem = self.name.split('.').next().unwrap_or_default();
        self.ends(&["md", "rst", "txt", "adoc"])
            || self.below(&["doc", "docs", "test", "tests", "__tests__", "spec", "testdata", "fixtures"])
            || stem.starts_with("test_")
            || stem.ends_with("_test")
            || [".test.", ".spec."].iter().any(|mark| self.name.contains(mark))
    }

    /// The words of the path: `src/userLogin_form.ts` has `src`, `user`, `login`, `form`, `ts`.
    fn words(&self) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut after_lower = false;
        for letter in self.original.chars() {
            let starts = letter.is_uppercase() && after_lower;
            if !letter.is_alphanumeric() || starts {
                words.push(String::new());
            }
            if letter.is_alphanumeric()
                && let Some(word) = words.last_mut()
            {
                word.extend(letter.to_lowercase());
            }
            after_lower = letter.is_lowercase();
        }
        words
    }
}

fn is_migration(path: &Path<'_>) -> bool {
    const DIRECTORIES: &[&str] = &["alembic", "flyway", "liquibase", "migrate", "migration", "migrations"];
    const NAMES: &[&str] = &["schema.prisma", "schema.rb", "schema.sql", "structure.sql"];
    // Flyway: V7__add_column.sql.
    let versioned = path.name.starts_with('v') && path.name.contains("__") && path.ends(&["sql"]);
    path.below(DIRECTORIES) || NAMES.contains(&path.name.as_str()) || versioned
}

fn is_infrastructure(path: &Path<'_>) -> bool {
    const DIRECTORIES: &[&str] =
        &["ansible", "chart", "charts", "helm", "infra", "infrastructure", "k8s", "kubernetes", "terraform"];
    const NAMES: &[&str] = &[
        ".gitlab-ci.yml",
        "caddyfile",
        "haproxy.cfg",
        "jenkinsfile",
        "kustomization.yaml",
        "kustomization.yml",
        "nginx.conf",
        "procfile",
        "tidegate.yaml",
    ];
    const SETTINGS: &[&str] = &["cfg", "conf", "ini", "json", "properties", "toml", "yaml", "yml"];
    let name = path.name.as_str();
    path.below(DIRECTORIES)
        || path.original.starts_with(".github/workflows/")
        || path.ends(&["tf", "tfvars"])
        || NAMES.contains(&name)
        || name == "dockerfile"
        || ["dockerfile.", "docker-compose", "compose.y", ".env", "application.", "appsettings."]
            .iter()
            .any(|start| name.starts_with(start))
        || (path.below(&["conf", "config"]) && path.ends(SETTINGS))
}

fn is_authentication(path: &Path<'_>) -> bool {
    const WORDS: &[&str] = &[
        "acl",
        "auth",
        "authentication",
        "authenticator",
        "authn",
        "authorization",
        "authorizer",
        "authz",
        "cipher",
        "credential",
        "credentials",
        "crypto",
        "cryptography",
        "encryption",
        "iam",
        "jwt",
        "login",
        "oauth",
        "oauth2",
        "oidc",
        "password",
        "passwords",
        "permission",
        "permissions",
        "rbac",
        "saml",
        "secrets",
        "security",
        "sso",
        "tls",
    ];
    path.words().iter().any(|word| WORDS.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart_and_documents_and_tests_are_never_delicate() {
        type Rule = fn(&Path<'_>) -> bool;
        let rules: [(Rule, &[&str], &[&str]); 3] = [
            (
                is_migration,
                &[
                    "db/migrate/7_add.rb",
                    "app/migrations/0001_initial.py",
                    "sql/V7__x.sql",
                    "prisma/schema.prisma",
                ],
                &["src/migrator.rs", "queries/find.sql"],
            ),
            (
                is_infrastructure,
                &[
                    "Dockerfile",
                    "deploy.tf",
                    ".github/workflows/ci.yml",
                    "config/prod.yaml",
                    "compose.yaml",
                    ".env.prod",
                ],
                &["src/config/reader.rs", "src/environment.ts"],
            ),
            (
                is_authentication,
                &["src/auth/mod.rs", "app/userLogin.ts", "pkg/JwtFilter.java", "lib/password_reset.rb"],
                &["src/author.rs", "src/tokenizer.rs", "src/blogin.rs"],
            ),
        ];
        for (rule, yes, no) in rules {
            for path in yes {
                assert!(rule(&Path::of(path)), "{path}");
            }
            for path in no {
                assert!(!rule(&Path::of(path)), "{path}");
            }
        }
        for path in
            ["docs/auth/readme.html", "auth.md", "tests/login.rs", "src/login_test.go", "src/auth.spec.ts"]
        {
            assert!(Path::of(path).is_prose_or_test(), "{path}");
        }
    }
}
