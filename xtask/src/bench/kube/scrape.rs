//! From the scrape that makes a gate false to a weight of zero, with a real Prometheus in between.
//!
//! The services roll out side by side and are turned bad one after the other. Each is scraped once a second, at a moment of the
//! second that Prometheus chooses. Everything that its new release was asked between two scrapes fails, so the first scrape with a
//! failure is the one that makes the gate false: measured is from that scrape's request.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, bail};

use super::exporter::Exporter;
use super::{Asked, Bed, PATIENCE, quantile, request, submit_all, until_ended};
use crate::answer::{items, text};
use crate::dice::Dice;
use crate::figures::Figure;
use crate::house::{self, House, Peer};

/// The rollouts that turn bad, by the numbers of their services. None was deployed before.
pub(super) fn measure(
    house: &House,
    bed: &mut Bed,
    numbers: std::ops::Range<usize>,
    seed: u64,
) -> anyhow::Result<Figure> {
    let exporter = Exporter::start()?;
    let names: Vec<String> = numbers.clone().map(|number| format!("s{number}")).collect();
    let prometheus = Prometheus::start(&house.root().join("prometheus"), exporter.port(), &names)?;
    let asked =
        request(house, bed, &Asked { name: "scraped", bake: 600, watch: 0, more: &metric(&prometheus) })?;
    let ids = submit_all(house, &asked, numbers)?;
    for (id, name) in ids.iter().zip(&names) {
        let status = house.json(&["status", id])?;
        let (new, stable) = (text(&status, "/0/release"), text(&status, "/0/stable"));
        if new.is_empty() || stable.is_empty() {
            bail!("{name} has not two releases: {status}");
        }
        exporter.serve(name, new, stable);
    }
    let mut dice = Dice::new(seed, 0);
    let mut took = Vec::new();
    for (id, name) in ids.iter().zip(&names) {
        compared(house, id)?;
        // At a moment that has nothing to do with the scrapes.
        std::thread::sleep(Duration::from_millis(dice.below(1_000)));
        writeln!(bed.input, "watch {name}")?;
        exporter.turn(name);
        let line = bed.line()?;
        let zero: u64 = line.rsplit(' ').next().unwrap_or_default().parse().context(line.clone())?;
        let scraped = exporter.scraped(name).context("it went back before anything was scraped")?;
        let scraped = scraped.duration_since(UNIX_EPOCH)?;
        took.push((Duration::from_micros(zero).saturating_sub(scraped)).as_secs_f64() * 1_000.0);
    }
    println!("scrape to weight 0, ms: {took:.0?}");
    until_ended(house)?;
    blamed(house, &ids)?;
    let against = format!(
        "{} rollouts, scraped and asked once a second; p50 {:.0} ms",
        took.len(),
        quantile(&took, 50)
    );
    Figure::new("scrape_to_zero_p99_ms", quantile(&took, 99), "ms", "<= 2000", &against)
}

/// What a user writes who wants to be turned back fast: the standard gates ask the only metric that counts requests.
fn metric(prometheus: &Prometheus) -> String {
    let counter = |more: &str| {
        format!("'http_requests_total{{service=\"{{{{service}}}}\",release=\"{{{{release}}}}\"{more}}}'")
    };
    format!(
        "    metrics:\n      requests:\n        every: 1s\n        fresh: 10s\n        prometheus:\n          address: {}\n          \
         lookback: 10s\n          requests: {}\n          failures: {}\n    judgement: {{warmup: 0s}}\n",
        prometheus.address(),
        counter(""),
        counter(",code=~\"5..\""),
    )
}

/// Waits until the gate compares both releases.
fn compared(house: &House, id: &str) -> anyhow::Result<()> {
    house::wait_for("requests of both releases", PATIENCE, || {
        let live = house.ask(Peer::Engine, &format!("/v1/deployments/{id}/live")).ok()?;
        let compares = |one: &&serde_json::Value| {
            text(one, "/gate") == "error_rate" && one.pointer("/finding/for_mnat").is_some()
        };
        items(&live, "/judgements").iter().any(|one| compares(&one)).then_some(())
    })
}

/// The gate is what turned each of them back.
fn blamed(house: &House, ids: &[String]) -> anyhow::Result<()> {
    for id in ids {
        let said = house.run(&["why", id])?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        anyhow::ensure!(said.contains("error_rate"), "{id} did not go back because of its failures: {said}");
    }
    Ok(())
}

/// A Prometheus from the system's packages. It ends when this is dropped.
struct Prometheus {
    port: u16,
    child: Child,
}

impl Prometheus {
    /// Scrapes each service's page once a second.
    fn start(folder: &Path, exporter: u16, names: &[String]) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let job = |name: &String| {
            format!(
                "- {{job_name: {name}, metrics_path: /{name}, static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]}}\n"
            )
        };
        let jobs: String = names.iter().map(job).collect();
        let config = format!("global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{jobs}");
        fs::write(folder.join("prometheus.yml"), config)?;
        let port = *house::ports(1)?.first().context("no port")?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("log"))?)
            .spawn()
            .context("could not start Prometheus: run `cargo xtask setup`")?;
        let prometheus = Self { port, child };
        house::wait_for("Prometheus", Duration::from_secs(30), || prometheus.is_ready().then_some(()))?;
        Ok(prometheus)
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn is_ready(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET /-/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
