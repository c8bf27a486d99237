//! Which cluster a release is for, by name. Whoever asks for a release has a `KUBECONFIG` and a current context in his shell; the
//! engine that rolls it out was started in another one, maybe long ago.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidegate_core::model::Release;

use crate::{
    cluster::{Address, configuration, read},
    fault::ClusterError,
    spec::{KIND, KubernetesSpec, Place, SpecError},
};

/// Why it cannot be said which cluster is meant.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// No kubeconfig, or none with that context.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The release cannot be read.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The release cannot be written.
    #[error("the description of a release cannot be written")]
    Encode(#[from] serde_json::Error),
}

/// How one place is reached, for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seat {
    /// The absolute path of the kubeconfig, or of several, joined as in `KUBECONFIG`.
    kubeconfig: PathBuf,
    context: Option<String>,
    /// The API server's address.
    server: String,
}

/// The fields of a description that say how one place is reached.
pub(crate) struct End<'a> {
    pub(crate) kubeconfig: &'a mut Option<PathBuf>,
    pub(crate) context: &'a mut Option<String>,
    pub(crate) server: &'a mut Option<String>,
}

impl End<'_> {
    pub(crate) fn sit(self, seat: Option<Seat>) {
        let Some(Seat { kubeconfig, context, server }) = seat else { return };
        (*self.kubeconfig, *self.context, *self.server) = (Some(kubeconfig), context, Some(server));
    }

    /// Takes the seat out, where there is one.
    pub(crate) fn rise(self) -> Option<Seat> {
        if self.kubeconfig.is_none() {
            return None;
        }
        let server = self.server.take()?;
        Some(Seat { kubeconfig: self.kubeconfig.take()?, context: self.context.take(), server })
    }
}

/// The release with its clusters by name, as they are meant here and now: the kubeconfig and context of its description, else
/// those that `kubectl` would use in this process. A pod's own service account has no name and stays what it is. One that was named
/// before stays in its cluster; where this process has a way there too, that is the one from now on.
pub async fn pin(release: Release) -> Result<Release, PinError> {
    if release.spec.kind != KIND {
        return Ok(release);
    }
    let mut spec = KubernetesSpec::of(&release)?;
    for end in spec.ends() {
        let seat = match end.server.as_ref() {
            None => seat(pinned(end.kubeconfig.clone(), end.context.clone())).await?,
            Some(own) => seat(pinned(None, None)).await.ok().flatten().filter(|now| now.server == *own),
        };
        end.sit(seat);
    }
    Ok(Release { spec: spec.target_spec()?, ..release })
}

async fn seat(address: Address) -> Result<Option<Seat>, ClusterError> {
    let server = configuration(&address).await?.cluster_url.to_string();
    let Address { kubeconfig, context } = address;
    Ok(kubeconfig.map(|kubeconfig| Seat { kubeconfig, context, server }))
}

/// The API servers that a release is for, one after the other; `None` where it says none.
pub fn servers(release: &Release) -> Option<String> {
    let mut spec = KubernetesSpec::of(release).ok()?;
    let servers: Vec<String> = spec.ends().into_iter().filter_map(|end| end.server.take()).collect();
    (!servers.is_empty()).then(|| servers.join(" "))
}

/// Why a release cannot take the place of the last good one: that is in another cluster. `None` where it is in the same one, and
/// where nobody knows, as of releases from before clusters had names.
pub fn moved(service: &str, good: &Release, new: &Release) -> Option<String> {
    let (before, now) = (KubernetesSpec::of(good).ok()?, KubernetesSpec::of(new).ok()?);
    let before = before.places();
    now.places().iter().find_map(|now| {
        let (before, now) = (before.iter().find(|before| before.cell == now.cell)?, now);
        let (was, is) = (called(before)?, called(now)?);
        is_another(before, now).then(|| {
            let cell = if now.cell.is_empty() { String::new() } else { format!(" in cell {}", now.cell) };
            format!(
                "the last good release of `{service}`{cell}, {}, is in another cluster: that is {was}, and this is {is}; go back to \
                 that kubeconfig and context, or give what runs here a history of its own by another `environment`",
                good.tag
            )
        })
    })
}

fn is_another(before: &Place, now: &Place) -> bool {
    let (Some(before), Some(now)) = (&before.spec, &now.spec) else { return false };
    match (&before.server, &now.server) {
        // The same name in the same file is the same cluster, also where it has moved.
        (Some(was), Some(is)) => was != is && before.address() != now.address(),
        _ => matches!((&before.context, &now.context), (Some(was), Some(is)) if was != is),
    }
}

/// `https://…/ (context prod of /home/…/config)`.
fn called(place: &Place) -> Option<String> {
    let spec = place.spec.as_ref()?;
    let context = spec.context.as_ref().map(|context| format!("context {context}"));
    let file = spec.kubeconfig.as_ref().map(|file| file.display().to_string());
    let of = context.into_iter().chain(file).collect::<Vec<_>>().join(" of ");
    Some(match &spec.server {
        Some(server) => format!("{server} ({of})"),
        None => of,
    })
}

/// What `kubectl` would use now, by name.
pub(crate) fn pinned(kubeconfig: Option<PathBuf>, context: Option<String>) -> Address {
    let kubeconfig = kubeconfig.map(absolute).or_else(used);
    let context = context.or_else(|| read(kubeconfig.as_ref()?).ok()?.current_context);
    Address { kubeconfig, context }
}

/// The files of `KUBECONFIG`, else the user's own, where it is there.
fn used() -> Option<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let files = std::env::split_paths(&named).filter(|file| !file.as_os_str().is_empty()).map(absolute);
    let files: Vec<PathBuf> = files.collect();
    match files.as_slice() {
        [] => {
            std::env::home_dir().map(|home| absolute(home.join(".kube/config"))).filter(|own| own.is_file())
        }
        [only] => Some(only.clone()),
        several => std::env::join_paths(several).ok().map(PathBuf::from),
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;
    use tidegate_core::model::{Artifact, TargetSpec};

    use super::*;

    fn file(folder: &TempDir, name: &str, context: &str, server: &str) -> PathBuf {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": context,
            "clusters": [{"name": context, "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": "u"}}],
        });
        let path = folder.path().join(name);
        std::fs::write(&path, config.to_string()).expect("written");
        path
    }

    /// A release as the journal of before has it.
    fn release(kubeconfig: Option<&PathBuf>, context: Option<&str>) -> Release {
        let spec = json!({
            "kubeconfig": kubeconfig, "context": context, "namespace": "web", "replicas": 1, "template": {}, "adopted": null,
            "service": "shop", "port": 80, "traffic": "service", "surge": {"count": 1}, "unavailable": {"count": 0},
            "progress_ms": 1, "back_percent": 50, "keep_releases": 1,
        });
        Release {
            tag: "one-1".to_owned(),
            commit: None,
            artifact: Artifact::Image { reference: "shop@sha256:0".to_owned() },
            spec: TargetSpec { kind: KIND.to_owned(), json: spec.to_string(), place: None },
        }
    }

    async fn named(kubeconfig: &PathBuf) -> Release {
        pin(release(Some(kubeconfig), None)).await.expect("a cluster")
    }

    #[tokio::test]
    async fn a_release_names_its_cluster_for_good_beside_what_it_is() {
        let folder = tempfile::tempdir().expect("a directory");
        let (prod, staging) =
            (file(&folder, "prod", "p", "https://prod"), file(&folder, "staging", "s", "https://staging"));
        let one = named(&prod).await;
        let address = KubernetesSpec::of(&one).expect("readable").address();
        assert_eq!(address, Address { kubeconfig: Some(prod.clone()), context: Some("p".to_owned()) });
        assert_eq!(servers(&one).as_deref(), Some("https://prod/"));
        // The same through another file is the same release, and the same address is one connection.
        let copy = file(&folder, "copy", "q", "https://prod");
        assert!(one.same_content(&named(&copy).await));
        let dotted = folder.path().join("./prod");
        assert_eq!(KubernetesSpec::of(&named(&dotted).await).expect("readable").address(), address);
        // Of several files the first one's context is the current one; all are known.
        let both = PathBuf::from(std::env::join_paths([&staging, &prod]).expect("no colon"));
        assert_eq!(servers(&named(&both).await).as_deref(), Some("https://staging/"));
        let other = pin(release(Some(&both), Some("p"))).await.expect("a cluster");
        assert_eq!(servers(&other).as_deref(), Some("https://prod/"));
        let why =
            pin(release(Some(&folder.path().join("none")), None)).await.expect_err("no file").to_string();
        assert!(why.contains(&format!("{}/none cannot be read: ", folder.path().display())), "{why}");
    }

    #[tokio::test]
    async fn a_release_for_another_cluster_than_the_last_good_one_is_told_apart() {
        let folder = tempfile::tempdir().expect("a directory");
        let prod = file(&folder, "prod", "p", "https://prod");
        let one = named(&prod).await;
        let staging = named(&file(&folder, "staging", "s", "https://staging")).await;
        let why = moved("shop", &one, &staging).expect("another one");
        assert!(why.contains("https://prod/ (context p of ") && why.contains("https://staging/"), "{why}");
        assert_eq!(moved("shop", &one, &named(&file(&folder, "copy", "q", "https://prod")).await), None);
        // A cluster of that name in that file that has moved.
        file(&folder, "prod", "p", "https://127.0.0.1:7");
        assert_eq!(moved("shop", &one, &named(&prod).await), None);
        // As journals of before have it, and a pod's own account.
        let unnamed = release(None, None);
        assert_eq!([moved("shop", &unnamed, &one), moved("shop", &one, &unnamed)], [None, None]);
        assert!(moved("shop", &release(None, Some("s")), &one).is_some());
    }
}
