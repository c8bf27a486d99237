//! The counters as Prometheus text (exposition format 0.0.4).

use std::fmt::{self, Write as _};

use super::Control;
use super::kept::Kept;
use crate::protocol::{Lease, MirrorCounters, ReleaseCounters, ServiceCounters, ServiceStatus};

/// Upper edges of the exported latency buckets, microseconds. Coarser than the counters' own: a scrape stays small.
const EDGES_US: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// Everything a scraper gets.
pub(crate) async fn render(control: &Control) -> String {
    let (counters, statuses) = {
        let state = control.state.lock().await;
        let counters: Vec<ServiceCounters> =
            state.services.values().map(|kept| kept.service.stats.read(&kept.service.name)).collect();
        let statuses: Vec<ServiceStatus> = state.services.values().filter_map(Kept::status).collect();
        (counters, statuses)
    };
    let mut page = String::new();
    // Writing to a `String` cannot fail.
    let _ = write_page(&mut page, control, &counters, &statuses);
    page
}

fn write_page(
    page: &mut String,
    control: &Control,
    counters: &[ServiceCounters],
    statuses: &[ServiceStatus],
) -> fmt::Result {
    let status = control.status();
    head(page, "tidegate_proxy_info", "gauge", "What this process is; always 1.")?;
    writeln!(page, "tidegate_proxy_info{{version=\"{}\",boot=\"{}\"}} 1", status.version, status.boot)?;
    head(page, "tidegate_proxy_uptime_seconds", "gauge", "Time since start.")?;
    writeln!(page, "tidegate_proxy_uptime_seconds {}", seconds(status.uptime_ms.saturating_mul(1_000)))?;
    releases(page, counters)?;
    failures(page, counters)?;
    latency(page, counters)?;
    head(page, "tidegate_unrouted_total", "counter", "Requests that no release answered.")?;
    for service in counters {
        writeln!(page, "tidegate_unrouted_total{{service=\"{}\"}} {}", service.service, service.unrouted)?;
    }
    mirrors(page, counters)?;
    tables(page, statuses)
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// Seconds with microseconds, without rounding through a float.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

fn each(counters: &[ServiceCounters]) -> impl Iterator<Item = (String, &ReleaseCounters)> {
    counters.iter().flat_map(|service| {
        service.releases.iter().map(move |release| {
            (format!("service=\"{}\",release=\"{}\"", service.service, release.release), release)
        })
    })
}

fn releases(page: &mut String, counters: &[ServiceCounters]) -> fmt::Result {
    type Read = fn(&ReleaseCounters) -> u64;
    let columns: [(&str, &str, &str, Read); 5] = [
        ("tidegate_requests_total", "counter", "Requests ended, whatever the answer.", |one| one.requests),
        ("tidegate_in_flight", "gauge", "Requests in flight.", |one| one.in_flight),
        ("tidegate_upgraded_open", "gauge", "Upgraded connections open.", |one| one.upgraded),
        ("tidegate_received_bytes_total", "counter", "Body bytes from users.", |one| one.bytes_in),
        ("tidegate_sent_bytes_total", "counter", "Body bytes to users.", |one| one.bytes_out),
    ];
    for (name, kind, help, read) in columns {
        head(page, name, kind, help)?;
        for (labels, release) in each(counters) {
            writeln!(page, "{name}{{{labels}}} {}", read(release))?;
        }
    }
    Ok(())
}

fn failures(page: &mut String, counters: &[ServiceCounters]) -> fmt::Result {
    head(page, "tidegate_failures_total", "counter", "Failed requests by class.")?;
    for (labels, release) in each(counters) {
        let failures = &release.failures;
        let classes = [
            ("server_error", failures.server_error),
            ("connect", failures.connect),
            ("reset", failures.reset),
            ("timeout", failures.timeout),
            ("unavailable", failures.unavailable),
        ];
        for (class, count) in classes {
            writeln!(page, "tidegate_failures_total{{{labels},class=\"{class}\"}} {count}")?;
        }
    }
    Ok(())
}

fn latency(page: &mut String, counters: &[ServiceCounters]) -> fmt::Result {
    let name = "tidegate_request_duration_seconds";
    head(page, name, "histogram", "From the request's head to the answer's end of body.")?;
    for (labels, release) in each(counters) {
        for edge in EDGES_US {
            let below = release.latency_us.iter().filter(|(upper, _)| *upper <= edge);
            let count: u64 = below.map(|(_, count)| count).sum();
            writeln!(page, "{name}_bucket{{{labels},le=\"{}\"}} {count}", seconds(edge))?;
        }
        let count: u64 = release.latency_us.iter().map(|(_, count)| count).sum();
        writeln!(page, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
        writeln!(page, "{name}_sum{{{labels}}} {}", seconds(release.latency_sum_us))?;
        writeln!(page, "{name}_count{{{labels}}} {count}")?;
    }
    Ok(())
}

fn mirrors(page: &mut String, counters: &[ServiceCounters]) -> fmt::Result {
    type Read = fn(&MirrorCounters) -> u64;
    let columns: [(&str, Read); 7] = [
        ("answered", |one| one.answered),
        ("failed", |one| one.failed),
        ("dropped", |one| one.dropped),
        ("too_large", |one| one.too_large),
        ("status_differs", |one| one.status_differs),
        ("body_differs", |one| one.body_differs),
        ("slower", |one| one.slower),
    ];
    head(
        page,
        "tidegate_mirror_total",
        "counter",
        "Mirrored requests by outcome; one request may count in several.",
    )?;
    for service in counters {
        let Some(mirror) = &service.mirror else { continue };
        for (outcome, read) in columns {
            let labels = format!("service=\"{}\",release=\"{}\"", service.service, mirror.release);
            writeln!(page, "tidegate_mirror_total{{{labels},outcome=\"{outcome}\"}} {}", read(mirror))?;
        }
    }
    Ok(())
}

fn tables(page: &mut String, statuses: &[ServiceStatus]) -> fmt::Result {
    let labelled = |status: &ServiceStatus| -> Vec<(String, u16, u32)> {
        let names = status.table.releases.iter().map(|route| route.release.as_str());
        names
            .zip(&status.weights)
            .zip(&status.healthy)
            .map(|((release, weight), healthy)| {
                (format!("service=\"{}\",release=\"{release}\"", status.table.service), *weight, *healthy)
            })
            .collect()
    };
    head(page, "tidegate_weight_basis_points", "gauge", "Share in force; 10000 is all.")?;
    for (labels, weight, _) in statuses.iter().flat_map(labelled) {
        writeln!(page, "tidegate_weight_basis_points{{{labels}}} {weight}")?;
    }
    head(page, "tidegate_healthy_endpoints", "gauge", "Endpoints known to be healthy.")?;
    for (labels, _, healthy) in statuses.iter().flat_map(labelled) {
        writeln!(page, "tidegate_healthy_endpoints{{{labels}}} {healthy}")?;
    }
    head(
        page,
        "tidegate_lease_ended",
        "gauge",
        "1 when the canary lease ended and traffic is back on stable.",
    )?;
    for status in statuses {
        let ended = u8::from(matches!(status.lease, Lease::Ended { .. }));
        writeln!(page, "tidegate_lease_ended{{service=\"{}\"}} {ended}", status.table.service)?;
    }
    Ok(())
}
