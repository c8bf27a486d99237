//! Container images by content: a tag is resolved to a digest once, when the plan is made, and fetched when it is built.

use std::path::Path;

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error, query_parameters::CreateImageOptionsBuilder};
use futures_util::TryStreamExt;

/// Where the engine listens unless told otherwise.
const SOCKET_DEFAULT: &str = "/var/run/docker.sock";

/// Longest wait for one answer of the engine; fetching reports progress all the time.
const ANSWER_S: u64 = 60;

/// Why an image has no content to name.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No engine.
    #[error("no Docker Engine answers at {socket}: start it, or name its socket with `container.socket`")]
    NoEngine {
        /// The socket.
        socket: String,
        /// Why.
        #[source]
        source: Error,
    },
    /// Not there, and not to be fetched.
    #[error("cannot fetch image {image}")]
    Fetch {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: Error,
    },
    /// The engine cannot say what it is.
    #[error("the Docker Engine cannot say what {image} is")]
    Inspect {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: Error,
    },
}

/// What an image name means now: itself when it names its content, else `name@sha256:…`, or the image's id
/// (`sha256:…`) when it was built on this engine and never had a registry's digest. Fetches an image that is missing.
pub async fn resolve(image: &str, socket: Option<&Path>) -> Result<String, ImageError> {
    if image.contains("@sha256:") || image.starts_with("sha256:") {
        return Ok(image.to_owned());
    }
    let engine = connect(socket)?;
    fetch_missing(&engine, image).await?;
    let found = engine
        .inspect_image(image)
        .await
        .map_err(|source| ImageError::Inspect { image: image.to_owned(), source })?;
    let digests = found.repo_digests.unwrap_or_default();
    Ok(digests.into_iter().next().or(found.id).unwrap_or_else(|| image.to_owned()))
}

/// Brings an image to the engine when it is not there.
pub(super) async fn bring(image: &str, socket: Option<&Path>) -> Result<(), ImageError> {
    fetch_missing(&connect(socket)?, image).await
}

async fn fetch_missing(engine: &Docker, image: &str) -> Result<(), ImageError> {
    match engine.inspect_image(image).await {
        Ok(_) => Ok(()),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
            let options = CreateImageOptionsBuilder::default().from_image(image).build();
            let fetched: Result<Vec<_>, Error> =
                engine.create_image(Some(options), None, None).try_collect().await;
            fetched.map(|_| ()).map_err(|source| ImageError::Fetch { image: image.to_owned(), source })
        }
        Err(source) => Err(ImageError::Inspect { image: image.to_owned(), source }),
    }
}

fn connect(socket: Option<&Path>) -> Result<Docker, ImageError> {
    let from_environment = std::env::var("DOCKER_HOST").ok();
    let named = socket.map(|path| path.to_string_lossy().into_owned());
    let socket = named
        .or_else(|| from_environment.and_then(|host| host.strip_prefix("unix://").map(str::to_owned)))
        .unwrap_or_else(|| SOCKET_DEFAULT.to_owned());
    Docker::connect_with_unix(&socket, ANSWER_S, API_DEFAULT_VERSION)
        .map_err(|source| ImageError::NoEngine { socket: socket.clone(), source })
}
