//! One request on the server's socket.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use tidegate_engine::{
    Submission, SubmitError, TellError,
    confidence::{self, LabelError},
    journal::{AppendError, Digest, Request as Key},
};
use tidegate_proxy::protocol::Refused;

use super::{
    Glimpse, Labelled, ServerStatus, Shared, Submit, Submitted, Tell, Told, Unadopted, adopt, mortal::Point,
};
use crate::{cli::now, fault::chain};

/// Largest request that is read.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

type Answer = Response<Full<Bytes>>;

pub(super) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    Ok(match route(shared, request).await {
        Ok(answer) => answer,
        Err((status, message)) => json(status, &Refused { code: status.as_str().to_owned(), message }),
    })
}

type Refusal = (StatusCode, String);

async fn route(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (request.method().clone(), parts.as_slice()) {
        (Method::GET, ["v1", "status"]) => Ok(json(StatusCode::OK, &status(shared))),
        (Method::POST, ["v1", "deployments"]) => submit(shared, body(request).await?).await,
        (Method::POST, ["v1", "deployments", id, "verbs"]) => tell(shared, id, body(request).await?).await,
        (Method::POST, ["v1", "deployments", id, "label"]) => label(shared, id, body(request).await?).await,
        (Method::GET, ["v1", "deployments", id, "live"]) => {
            let live = shared.engine.live(id).unwrap_or_default();
            Ok(json(StatusCode::OK, &Glimpse { judgements: live.judgements, trouble: live.trouble }))
        }
        (Method::POST, ["v1", "shutdown"]) => {
            shared.stop.notify_one();
            Ok(json(StatusCode::OK, &()))
        }
        (method, _) => Err((StatusCode::NOT_FOUND, format!("there is no {method} {path}"))),
    }
}

fn status(shared: &Shared) -> ServerStatus {
    ServerStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        epoch: shared.epoch,
        uptime_ms: u64::try_from(shared.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        active: shared.engine.active(),
        owner: shared.owner.clone(),
    }
}

async fn submit(shared: &Shared, submit: Submit) -> Result<Answer, Refusal> {
    let Submit { request, queue, key, actor, reason } = submit;
    let key = match key {
        None => None,
        Some(key) => {
            // The tag carries the second in which it was asked for; the same request a minute later is the same.
            let mut asked = request.clone();
            asked.release.tag.clear();
            // By another file to the same cluster is no other request.
            asked.release.spec.place = tidegate_kubernetes::servers(&request.release);
            // Nor what was known of it: a report that was written again makes no other release.
            asked.confidence = None;
            let text = serde_json::to_vec(&asked).map_err(|why| internal(&why))?;
            Some(Key { key, digest: Digest(Sha256::digest(&text).into()) })
        }
    };
    let mut request = request;
    adopt(&shared.engine, &shared.targets, &mut request).await.map_err(|why| match why {
        Unadopted::Journal(why) => (StatusCode::SERVICE_UNAVAILABLE, chain(&why)),
        Unadopted::Unclear(why) if why.permanent => (StatusCode::UNPROCESSABLE_ENTITY, why.why),
        Unadopted::Unclear(why) => (StatusCode::SERVICE_UNAVAILABLE, why.why),
    })?;
    let submission = Submission { request, queue, key, actor, reason };
    let deployment =
        shared.engine.submit(submission).await.map_err(|error| (submit_status(&error), chain(&error)))?;
    shared.fate.reach(Point::Submitted, None);
    Ok(json(StatusCode::OK, &Submitted { deployment }))
}

async fn tell(shared: &Shared, id: &str, tell: Tell) -> Result<Answer, Refusal> {
    let Tell { action, actor, reason } = tell;
    let verb = action.verb(reason);
    let events =
        shared.engine.tell(id, actor, verb).await.map_err(|error| (tell_status(&error), chain(&error)))?;
    shared.fate.reach(Point::Told, None);
    Ok(json(StatusCode::OK, &Told { events: events.iter().map(|event| event.name().to_owned()).collect() }))
}

async fn label(shared: &Shared, id: &str, said: Labelled) -> Result<Answer, Refusal> {
    let Labelled { good, actor, reason } = said;
    confidence::keep_label(&**shared.engine.journal(), id, (good, &reason), &actor, now())
        .await
        .map_err(|error| (label_status(&error), chain(&error)))?;
    Ok(json(StatusCode::OK, &()))
}

const fn label_status(error: &LabelError) -> StatusCode {
    match error {
        LabelError::Unknown(_) => StatusCode::NOT_FOUND,
        LabelError::NoReason => StatusCode::BAD_REQUEST,
        LabelError::Read(_) | LabelError::Append(_) => StatusCode::SERVICE_UNAVAILABLE,
        LabelError::Encode(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

const fn submit_status(error: &SubmitError) -> StatusCode {
    match error {
        SubmitError::Plan(_) | SubmitError::Unclear(_) => StatusCode::UNPROCESSABLE_ENTITY,
        SubmitError::Busy { .. }
        | SubmitError::TurnedBack { .. }
        | SubmitError::Append(AppendError::RequestReused { .. }) => StatusCode::CONFLICT,
        SubmitError::Append(AppendError::OutOfBounds { .. }) => StatusCode::BAD_REQUEST,
        SubmitError::Append(AppendError::Full) => StatusCode::INSUFFICIENT_STORAGE,
        SubmitError::Read(_) | SubmitError::History(_) | SubmitError::Append(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        SubmitError::Encode(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

const fn tell_status(error: &TellError) -> StatusCode {
    match error {
        TellError::Unknown(_) => StatusCode::NOT_FOUND,
        TellError::Refused(_) | TellError::Quarantined { .. } => StatusCode::CONFLICT,
        TellError::Overloaded(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn body<B: DeserializeOwned>(request: Request<Incoming>) -> Result<B, Refusal> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX);
    let bytes = body
        .collect()
        .await
        .map_err(|why| (StatusCode::BAD_REQUEST, format!("cannot read the request: {why}")))?;
    serde_json::from_slice(&bytes.to_bytes())
        .map_err(|why| (StatusCode::BAD_REQUEST, format!("the request is not what is expected here: {why}")))
}

fn internal(why: &serde_json::Error) -> Refusal {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}; this is a defect of Tidegate, please report it"))
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let (status, bytes) = match serde_json::to_vec(value) {
        Ok(bytes) => (status, bytes),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    };
    let mut answer = Response::new(Full::new(Bytes::from(bytes)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}
