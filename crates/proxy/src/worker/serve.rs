//! One request: may it enter, which release gets it, what does the user see.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header, request};
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;

use super::body::{AnswerBody, Progress, RequestBody};
use super::exchange::{Entry, Exchange};
use super::forward::{self, Answered};
use super::headers::{self, Survey};
use super::local::LocalRoutes;
use super::mirror;
use super::tunnel;
use super::user::{User, boxed};
use crate::protocol::Mode;
use crate::routing::{Choice, Chosen, Client, Key, choose, matches_a_rule};
use crate::stats::Failure;

/// What a user is asked to wait before trying again, seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

type Answer = Response<AnswerBody>;

/// A request that is not carried: the proxy's own answer.
struct Refusal {
    status: StatusCode,
    text: &'static str,
    retry: bool,
    close: bool,
}

impl Refusal {
    const fn new(status: StatusCode, text: &'static str) -> Self {
        Self { status, text, retry: false, close: false }
    }

    const fn later(text: &'static str) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, text, retry: true, close: false }
    }

    const fn bad(text: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, text, retry: false, close: true }
    }

    fn answer(self, entry: Entry) -> Answer {
        let mut body = String::with_capacity(self.text.len() + 1);
        body.push_str(self.text);
        body.push('\n');
        let mut answer = own(self.status, Bytes::from(body), entry);
        if self.retry {
            answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if self.close {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

fn own(status: StatusCode, body: Bytes, entry: Entry) -> Answer {
    let mut answer = Response::new(AnswerBody::Own { bytes: Some(body), _entry: entry });
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// Serves one request. Never fails: what goes wrong is an answer, or ends the answer's body early.
pub(crate) async fn serve(user: Rc<User>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let http2 = request.version() == Version::HTTP_2;
    let draining = Rc::clone(&user.service.draining);
    let mut answer = carry(user, request).await;
    if draining.on() && !http2 && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    } else if http2 {
        answer.headers_mut().remove(header::CONNECTION);
    }
    Ok(answer)
}

async fn carry(user: Rc<User>, request: Request<Incoming>) -> Answer {
    let started = Instant::now();
    let entry = Entry::begin(&user);
    let (head, body) = request.into_parts();
    if user.phase.ambiguous() {
        return Refusal::bad("Content-Length and Transfer-Encoding exclude each other").answer(entry);
    }
    let survey = Survey::of(&head.headers);
    if let Err(reason) = headers::check(&head, survey) {
        return Refusal::bad(reason).answer(entry);
    }
    let mut local = user.service.routes();
    if !matches!(local.routes.mode, Mode::Serve) {
        match boxed(admitted_by_mode(&user, &head)).await {
            Ok(now) => local = now,
            Err(refusal) => return page(&user, refusal, entry),
        }
    }
    let client = Client { path: head.uri.path(), headers: &head.headers, address: user.address.ip() };
    let Some(choice) = choose(&local.routes, &client, || fastrand::u64(..)) else {
        user.service.shared.stats.unrouted();
        return Refusal::later("nothing serves here yet").answer(entry);
    };
    if !entry.admit(local.routes.limits.in_flight_max) {
        user.service.shared.stats.unrouted();
        return Refusal::later("too many requests at once").answer(entry);
    }
    exchange(entry, local, &choice, started, (head, survey), body).await
}

/// Carries an admitted request.
async fn exchange(
    entry: Entry,
    local: Rc<LocalRoutes>,
    choice: &Choice,
    started: Instant,
    (mut head, survey): (request::Parts, Survey),
    body: Incoming,
) -> Answer {
    let empty = body.is_end_stream();
    let upgrade = headers::asks_upgrade(&head, survey, empty);
    let on_upgrade = if upgrade { head.extensions.remove::<hyper::upgrade::OnUpgrade>() } else { None };
    let address = local.pool(choice.release, 0).map_or("localhost", |pool| &pool.address);
    headers::to_instance(&mut head, survey, &entry.user.forwarded, upgrade, address);
    let progress = if empty { Progress::Empty(started) } else { Progress::Body(Rc::default()) };
    let mut exchange = Exchange::begin(entry, Rc::clone(&local), choice.release, started, progress.clone());
    let copying = if upgrade { None } else { mirror::begin(&local, exchange.user(), &head, &body) };
    exchange.set_copying(copying.clone());
    let body = match &progress {
        Progress::Empty(_) => RequestBody::Empty,
        Progress::Body(sending) => {
            let idle = Duration::from_millis(local.routes.limits.idle_ms);
            RequestBody::user(body, idle, Rc::clone(sending), copying)
        }
    };
    let any = choice.by == Chosen::Split;
    let mut slot = Some(Request::from_parts(head, body));
    match forward::forward(exchange, &mut slot, any, &progress).await {
        Ok(answered) => answer(answered, on_upgrade, choice, progress),
        Err((exchange, failure)) => failed(exchange, failure, progress.user_failed()),
    }
}

fn answer(
    answered: Answered,
    on_upgrade: Option<hyper::upgrade::OnUpgrade>,
    choice: &Choice,
    progress: Progress,
) -> Answer {
    let Answered { mut exchange, response, connection } = answered;
    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switching && on_upgrade.is_none() {
        return failed(exchange, Some(Failure::Reset), false);
    }
    exchange.answered(response.status());
    let (mut head, incoming) = response.into_parts();
    let instance = switching.then(|| head.extensions.remove::<hyper::upgrade::OnUpgrade>()).flatten();
    let local = Rc::clone(exchange.local());
    if let Some(release) = local.routes.releases.get(exchange.release()) {
        headers::to_user(&mut head, &release.tag_value, switching);
    }
    head.extensions.clear();
    if let (Some(identity), Some(Key::Cookie(cookie))) = (choice.cookie, &local.routes.sticky)
        && let Some(value) = cookie.set(identity, exchange.user().tls)
    {
        head.headers.append(header::SET_COOKIE, value);
    }
    let connection = match (on_upgrade.filter(|_| switching), instance) {
        (Some(user), Some(instance)) => {
            tunnel::open(&exchange, user, instance, connection);
            None
        }
        (_, _) => Some(connection),
    };
    let idle = Duration::from_millis(local.routes.limits.idle_ms);
    let body = super::body::InstanceBody::new(incoming, idle, connection, exchange, progress);
    Response::from_parts(head, AnswerBody::Instance(Box::new(body)))
}

/// The answer to a request that no instance answered.
fn failed(mut exchange: Exchange, failure: Option<Failure>, user_failed: bool) -> Answer {
    if let Some(failure) = failure {
        exchange.fail(failure);
    }
    let local = Rc::clone(exchange.local());
    let tag = local.routes.releases.get(exchange.release()).map(|release| release.tag_value.clone());
    let refusal = match failure {
        _ if user_failed => Refusal {
            close: true,
            ..Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request's body did not come")
        },
        Some(Failure::Unavailable) => {
            exchange.user().service.shared.stats.unrouted();
            Refusal::later("no healthy instance")
        }
        Some(Failure::Timeout) => {
            Refusal::new(StatusCode::GATEWAY_TIMEOUT, "the instance did not answer in time")
        }
        Some(Failure::Connect) => Refusal::new(StatusCode::BAD_GATEWAY, "no connection to the instance"),
        Some(Failure::Reset | Failure::ServerError) | None => {
            Refusal::new(StatusCode::BAD_GATEWAY, "the instance broke the connection")
        }
    };
    let entry = Entry::begin(exchange.user());
    drop(exchange);
    let mut answer = refusal.answer(entry);
    if let Some(tag) = tag {
        answer.headers_mut().insert(headers::RELEASE.clone(), tag);
    }
    answer
}

/// Waits while the service is held; refuses while it is in maintenance, unless a rule lets the request pass.
async fn admitted_by_mode(user: &Rc<User>, head: &request::Parts) -> Result<Rc<LocalRoutes>, Refusal> {
    let service = &user.service;
    let mut changed = service.shared.changed.subscribe();
    let since = Instant::now();
    let mut place: Option<Held<'_>> = None;
    loop {
        changed.borrow_and_update();
        let local = service.routes();
        match &local.routes.mode {
            Mode::Serve => return Ok(local),
            Mode::Maintenance { status, .. } => {
                let client =
                    Client { path: head.uri.path(), headers: &head.headers, address: user.address.ip() };
                if matches_a_rule(&local.routes, &client) {
                    return Ok(local);
                }
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
                return Err(Refusal::new(status, ""));
            }
            Mode::Hold { wait_max_ms, requests_max } => {
                if place.is_none() && !service.shared.hold(*requests_max) {
                    service.shared.stats.unrouted();
                    return Err(Refusal::later("too many requests are waiting"));
                }
                place.get_or_insert(Held(user));
                let until = since + Duration::from_millis(*wait_max_ms);
                if !matches!(tokio::time::timeout_at(until, changed.changed()).await, Ok(Ok(()))) {
                    service.shared.stats.unrouted();
                    return Err(Refusal::later("held for too long"));
                }
            }
        }
    }
}

/// A place among the held requests.
struct Held<'a>(&'a Rc<User>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.service.shared.release_held();
    }
}

/// Answers with the maintenance page, or with the refusal's own words.
fn page(user: &Rc<User>, refusal: Refusal, entry: Entry) -> Answer {
    let local = user.service.routes();
    let Mode::Maintenance { body, retry_after_s, .. } = &local.routes.mode else {
        return refusal.answer(entry);
    };
    let mut answer = own(refusal.status, Bytes::from(body.clone()), entry);
    if body.trim_start().starts_with('<') {
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    if let Some(seconds) = retry_after_s {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
    }
    answer
}
