//! `init`, `validate` and `role`: the configuration file, and what it asks for elsewhere.

use clap::Args;

use super::{Common, out::sayln, print_json};
use crate::{
    compose::{self, manifest::Looked},
    config::{self, Rejected},
    fault::{Exit, Fault},
};

#[derive(Args)]
pub(super) struct InitArgs {
    /// The project's directory.
    #[arg(default_value = ".")]
    directory: std::path::PathBuf,
}

#[derive(Args)]
pub(super) struct ValidateArgs {
    /// The file: a tidegate.yaml, or manifests of Argo Rollouts or Flagger; default: the configuration.
    #[arg(value_name = "FILE")]
    path: Option<std::path::PathBuf>,
    /// The image that `deploy --image` will name, by digest: `name@sha256:…`
    #[arg(long, value_name = "IMAGE", conflicts_with = "schema")]
    image: Option<String>,
    /// Print the JSON Schema of the file for editors instead.
    #[arg(long)]
    schema: bool,
}

#[derive(Args)]
pub(super) struct RoleArgs {
    /// The service; default: the only one of the configuration. `deployment/NAME` for what guarding a plain Deployment needs.
    service: Option<String>,
    /// The namespace of a `deployment/NAME`.
    #[arg(long, short, default_value = "default")]
    namespace: String,
}

pub(super) fn role(common: &Common, args: &RoleArgs) -> Result<Exit, Fault> {
    if let Some(name) = args.service.as_deref().and_then(super::workload::named) {
        name?;
        print_json(&tidegate_kubernetes::guard_role(&args.namespace))?;
        return Ok(Exit::Success);
    }
    let config = common.config()?;
    let name = super::deploy::chosen(&config, args.service.as_deref())?;
    let role = config.services.get(&name).and_then(|service| compose::role(config.directory(), service));
    let Some(role) = role else {
        return Err(Fault::refuse(format!("`{name}` does not run on Kubernetes: it needs no Role")));
    };
    print_json(&role)?;
    Ok(Exit::Success)
}

pub(super) fn init(common: &Common, args: &InitArgs) -> Result<Exit, Fault> {
    let (path, detected) = config::init::init(&args.directory).map_err(Fault::caller)?;
    if common.json {
        print_json(&serde_json::json!({ "file": path, "detected": detected.kind_name() }))?;
    } else {
        sayln!("wrote {} for {}", path.display(), detected.kind_name());
        sayln!("read it, correct the command if it is not yours, then: tidegate plan");
    }
    Ok(Exit::Success)
}

pub(super) fn validate(common: &Common, args: &ValidateArgs) -> Result<Exit, Fault> {
    if args.schema {
        print_json(&config::schema::schema_json())?;
        return Ok(Exit::Success);
    }
    if let Some(checked) = args.path.as_deref().and_then(|path| Some((path, config::foreign::check(path)?))) {
        return foreign(common, checked.0, checked.1);
    }
    let named = match &args.path {
        Some(path) => Some(path.clone()),
        None => common.config_path()?,
    };
    let path = named.unwrap_or_else(|| config::FILE_NAME.into());
    match config::load(&path) {
        Ok(config) => ours(common, &path, &config, args.image.as_deref()),
        Err(rejected) if common.json => {
            print_json(&serde_json::json!({ "file": path, "valid": false, "findings": rejected.findings }))?;
            Ok(Exit::Refused)
        }
        Err(rejected) => Err(Fault::refuse(rejection(&rejected))),
    }
}

/// What a configuration without a mistake comes to with the manifests that it names.
fn ours(
    common: &Common,
    path: &std::path::Path,
    config: &config::Config,
    image: Option<&str>,
) -> Result<Exit, Fault> {
    let Looked { wrong, missing } = compose::manifest::look(config, image);
    if common.json {
        let services: Vec<&String> = config.services.keys().collect();
        let findings: Vec<_> = wrong.iter().flat_map(|rejected| &rejected.findings).collect();
        let mut answer = serde_json::json!({ "file": path, "valid": wrong.is_empty(), "services": services });
        for (key, found) in
            [("findings", serde_json::json!(findings)), ("missing", serde_json::json!(missing))]
        {
            if let Some(answer) = answer.as_object_mut().filter(|_| found != serde_json::json!([])) {
                answer.insert(key.to_owned(), found);
            }
        }
        print_json(&answer)?;
        return Ok(if wrong.is_empty() { Exit::Success } else { Exit::Refused });
    }
    if !wrong.is_empty() {
        let all: Vec<String> = wrong.iter().map(|one| rejection_of(one, "a manifest")).collect();
        return Err(Fault::refuse(all.join("\n\n")));
    }
    sayln!("{} is valid: {}", path.display(), names(config));
    for file in missing {
        sayln!("not there, so not looked at: {file}");
    }
    Ok(Exit::Success)
}

/// What manifests of another tool come to.
fn foreign(
    common: &Common,
    path: &std::path::Path,
    checked: Result<config::foreign::Checked, Rejected>,
) -> Result<Exit, Fault> {
    match checked {
        Ok(checked) if common.json => {
            let mut answer = serde_json::json!({ "file": path, "valid": true, "objects": checked.objects });
            if let Some(answer) = answer.as_object_mut().filter(|_| !checked.notes.is_empty()) {
                answer.insert("notes".to_owned(), serde_json::json!(checked.notes));
            }
            print_json(&answer)?;
            Ok(Exit::Success)
        }
        Ok(checked) => {
            sayln!("{} is valid: {}", path.display(), checked.objects.join(", "));
            for note in &checked.notes {
                sayln!(
                    "{}:{}: {}, which is right there; here {}",
                    note.file,
                    note.place.line,
                    note.theirs,
                    note.ours
                );
            }
            sayln!("what it comes to here: tidegate import {}", path.display());
            Ok(Exit::Success)
        }
        Err(rejected) if common.json => {
            print_json(&serde_json::json!({ "file": path, "valid": false, "findings": rejected.findings }))?;
            Ok(Exit::Refused)
        }
        Err(rejected) => Err(Fault::refuse(rejection_of(&rejected, "the manifests"))),
    }
}

/// `1 service, shop`.
fn names(config: &config::Config) -> String {
    let names: Vec<&str> = config.services.keys().map(String::as_str).collect();
    format!("{} service{}, {}", names.len(), if names.len() == 1 { "" } else { "s" }, names.join(", "))
}

/// Every finding, and how many there are.
pub(super) fn rejection(rejected: &Rejected) -> String {
    rejection_of(rejected, "the configuration")
}

/// The same for something else than the configuration.
pub(super) fn rejection_of(rejected: &Rejected, what: &str) -> String {
    let count = rejected.findings.len();
    let findings = config::render::render_coloured(&rejected.findings, &rejected.source);
    let many = if count == 1 { "" } else { "s" };
    format!("{count} mistake{many} in {what}\n\n{}", findings.trim_end())
}
