//! Makes a service's [`Routes`] from its table.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::{Condition, Cookie, Key, Mirror, Release, Routes, Rule, parse_address};
use crate::endpoint::Endpoint;
use crate::protocol::{self, Backend, Match, ServiceTable, Sticky};
use crate::stats::ReleaseStats;

/// Where the compiler gets what lives longer than one table.
pub(crate) trait Compiling {
    /// The addresses of the release's ready instances.
    fn supervised(&self, release: &str) -> Vec<SocketAddr>;
    /// The endpoint of an address; the same one for the same release and address.
    fn endpoint(&self, release: &str, address: SocketAddr, supervised: bool) -> Arc<Endpoint>;
    /// The counters of a release.
    fn stats(&self, release: &str) -> Arc<ReleaseStats>;
}

/// Compiles a validated table. With `lease_ended`, everything goes to the stable release: weights, rules and mirror of the
/// others are left out.
pub(crate) fn compile(
    table: &ServiceTable,
    lease_ended: bool,
    world: &dyn Compiling,
) -> Result<Routes, String> {
    let stable = table.stable.as_deref().and_then(|stable| place(table, stable));
    let mut releases = Vec::with_capacity(table.releases.len());
    for (at, route) in table.releases.iter().enumerate() {
        let weight = if lease_ended { returned(stable == Some(at)) } else { route.weight };
        releases.push(release(route, weight, world)?);
    }
    let (rules, mirror) = if lease_ended { (Vec::new(), None) } else { (rules(table)?, mirror(table)?) };
    Ok(Routes {
        mode: table.mode.clone(),
        limits: table.limits.clone(),
        health: table.health.clone(),
        split: split(&releases, stable),
        releases,
        stable,
        sticky: table.sticky.as_ref().map(key).transpose()?,
        rules,
        mirror,
    })
}

const fn returned(stable: bool) -> u16 {
    if stable { 10_000 } else { 0 }
}

fn place(table: &ServiceTable, release: &str) -> Option<usize> {
    table.releases.iter().position(|route| route.release == release)
}

fn release(route: &protocol::ReleaseRoute, weight: u16, world: &dyn Compiling) -> Result<Release, String> {
    let supervised = matches!(route.backend, Backend::Supervised);
    let mut addresses = match &route.backend {
        Backend::Supervised => world.supervised(&route.release),
        Backend::Fixed(fixed) => fixed.iter().map(|text| parse_address(text)).collect::<Result<_, _>>()?,
    };
    addresses.sort_unstable();
    addresses.dedup();
    Ok(Release {
        tag: route.release.clone(),
        tag_value: HeaderValue::from_str(&route.release)
            .map_err(|_| format!("release `{}` cannot be sent in a header", route.release))?,
        weight,
        endpoints: addresses.into_iter().map(|one| world.endpoint(&route.release, one, supervised)).collect(),
        stats: world.stats(&route.release),
    })
}

/// The buckets: releases other than the stable one take the lowest, in the table's order, so that a user who is on one of
/// them stays there while its share rises; the stable one takes the rest.
fn split(releases: &[Release], stable: Option<usize>) -> Vec<(u16, usize)> {
    let others = (0..releases.len()).filter(|at| Some(*at) != stable);
    let mut upper = 0_u16;
    let mut split = Vec::new();
    for at in others.chain(stable) {
        let weight = releases.get(at).map_or(0, |release| release.weight);
        if weight > 0 {
            upper = upper.saturating_add(weight);
            split.push((upper, at));
        }
    }
    split
}

fn key(sticky: &Sticky) -> Result<Key, String> {
    Ok(match sticky {
        Sticky::Cookie(name) => Key::Cookie(Cookie::new(name)),
        Sticky::Header(name) => Key::Header(header(name)?),
        Sticky::ClientAddress => Key::ClientAddress,
    })
}

fn header(name: &str) -> Result<HeaderName, String> {
    name.parse().map_err(|_| format!("`{name}` is not a name for a header"))
}

fn rules(table: &ServiceTable) -> Result<Vec<Rule>, String> {
    let mut rules = Vec::with_capacity(table.rules.len());
    for rule in &table.rules {
        if let Some(release) = place(table, &rule.release) {
            let when = rule.when.iter().map(condition).collect::<Result<_, _>>()?;
            rules.push(Rule { when, release });
        }
    }
    Ok(rules)
}

fn condition(when: &Match) -> Result<Condition, String> {
    Ok(match when {
        Match::Header { name, value } => {
            Condition::Header(header(name)?, value.as_ref().map(|value| value.clone().into_bytes()))
        }
        Match::Cookie { name, value } => Condition::Cookie(name.clone(), value.clone()),
        Match::PathPrefix(path) => Condition::PathPrefix(path.clone()),
    })
}

fn mirror(table: &ServiceTable) -> Result<Option<Mirror>, String> {
    let Some(mirror) = table.mirror.as_ref().filter(|mirror| mirror.share > 0) else { return Ok(None) };
    let Some(release) = place(table, &mirror.release) else { return Ok(None) };
    let method = |name: &String| name.parse::<Method>().map_err(|_| format!("`{name}` is not a method"));
    Ok(Some(Mirror {
        release,
        share: mirror.share,
        methods: mirror.methods.iter().map(method).collect::<Result<_, _>>()?,
        body_max: usize::try_from(mirror.body_max).unwrap_or(usize::MAX),
        in_flight_max: mirror.in_flight_max,
        timeout_ms: mirror.timeout_ms,
        json: mirror
            .json
            .as_ref()
            .map(|json| json.pointers.iter().map(|pointer| segments(pointer)).collect()),
    }))
}

/// Cuts a JSON pointer (RFC 6901) into its unescaped segments.
fn segments(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect()
}
