//! Gets a request to an instance: picks, connects, and tries again where that is safe.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::body::{Progress, RequestBody};
use super::exchange::Exchange;
use super::local::LocalRoutes;
use super::pool::{Bounds, Load, Pool, Pooled, Unanswered};
use super::user::boxed;
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

/// Sends the request to its release. When nothing of it reached an instance and `any` release may serve, the stable
/// release gets it: the failure still counts against the first one, but the user does not see it.
///
/// The request stays in `slot` while nothing of it was sent: it is large, and futures that hold it twice are slow to move.
pub(crate) async fn forward(
    mut exchange: Exchange,
    slot: &mut Option<Request<RequestBody>>,
    any: bool,
    progress: &Progress,
) -> Result<Answered, (Exchange, Option<Failure>)> {
    let failure = match attempt(&mut exchange, slot, progress).await {
        Ok((response, connection)) => return Ok(Answered { exchange, response, connection }),
        Err(failure) => failure,
    };
    exchange.refresh();
    let now = exchange.user().service.routes();
    let stable = now.routes.stable.filter(|stable| any && slot.is_some() && *stable != exchange.release());
    let (Some(stable), Some(failure)) = (stable, failure) else { return Err((exchange, failure)) };
    let mut exchange = exchange.hand_on(failure, now, stable);
    match boxed(attempt(&mut exchange, slot, progress)).await {
        Ok((response, connection)) => Ok(Answered { exchange, response, connection }),
        Err(failure) => Err((exchange, failure)),
    }
}

/// A request without a body whose repetition changes nothing (RFC 9110 section 9.2.2), kept for one more try.
struct Replay {
    method: Method,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Emptied header lists kept per thread, so that keeping a request costs no allocation.
const SPARE_MAX: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<Vec<(HeaderName, HeaderValue)>>> = const { RefCell::new(Vec::new()) };
}

impl Replay {
    fn of(request: &Request<RequestBody>) -> Option<Self> {
        let idempotent = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
        );
        (idempotent && matches!(request.body(), RequestBody::Empty)).then(|| {
            let mut headers = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
            headers.extend(request.headers().iter().map(|(name, value)| (name.clone(), value.clone())));
            Self { method: request.method().clone(), uri: request.uri().clone(), headers }
        })
    }

    fn request(mut self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = std::mem::take(&mut self.method);
        *request.uri_mut() = std::mem::take(&mut self.uri);
        for (name, value) in self.headers.drain(..) {
            request.headers_mut().append(name, value);
        }
        request
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        let mut headers = std::mem::take(&mut self.headers);
        headers.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_MAX {
                spare.push(headers);
            }
        });
    }
}

/// Tries a release's endpoints; says why none answered. The failure is `None` when the user's side broke.
async fn attempt(
    exchange: &mut Exchange,
    slot: &mut Option<Request<RequestBody>>,
    progress: &Progress,
) -> Result<(Response<Incoming>, Pooled), Option<Failure>> {
    let bounds = bounds(exchange.local());
    let mut replay = slot.as_ref().and_then(Replay::of);
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
        match connection.send(slot, bounds.response, progress).await {
            Ok(response) => {
                pool.endpoint.succeeded();
                return Ok((response, connection));
            }
            Err(Unanswered::Unsent) => fresh = true,
            Err(Unanswered::Lost) => {
                if !connection.reused {
                    blame(&local, pool, pick);
                    excluded = pick.others.then_some(pool.endpoint.id);
                }
                let Some(again) = replay.take() else { return Err(Some(Failure::Reset)) };
                (*slot, fresh, failure) = (Some(again.request()), true, Failure::Reset);
            }
            Err(Unanswered::Late) => {
                blame(&local, pool, pick);
                return Err(Some(Failure::Timeout));
            }
            Err(Unanswered::User) => return Err(None),
        }
    }
    exchange.set_load(None);
    Err(Some(failure))
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
    if !fresh && let Some(connection) = pool.reuse() {
        return Some(connection);
    }
    boxed(pool.connect(bounds)).await
}

fn blame(local: &LocalRoutes, pool: &Pool, pick: Pick) {
    pool.endpoint.failed(&local.routes.health.passive, pick.others, clock::now_ms());
}
