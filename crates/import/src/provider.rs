//! Providers of measurements as sources of metrics.

use crate::{
    difference::Report,
    duration,
    field::Field,
    form::{is_token, is_url},
    out::{Value, map, plain, text},
};

/// Headers of one question.
const HEADERS_MAX: usize = 32;
/// The longest that a source may take for an answer.
const TIMEOUT_MS_MAX: u64 = 60_000;

/// Where measurements come from; nothing when that is no source of Tidegate's, which the table of fields says.
pub(crate) fn source(
    provider: &Field<'_>,
    address: Option<&str>,
    report: &mut Report,
) -> Option<(&'static str, Value)> {
    if let Some(prometheus) = provider.get("prometheus") {
        return prometheus_of(&prometheus, address, report).map(|keys| ("prometheus", keys));
    }
    if let Some(web) = provider.get("web") {
        return web_of(&web, report).map(|keys| ("web", keys));
    }
    if provider.entries().is_empty() {
        report.error(provider, "no provider is named", "the gate is not written");
    }
    None
}

fn prometheus_of(asked: &Field<'_>, address: Option<&str>, report: &mut Report) -> Option<Value> {
    if asked.get("rangeQuery").is_some()
        || asked.get("authentication").is_some_and(|auth| !auth.entries().is_empty())
    {
        return None;
    }
    let address = asked.text_at("address").or(address);
    let Some(address) = address.filter(|address| is_url(address)) else {
        let theirs = "asks the Prometheus that the controller is configured with";
        report.error(
            asked,
            theirs,
            "name it: `tidegate import --prometheus http://HOST:9090`; the gate is not written",
        );
        return None;
    };
    let Some(query) = asked.text_at("query") else {
        report.error(asked, "asks nothing: `query` is missing", "the gate is not written");
        return None;
    };
    let mut keys = map([("address", text(address)), ("query", text(query.trim()))]);
    if let Some(timeout) = asked.get("timeout") {
        let ms = duration::seconds(Some(&timeout)).unwrap_or(30_000).clamp(1_000, TIMEOUT_MS_MAX);
        keys.put("timeout", plain(duration::said(ms)));
    } else {
        keys.put("timeout", plain("30s"));
    }
    insecure(asked, report);
    headers(asked, &mut keys, report);
    Some(keys)
}

fn web_of(asked: &Field<'_>, report: &mut Report) -> Option<Value> {
    if asked.get("authentication").is_some_and(|auth| !auth.entries().is_empty()) {
        return None;
    }
    let url = asked.text_at("url").unwrap_or_default();
    if !is_url(url) {
        report.error(
            asked,
            format!("asks `{url}`"),
            "not a web address without user and password; the gate is not written",
        );
        return None;
    }
    let method = asked.text_at("method").unwrap_or("GET");
    let body =
        asked.get("jsonBody").map(|body| json(&body)).or_else(|| asked.text_at("body").map(str::to_owned));
    match (method, &body) {
        ("GET", None) | ("POST", Some(_)) => {}
        _ => {
            let theirs = format!("asks with {method}");
            report.error(
                asked,
                theirs,
                "a web metric asks with GET, or with POST and a JSON body; the gate is not written",
            );
            return None;
        }
    }
    let path = asked.text_at("jsonPath").unwrap_or("$");
    if !is_simple_path(path) {
        let theirs = format!("finds the value by `{path}`");
        report.error(
            asked,
            theirs,
            "a path names one value: `$.member[0]['other member']`; the gate is not written",
        );
        return None;
    }
    let mut keys = map([("address", text(url))]);
    if let Some(body) = body {
        keys.put("body", text(body));
    }
    keys.put("path", text(path.trim().trim_start_matches('{').trim_end_matches('}')));
    let timeout = duration::seconds(asked.get("timeoutSeconds").as_ref()).filter(|ms| *ms > 0);
    keys.put("timeout", plain(duration::said(timeout.unwrap_or(10_000).min(TIMEOUT_MS_MAX))));
    insecure(asked, report);
    headers(asked, &mut keys, report);
    Some(keys)
}

fn insecure(asked: &Field<'_>, report: &mut Report) {
    if let Some(insecure) = asked.get("insecure").filter(|insecure| insecure.truth() == Some(true)) {
        report.warn(
            &insecure,
            "any certificate is accepted",
            "the certificate is checked: name its authority by `ca`",
        );
    }
}

/// Headers as they are; a bearer token that comes from a Secret becomes a variable of the engine's process.
fn headers(asked: &Field<'_>, keys: &mut Value, report: &mut Report) {
    let mut headers = Vec::new();
    for header in asked.get("headers").map(|headers| headers.items()).unwrap_or_default() {
        let name = header.text_at("key").unwrap_or_default();
        let value = header.text_at("value").unwrap_or_default();
        let bearer = value.strip_prefix("Bearer ").and_then(secret);
        match bearer {
            Some(variable) if name.eq_ignore_ascii_case("authorization") => {
                let theirs = "a token from a Secret";
                let ours = format!(
                    "read from the environment variable `{variable}` of the server's process: set it from that Secret"
                );
                report.warn(&header, theirs, ours);
                keys.put("auth", map([("bearer", map([("variable", text(variable))]))]));
            }
            _ if !is_token(name) || value.is_empty() || headers.len() >= HEADERS_MAX => {
                report.warn(&header, "a header without a name or a value, or one too many", "not sent");
            }
            _ => headers.push((name.to_owned(), text(value))),
        }
    }
    if !headers.is_empty() {
        keys.put("headers", Value::Map(headers));
    }
}

/// What stands in a text where a value of a Secret comes in: the name and the key.
pub(crate) fn secret_mark(name: &str, key: &str) -> String {
    format!("{{{{secret {name}/{key}}}}}")
}

/// The variable that stands for a text that is nothing but a value of a Secret.
fn secret(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix("{{secret ")?.strip_suffix("}}")?;
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let variable: String = inner.chars().map(upper).collect();
    Some(if variable.starts_with(|c: char| c.is_ascii_digit()) { format!("_{variable}") } else { variable })
}

/// Whether a value of a Secret is left somewhere in what will be written.
pub(crate) fn holds_secret(value: &Value) -> bool {
    match value {
        Value::Text(text) | Value::Plain(text) => text.contains("{{secret "),
        Value::Map(entries) => entries.iter().any(|(_, value)| holds_secret(value)),
        Value::List(items) => items.iter().any(holds_secret),
    }
}

/// The same question, about a member of what it finds.
pub(crate) fn at_member(keys: &Value, member: &str) -> Value {
    let Value::Map(entries) = keys else { return keys.clone() };
    let longer = |(key, value): &(String, Value)| match value {
        Value::Text(path) if key == "path" => (key.clone(), text(format!("{path}{member}"))),
        Value::Text(_) | Value::Plain(_) | Value::Map(_) | Value::List(_) => (key.clone(), value.clone()),
    };
    Value::Map(entries.iter().map(longer).collect())
}

/// Whether a path names at most one value: `{$.a[0]['b']}`.
fn is_simple_path(path: &str) -> bool {
    let path = path.trim();
    let path = path.strip_prefix('{').and_then(|p| p.strip_suffix('}')).unwrap_or(path);
    let Some(mut rest) = path.strip_prefix('$') else { return false };
    while !rest.is_empty() {
        let member = |c: char| c.is_alphanumeric() || c == '_';
        if let Some(behind) = rest.strip_prefix('.') {
            let end = behind.find(|c| !member(c)).unwrap_or(behind.len());
            if end == 0 || behind.starts_with(|c: char| c.is_ascii_digit()) {
                return false;
            }
            rest = behind.get(end..).unwrap_or_default();
        } else if let Some((inside, behind)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let quoted = inside.len() > 2
                && inside.starts_with('\'')
                && inside.ends_with('\'')
                && !inside.contains('\\');
            let index = inside.strip_prefix('-').unwrap_or(inside);
            let number = !index.is_empty() && index.len() < 10 && index.chars().all(|c| c.is_ascii_digit());
            if !quoted && !number {
                return false;
            }
            rest = behind;
        } else {
            return false;
        }
    }
    true
}

/// A value as JSON, for a body.
fn json(field: &Field<'_>) -> String {
    if field.is_map() {
        let members: Vec<String> =
            field.entries().iter().map(|(key, value)| format!("{}:{}", quoted(key), json(value))).collect();
        return format!("{{{}}}", members.join(","));
    }
    if field.is_list() {
        return format!("[{}]", field.items().iter().map(json).collect::<Vec<_>>().join(","));
    }
    let text = field.text().unwrap_or_default();
    let bare = field.is_plain()
        && (field.is_null() || field.truth().is_some() || text.parse::<f64>().is_ok_and(f64::is_finite));
    match (bare, field.is_null()) {
        (true, true) => "null".to_owned(),
        (true, false) => text.to_owned(),
        (false, _) => quoted(text),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
