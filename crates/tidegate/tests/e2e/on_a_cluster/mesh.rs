//! A data plane and its users: it splits requests as the route on the API server says, and counts them where Prometheus scrapes.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use serde_json::Value;
use tidegate_bed::Access;

/// Requests of all users, a second.
const RATE: f64 = 400.0;

/// The data plane of one route. It lives as long as the tests.
#[derive(Clone)]
pub(super) struct Mesh {
    pub(super) port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    admin: &'static Access,
    route: String,
    /// Whether it does what the route says; otherwise everything goes to the stable release.
    follows: bool,
    /// Whether half of the new release's answers are failures.
    failing: bool,
    releases: [Release; 2],
    last: Instant,
}

#[derive(Default)]
struct Release {
    tag: String,
    requests: f64,
    failures: f64,
}

impl Mesh {
    /// Behind the `HTTPRoute` at this path.
    pub(super) fn of(admin: &'static Access, route: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = State {
            admin,
            route: route.to_owned(),
            follows: true,
            failing: false,
            releases: Default::default(),
            last: Instant::now(),
        };
        let mesh = Self { port, state: Arc::new(Mutex::new(state)) };
        let serving = mesh.clone();
        thread::spawn(move || {
            for mut scrape in listener.incoming().flatten() {
                let mut asked = [0; 4];
                if scrape.read_exact(&mut asked).is_err() {
                    continue;
                }
                let body = serving.state().page();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                // Whoever left is not answered.
                drop(scrape.write_all((head + &body).as_bytes()));
            }
        });
        mesh
    }

    /// Another rollout: users have asked nothing of these two yet.
    pub(super) fn carries(&self, new: &str, stable: &str) {
        let release = |tag: &str| Release { tag: tag.to_owned(), ..Release::default() };
        let mut state = self.state();
        (state.releases, state.failing) = ([release(new), release(stable)], false);
        state.last = Instant::now();
    }

    pub(super) fn follows(&self, follows: bool) {
        self.state().follows = follows;
    }

    pub(super) fn fails(&self) {
        self.state().failing = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts what came since the last page.
    fn page(&mut self) -> String {
        let [share, copies] = if self.follows { self.shares() } else { [0.0, 0.0] };
        let came = self.last.elapsed().as_secs_f64() * RATE;
        self.last = Instant::now();
        let failing = if self.failing { 0.5 } else { 0.0 };
        let mut text = "# TYPE http_requests_total counter\n".to_owned();
        for (release, part, failing) in self
            .releases
            .iter_mut()
            .zip([share + copies, 1.0 - share])
            .zip([failing, 0.0])
            .map(|((a, b), c)| (a, b, c))
        {
            release.requests += came * part;
            release.failures += came * part * failing;
            let (all, failed) = (release.requests.floor(), release.failures.floor());
            for (code, count) in [("200", all - failed), ("500", failed)] {
                let line =
                    format!("http_requests_total{{release=\"{}\",code=\"{code}\"}} {count}\n", release.tag);
                text.push_str(&line);
            }
        }
        text
    }

    /// The new release's share of the requests and of copies as the API server has them now.
    fn shares(&self) -> [f64; 2] {
        let route = self.admin.get(&self.route).unwrap_or_default();
        let part = |[of, all]: [u64; 2]| of as f64 / all.max(1) as f64;
        [part(weights(&route)), part([copies(&route), 100])]
    }
}

/// The weight of the new release's backend, and of all.
pub(super) fn weights(route: &Value) -> [u64; 2] {
    let backends = route.pointer("/spec/rules/0/backendRefs").and_then(Value::as_array);
    let weight = |one: &Value| one.get("weight").and_then(Value::as_u64).unwrap_or(1);
    let of_preview = |one: &&Value| one["name"] == "shop-preview";
    let all = || backends.into_iter().flatten();
    [all().filter(of_preview).map(weight).sum(), all().map(weight).sum()]
}

/// How many of 100 requests are copied to the new release.
pub(super) fn copies(route: &Value) -> u64 {
    let filters = route.pointer("/spec/rules/0/filters").and_then(Value::as_array).into_iter().flatten();
    let mirror = |one: &Value| {
        let mirror = one.get("requestMirror")?;
        Some(mirror.get("percent").and_then(Value::as_u64).unwrap_or(100))
    };
    filters.filter_map(mirror).sum()
}
