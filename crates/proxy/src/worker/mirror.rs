//! Copies of requests to a shadow release: sent after the user was answered, compared, dropped.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header, request};
use hyper::body::{Body as _, Incoming};
use serde_json::Value;

use super::body::{Progress, RequestBody, collect};
use super::exchange::Exchange;
use super::forward;
use super::headers::SHADOW;
use super::local::{LocalRoutes, LocalService};
use super::pool::Load;
use super::user::User;
use crate::protocol::MirrorCounters;

/// A path in an example is cut to this many bytes.
const EXAMPLE_MAX: usize = 120;
/// A shadow that needs this much more than twice the users' time counts as slower.
const SLOWER_BY: Duration = Duration::from_millis(10);

/// A request being copied while its user is served.
pub(crate) struct Copying {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    request: RefCell<Vec<Bytes>>,
    answer: RefCell<Vec<Bytes>>,
    /// Bytes that may still be kept of each.
    room: Cell<(usize, usize)>,
    too_large: Cell<bool>,
    permit: Permit,
    local: Rc<LocalRoutes>,
}

/// A place among the copies in flight.
struct Permit(Rc<LocalService>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.shared.mirror_done();
    }
}

/// Starts a copy if this request is to be mirrored and there is room for one more.
pub(crate) fn begin(
    local: &Rc<LocalRoutes>,
    user: &Rc<User>,
    head: &request::Parts,
    body: &Incoming,
) -> Option<Rc<Copying>> {
    let mirror = local.routes.mirror.as_ref()?;
    if !mirror.methods.contains(&head.method) || fastrand::u16(..10_000) >= mirror.share {
        return None;
    }
    let service = &user.service;
    let tag = &local.routes.releases.get(mirror.release)?.tag;
    if body.size_hint().lower() > mirror.body_max as u64 {
        service.shared.stats.mirror(tag, |counters| counters.too_large += 1);
        return None;
    }
    if !service.shared.mirror(mirror.in_flight_max) {
        service.shared.stats.mirror(tag, |counters| counters.dropped += 1);
        return None;
    }
    Some(Rc::new(Copying {
        method: head.method.clone(),
        uri: head.uri.clone(),
        headers: head.headers.clone(),
        request: RefCell::default(),
        answer: RefCell::default(),
        room: Cell::new((mirror.body_max, mirror.body_max)),
        too_large: Cell::new(false),
        permit: Permit(Rc::clone(service)),
        local: Rc::clone(local),
    }))
}

impl Copying {
    /// Keeps a part of the user's body.
    pub(crate) fn request_data(&self, data: &Bytes) {
        let (request, answer) = self.room.get();
        self.keep(&self.request, data, request.checked_sub(data.len()).map(|left| (left, answer)));
    }

    /// Keeps a part of the user's answer.
    pub(crate) fn answer_data(&self, data: &Bytes) {
        let (request, answer) = self.room.get();
        self.keep(&self.answer, data, answer.checked_sub(data.len()).map(|left| (request, left)));
    }

    fn keep(&self, parts: &RefCell<Vec<Bytes>>, data: &Bytes, room: Option<(usize, usize)>) {
        match room {
            Some(room) if !self.too_large.get() => {
                self.room.set(room);
                parts.borrow_mut().push(data.clone());
            }
            Some(_) | None => {
                self.too_large.set(true);
                self.request.borrow_mut().clear();
                self.answer.borrow_mut().clear();
            }
        }
    }

    fn count(&self, change: impl FnOnce(&mut MirrorCounters)) {
        let Some(mirror) = &self.local.routes.mirror else { return };
        if let Some(release) = self.local.routes.releases.get(mirror.release) {
            self.permit.0.shared.stats.mirror(&release.tag, change);
        }
    }
}

/// Sends the copy, now that its user was answered.
pub(crate) fn launch(exchange: &Exchange, copying: &Rc<Copying>, status: StatusCode, latency: Duration) {
    if copying.too_large.get() {
        copying.count(|counters| counters.too_large += 1);
        return;
    }
    // The user's own routes may be older than those in force; the shadow must be picked from the latter.
    let local = exchange.user().service.routes();
    let copying = Rc::clone(copying);
    tokio::task::spawn_local(async move {
        let Some(timeout_ms) = local.routes.mirror.as_ref().map(|mirror| mirror.timeout_ms) else { return };
        let begun = Instant::now();
        let sent = tokio::time::timeout(Duration::from_millis(timeout_ms), send(&local, &copying)).await;
        match sent.ok().flatten() {
            Some(shadow) => compare(&copying, &local, (status, latency), &shadow, begun.elapsed()),
            None => copying.count(|counters| counters.failed += 1),
        }
    });
}

/// A shadow's answer; no body when it was too large to keep.
struct Shadow {
    status: StatusCode,
    body: Option<Vec<u8>>,
}

async fn send(local: &LocalRoutes, copying: &Copying) -> Option<Shadow> {
    let mirror = local.routes.mirror.as_ref()?;
    let (_, pool) = forward::picked(local, mirror.release, None)?;
    let _load = Load::on(pool);
    let bounds = forward::bounds(local);
    let mut connection = forward::connection(pool, false, bounds).await?;
    let progress = Progress::Empty(tokio::time::Instant::now());
    let response = connection.send(&mut Some(copying.to_request()), bounds.response, &progress).await.ok()?;
    let status = response.status();
    let body = collect(response.into_body(), &mut connection, mirror.body_max).await;
    if body.is_some() {
        connection.give_back();
    }
    Some(Shadow { status, body })
}

impl Copying {
    fn to_request(&self) -> Request<RequestBody> {
        let body = self.request.borrow().concat();
        let body =
            if body.is_empty() { RequestBody::Empty } else { RequestBody::Full(Some(Bytes::from(body))) };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().remove(header::CONTENT_LENGTH);
        request.headers_mut().insert(SHADOW.clone(), HeaderValue::from_static("1"));
        request
    }

    fn example(&self, what: &str) -> String {
        let path: String = self.uri.path().chars().take(EXAMPLE_MAX).collect();
        format!("{} {path}: {what}", self.method)
    }
}

fn compare(
    copying: &Copying,
    local: &LocalRoutes,
    (status, latency): (StatusCode, Duration),
    shadow: &Shadow,
    shadow_latency: Duration,
) {
    let answer = copying.answer.borrow().concat();
    let ignore = local.routes.mirror.as_ref().and_then(|mirror| mirror.json.as_deref());
    let slower = shadow_latency > latency * 2 + SLOWER_BY;
    let (status_differs, body_differs) = match &shadow.body {
        _ if shadow.status != status => (true, false),
        Some(body) => (false, !same(&answer, body, ignore)),
        None => (false, true),
    };
    copying.count(|counters| {
        counters.answered += 1;
        counters.slower += u64::from(slower);
        counters.status_differs += u64::from(status_differs);
        counters.body_differs += u64::from(body_differs);
        if status_differs {
            let both = format!("{}/{}", status.as_u16(), shadow.status.as_u16());
            counters.examples.push(copying.example(&both));
        } else if body_differs {
            counters.examples.push(copying.example("body differs"));
        }
    });
}

/// Whether two bodies are the same; as JSON without the ignored parts when asked for and both are JSON.
fn same(user: &[u8], shadow: &[u8], ignore: Option<&[Vec<String>]>) -> bool {
    if user == shadow {
        return true;
    }
    let Some(ignore) = ignore else { return false };
    let parse = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    let (Some(mut user), Some(mut shadow)) = (parse(user), parse(shadow)) else { return false };
    for pointer in ignore {
        leave_out(&mut user, pointer);
        leave_out(&mut shadow, pointer);
    }
    user == shadow
}

/// Replaces what a pointer names by null; `*` names every key or index.
fn leave_out(value: &mut Value, pointer: &[String]) {
    let Some((segment, rest)) = pointer.split_first() else {
        *value = Value::Null;
        return;
    };
    match value {
        Value::Object(map) if rest.is_empty() && segment != "*" => {
            map.remove(segment);
        }
        Value::Object(map) => {
            map.iter_mut()
                .filter(|(key, _)| segment == "*" || *key == segment)
                .for_each(|(_, inner)| leave_out(inner, rest));
        }
        Value::Array(items) => {
            let index = segment.parse::<usize>().ok();
            let named = |at: usize| segment == "*" || index == Some(at);
            items
                .iter_mut()
                .enumerate()
                .filter(|(at, _)| named(*at))
                .for_each(|(_, inner)| leave_out(inner, rest));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(list: &[&str]) -> Vec<Vec<String>> {
        list.iter().map(|pointer| pointer.split('/').skip(1).map(String::from).collect()).collect()
    }

    #[test]
    fn json_bodies_are_the_same_when_only_ignored_parts_differ() {
        let user = br#"{"id": 1, "at": "now", "items": [{"t": 1, "v": 2}, {"t": 2, "v": 3}]}"#;
        let shadow = br#"{"at": "later", "items": [{"v": 2, "t": 9}, {"v": 3, "t": 8}], "id": 1}"#;
        assert!(same(user, shadow, Some(&pointers(&["/at", "/items/*/t"]))));
        assert!(!same(user, shadow, Some(&pointers(&["/at", "/items/0/t"]))));
        assert!(!same(user, shadow, None));
    }

    #[test]
    fn bodies_that_are_not_json_are_compared_byte_by_byte() {
        let ignore = pointers(&["/at"]);
        assert!(same(b"abc", b"abc", Some(&ignore)) && !same(b"abc", b"abd", Some(&ignore)));
    }
}
