//! Refuses tables that cannot be carried, with a sentence that says why.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::parse_address;
use crate::protocol::{Backend, Match, Mirror, Mode, ServiceTable, Sticky, TlsFiles};

/// Releases in one table.
const RELEASES_MAX: usize = 64;
/// Fixed addresses of one release.
const ENDPOINTS_MAX: usize = 1_024;
/// Rules in one table, conditions in one rule, pointers of one mirror.
const RULES_MAX: usize = 256;
/// Addresses for users of one service.
const LISTEN_MAX: usize = 64;
/// Longest time in a table, milliseconds (one day): keeps every deadline far from overflow.
const TIME_MAX_MS: u64 = 86_400_000;
/// Longest maintenance page, bytes.
const PAGE_MAX: usize = 256 * 1_024;
/// Largest body that may be mirrored, bytes.
const MIRROR_BODY_MAX: u64 = 8 * 1_024 * 1_024;

/// One address to listen on.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<TlsFiles>,
}

/// Checks a name that becomes a file name: letters, digits, `.`, `_` and `-`, at most 100, not starting with a dot.
pub(crate) fn validate_name(what: &str, name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(format!(
            "{what} `{name}` must be 1 to 100 letters, digits, `.`, `_` or `-`, and not start with a dot"
        ));
    }
    Ok(())
}

/// The addresses of a table.
pub(crate) fn listen_addresses(table: &ServiceTable) -> Result<Vec<Listen>, String> {
    if table.listen.len() > LISTEN_MAX {
        return Err(format!(
            "`listen` has {} addresses, at most {LISTEN_MAX} are allowed",
            table.listen.len()
        ));
    }
    let mut seen = BTreeSet::new();
    let mut addresses = Vec::new();
    for listen in &table.listen {
        let address = parse_address(&listen.address)?;
        if address.port() != 0 && !seen.insert(address) {
            return Err(format!("`listen` names {address} twice"));
        }
        addresses.push(Listen { address, tls: listen.tls.clone() });
    }
    Ok(addresses)
}

/// Checks everything of a table that can be checked without touching the world.
pub(crate) fn validate(table: &ServiceTable) -> Result<(), String> {
    validate_name("service", &table.service)?;
    listen_addresses(table)?;
    releases(table)?;
    rules(table)?;
    if let Some(mirror) = &table.mirror {
        mirrored(table, mirror)?;
    }
    match &table.sticky {
        Some(Sticky::Cookie(name)) => cookie_name(name)?,
        Some(Sticky::Header(name)) => header_name(name)?,
        Some(Sticky::ClientAddress) | None => {}
    }
    mode(&table.mode)?;
    health(table)?;
    times(table)
}

fn releases(table: &ServiceTable) -> Result<(), String> {
    if table.releases.len() > RELEASES_MAX {
        return Err(format!(
            "`releases` has {} entries, at most {RELEASES_MAX} are allowed",
            table.releases.len()
        ));
    }
    let mut names = BTreeSet::new();
    let mut sum = 0_u32;
    for route in &table.releases {
        validate_name("release", &route.release)?;
        if !names.insert(route.release.as_str()) {
            return Err(format!("`releases` names `{}` twice", route.release));
        }
        sum += u32::from(route.weight);
        if let Backend::Fixed(addresses) = &route.backend {
            if addresses.len() > ENDPOINTS_MAX {
                return Err(format!("release `{}` has more than {ENDPOINTS_MAX} addresses", route.release));
            }
            addresses.iter().try_for_each(|address| parse_address(address).map(|_| ()))?;
        }
    }
    if sum != 0 && sum != 10_000 {
        return Err(format!(
            "the weights sum to {sum}, they must sum to 10000, or to 0 when nothing is routed"
        ));
    }
    match &table.stable {
        Some(stable) => known(table, "stable", stable),
        None if table.lease_ms.is_some() => {
            Err("`lease_ms` needs `stable`: where traffic returns to".to_owned())
        }
        None => Ok(()),
    }
}

fn known(table: &ServiceTable, what: &str, release: &str) -> Result<(), String> {
    if table.releases.iter().any(|route| route.release == release) {
        return Ok(());
    }
    Err(format!("`{what}` names release `{release}`, which is not in `releases`"))
}

fn rules(table: &ServiceTable) -> Result<(), String> {
    if table.rules.len() > RULES_MAX {
        return Err(format!("`rules` has {} entries, at most {RULES_MAX} are allowed", table.rules.len()));
    }
    for rule in &table.rules {
        known(table, "rules", &rule.release)?;
        if rule.when.is_empty() || rule.when.len() > RULES_MAX {
            return Err(format!(
                "a rule for release `{}` needs 1 to {RULES_MAX} conditions; to send everything there, set its weight",
                rule.release
            ));
        }
        rule.when.iter().try_for_each(condition)?;
    }
    Ok(())
}

fn condition(when: &Match) -> Result<(), String> {
    match when {
        Match::Header { name, .. } => header_name(name),
        Match::Cookie { name, .. } => cookie_name(name),
        Match::PathPrefix(path) if path.starts_with('/') => Ok(()),
        Match::PathPrefix(path) => Err(format!("`path_prefix` is `{path}`, it must start with `/`")),
    }
}

fn header_name(name: &str) -> Result<(), String> {
    name.parse::<HeaderName>().map(|_| ()).map_err(|_| format!("`{name}` is not a name for a header"))
}

fn cookie_name(name: &str) -> Result<(), String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(token) {
        return Err(format!("`{name}` is not a name for a cookie"));
    }
    Ok(())
}

fn mirrored(table: &ServiceTable, mirror: &Mirror) -> Result<(), String> {
    known(table, "mirror", &mirror.release)?;
    if mirror.share > 10_000 {
        return Err(format!("the mirror's share is {}, at most 10000 is possible", mirror.share));
    }
    if mirror.body_max > MIRROR_BODY_MAX {
        return Err(format!(
            "the mirror's `body_max` is {}, at most {MIRROR_BODY_MAX} is allowed",
            mirror.body_max
        ));
    }
    for method in &mirror.methods {
        if method.parse::<Method>().is_err() {
            return Err(format!("`{method}` is not a method"));
        }
    }
    let pointers = mirror.json.as_ref().map_or(&[][..], |json| &json.pointers);
    if pointers.len() > RULES_MAX {
        return Err(format!(
            "the mirror ignores {} JSON pointers, at most {RULES_MAX} are allowed",
            pointers.len()
        ));
    }
    match pointers.iter().find(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
        Some(pointer) => Err(format!("`{pointer}` is not a JSON pointer: it must start with `/`")),
        None => Ok(()),
    }
}

fn mode(mode: &Mode) -> Result<(), String> {
    if let Mode::Maintenance { status, body, .. } = mode {
        if StatusCode::from_u16(*status).is_err() || *status < 200 {
            return Err(format!("maintenance status {status} is not a final HTTP status"));
        }
        if body.len() > PAGE_MAX {
            return Err(format!(
                "the maintenance page has {} bytes, at most {PAGE_MAX} are allowed",
                body.len()
            ));
        }
    }
    Ok(())
}

fn health(table: &ServiceTable) -> Result<(), String> {
    let Some(active) = &table.health.active else { return Ok(()) };
    if !active.path.starts_with('/')
        || HeaderValue::from_str(&active.path).is_err()
        || active.path.contains(' ')
    {
        return Err(format!(
            "the health path is `{}`, it must start with `/` and hold no space",
            active.path
        ));
    }
    if active.interval_ms < 10 || active.timeout_ms == 0 || active.rise == 0 || active.fall == 0 {
        return Err(
            "active health needs `interval_ms` of at least 10, and `timeout_ms`, `rise` and `fall` above 0"
                .into(),
        );
    }
    Ok(())
}

fn times(table: &ServiceTable) -> Result<(), String> {
    let limits = &table.limits;
    let positive = [
        ("limits.connect_ms", limits.connect_ms),
        ("limits.response_ms", limits.response_ms),
        ("limits.idle_ms", limits.idle_ms),
        ("limits.header_read_ms", limits.header_read_ms),
        ("lease_ms", table.lease_ms.unwrap_or(1)),
        ("mirror.timeout_ms", table.mirror.as_ref().map_or(1, |mirror| mirror.timeout_ms)),
    ];
    if let Some((name, _)) = positive.iter().find(|(_, ms)| *ms == 0) {
        return Err(format!("`{name}` must be above 0"));
    }
    let hold = if let Mode::Hold { wait_max_ms, .. } = &table.mode { *wait_max_ms } else { 0 };
    let active = table.health.active.as_ref();
    let others = [
        ("limits.drain_ms", limits.drain_ms),
        ("limits.drain_upgraded_ms", limits.drain_upgraded_ms),
        ("mode.hold.wait_max_ms", hold),
        ("health.min_healthy_ms", table.health.min_healthy_ms),
        ("health.slow_start_ms", table.health.slow_start_ms),
        ("health.passive.eject_ms", table.health.passive.eject_ms),
        ("health.active.interval_ms", active.map_or(1, |active| active.interval_ms)),
        ("health.active.timeout_ms", active.map_or(1, |active| active.timeout_ms)),
    ];
    match positive.iter().chain(&others).find(|(_, ms)| *ms > TIME_MAX_MS) {
        Some((name, ms)) => Err(format!("`{name}` is {ms}, at most {TIME_MAX_MS} (one day) is allowed")),
        None => Ok(()),
    }
}
