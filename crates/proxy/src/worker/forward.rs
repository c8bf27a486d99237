//! Gets a request to an instance: picks, connects, and tries again where that is safe.

use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, Uri};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::body::{Progress, RequestBody};
use super::exchange::Exchange;
use super::local::LocalRoutes;
use super::pool::{Bounds, Load, Pool, Pooled, Unanswered};
use crate::clock;
use crate::routing::{Pick, pick};
use crate::stats::Failure;

/// Tries within one release: the first, one on a fresh connection, one on another instance.
const TRIES_MAX: usize = 3;

/// A request that an instance began to answer.
pub(crate) struct Answered {
    pub(crate) exchange: Exchange,
    pub(crate) response: Response<Incoming>,
    pub(crate) connection: Pooled,
}

/// A release did not answer: why, and the request when nothing of it was sent.
struct Unserved {
    failure: Option<Failure>,
    request: Option<Request<RequestBody>>,
}

/// Sends the request to its release. When nothing of it reached an instance and `any` release may serve, the stable
/// release gets it: the failure still counts against the first one, but the user does not see it.
pub(crate) async fn forward(
    mut exchange: Exchange,
    request: Request<RequestBody>,
    any: bool,
    progress: &Progress,
) -> Result<Answered, (Exchange, Option<Failure>)> {
    let unserved = match attempt(&mut exchange, request, progress).await {
        Ok((response, connection)) => return Ok(Answered { exchange, response, connection }),
        Err(unserved) => unserved,
    };
    exchange.refresh();
    let now = exchange.user().service.routes();
    let stable = now.routes.stable.filter(|stable| any && *stable != exchange.release());
    let (Some(stable), Some(request), Some(failure)) = (stable, unserved.request, unserved.failure) else {
        return Err((exchange, unserved.failure));
    };
    let mut exchange = exchange.hand_on(failure, now, stable);
    match attempt(&mut exchange, request, progress).await {
        Ok((response, connection)) => Ok(Answered { exchange, response, connection }),
        Err(unserved) => Err((exchange, unserved.failure)),
    }
}

/// A request without a body whose repetition changes nothing (RFC 9110 section 9.2.2), kept for one more try.
struct Replay {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Replay {
    fn of(request: &Request<RequestBody>) -> Option<Self> {
        let idempotent = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
        );
        (idempotent && matches!(request.body(), RequestBody::Empty)).then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }

    fn request(self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}

/// Tries a release's endpoints.
async fn attempt(
    exchange: &mut Exchange,
    mut request: Request<RequestBody>,
    progress: &Progress,
) -> Result<(Response<Incoming>, Pooled), Unserved> {
    let bounds = bounds(exchange.local());
    let mut replay = Replay::of(&request);
    let (mut fresh, mut excluded, mut failure) = (false, None, Failure::Unavailable);
    for number in 0..TRIES_MAX {
        if number > 0 {
            exchange.refresh();
        }
        let local = Rc::clone(exchange.local());
        let Some((pick, pool)) = picked(&local, exchange.release(), excluded) else { break };
        exchange.set_load(Some(Load::on(pool)));
        let Some(mut connection) = connection(pool, fresh, bounds).await else {
            blame(&local, pool, pick);
            (excluded, failure) = (Some(pool.endpoint.id), Failure::Connect);
            continue;
        };
        match connection.send(request, bounds.response, progress).await {
            Ok(response) => {
                pool.endpoint.succeeded();
                return Ok((response, connection));
            }
            Err(Unanswered::Unsent(unsent)) => (request, fresh) = (*unsent, true),
            Err(lost @ Unanswered::Lost) => {
                if !connection.reused {
                    blame(&local, pool, pick);
                    excluded = pick.others.then_some(pool.endpoint.id);
                }
                let Some(again) = replay.take() else { return Err(Unserved::sent(lost.failure())) };
                (request, fresh, failure) = (again.request(), true, Failure::Reset);
            }
            Err(late @ Unanswered::Late) => {
                blame(&local, pool, pick);
                return Err(Unserved::sent(late.failure()));
            }
            Err(user @ Unanswered::User) => return Err(Unserved::sent(user.failure())),
        }
    }
    exchange.set_load(None);
    Err(Unserved { failure: Some(failure), request: Some(request) })
}

impl Unserved {
    const fn sent(failure: Option<Failure>) -> Self {
        Self { failure, request: None }
    }
}

pub(super) fn bounds(local: &LocalRoutes) -> Bounds {
    let limits = &local.routes.limits;
    Bounds {
        connect: Duration::from_millis(limits.connect_ms),
        response: Duration::from_millis(limits.response_ms),
        idle: Duration::from_millis(limits.idle_ms),
    }
}

pub(super) fn picked(
    local: &LocalRoutes,
    release: usize,
    excluded: Option<u64>,
) -> Option<(Pick, &Rc<Pool>)> {
    let routes = &local.routes;
    let candidates = routes.releases.get(release)?;
    // One endpoint needs no clock.
    let now_ms = if candidates.endpoints.len() > 1 { clock::ms(Instant::now().into_std()) } else { 0 };
    let pick = pick(candidates, &routes.health, excluded, now_ms)?;
    Some((pick, local.pool(release, pick.at)?))
}

pub(super) async fn connection(pool: &Rc<Pool>, fresh: bool, bounds: Bounds) -> Option<Pooled> {
    if !fresh && let Some(connection) = pool.reuse().await {
        return Some(connection);
    }
    pool.connect(bounds).await
}

fn blame(local: &LocalRoutes, pool: &Pool, pick: Pick) {
    pool.endpoint.failed(&local.routes.health.passive, pick.others, clock::now_ms());
}
