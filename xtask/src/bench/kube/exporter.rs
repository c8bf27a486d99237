//! Counters of made-up users, served where Prometheus scrapes them: one page for each service, with both of its releases.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;

/// Requests of each release, a second.
const RATE: f64 = 100.0;
/// Longest wait for a scrape's request and for its answer.
const SCRAPE_MAX: Duration = Duration::from_secs(2);

/// The pages. They are served as long as the process lives.
#[derive(Clone)]
pub(super) struct Exporter {
    port: u16,
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
}

/// One service's counters.
struct Page {
    new: String,
    stable: String,
    since: Instant,
    health: Health,
}

/// How the new release does.
#[derive(Clone, Copy)]
enum Health {
    /// Nothing fails.
    Good,
    /// Everything fails from the next scrape on, so that the one after it is the first to say so, and says it of a whole interval.
    Turning,
    /// Everything has failed since then.
    Bad {
        since: Instant,
        /// When a failure was first handed out.
        scraped: Option<SystemTime>,
    },
}

impl Exporter {
    /// Listens on a free port of the loopback interface.
    pub(super) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for the exporter")?;
        let exporter = Self { port: listener.local_addr()?.port(), pages: Arc::default() };
        let serving = exporter.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who asks for something else, or leaves, gets no answer: the next scrape comes in a second.
                let _ = serving.answer(stream);
            }
        });
        Ok(exporter)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Both releases of a service count from now on.
    pub(super) fn serve(&self, service: &str, new: &str, stable: &str) {
        let (new, stable) = (new.to_owned(), stable.to_owned());
        let page = Page { new, stable, since: Instant::now(), health: Health::Good };
        self.pages().insert(service.to_owned(), page);
    }

    /// The new release of a service is bad from its next scrape on.
    pub(super) fn turn(&self, service: &str) {
        if let Some(page) = self.pages().get_mut(service) {
            page.health = Health::Turning;
        }
    }

    /// When Prometheus first asked for a page with failures; nothing before.
    pub(super) fn scraped(&self, service: &str) -> Option<SystemTime> {
        match self.pages().get(service)?.health {
            Health::Bad { scraped, .. } => scraped,
            Health::Good | Health::Turning => None,
        }
    }

    fn answer(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        stream.set_read_timeout(Some(SCRAPE_MAX))?;
        stream.set_write_timeout(Some(SCRAPE_MAX))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let asked = (Instant::now(), SystemTime::now());
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        let service = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        let body = self.pages().get_mut(service).map_or_else(String::new, |page| page.text(service, asked));
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        Ok(())
    }

    fn pages(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    /// The page as it is scraped now.
    fn text(&mut self, service: &str, (now, clock): (Instant, SystemTime)) -> String {
        let failed = match &mut self.health {
            Health::Good => 0.0,
            Health::Turning => {
                self.health = Health::Bad { since: now, scraped: None };
                0.0
            }
            Health::Bad { since, scraped } => {
                scraped.get_or_insert(clock);
                counted(now, *since)
            }
        };
        let all = counted(now, self.since);
        let line = |release: &str, code: &str, count: f64| {
            format!(
                "http_requests_total{{service=\"{service}\",release=\"{release}\",code=\"{code}\"}} {count}\n"
            )
        };
        [
            "# TYPE http_requests_total counter\n".to_owned(),
            line(&self.new, "200", all - failed),
            line(&self.new, "500", failed),
            line(&self.stable, "200", all),
            line(&self.stable, "500", 0.0),
        ]
        .concat()
    }
}

fn counted(now: Instant, since: Instant) -> f64 {
    (now.saturating_duration_since(since).as_secs_f64() * RATE).floor()
}
