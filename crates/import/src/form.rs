//! What `tidegate.yaml` takes as a name or an address.

/// The longest time that can be written for a step, a wait or an interval: a week.
pub(crate) const WEEK_MS: u64 = 7 * 86_400_000;

/// Whether an object of Kubernetes can have this name (RFC 1123).
pub(crate) fn is_object(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 253
        && text.starts_with(ends)
        && text.ends_with(ends)
        && text.chars().all(|c| ends(c) || c == '-' || c == '.')
}

/// Whether this is a web address without a user.
pub(crate) fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    !authority.is_empty() && !authority.contains('@') && text.chars().all(|c| c.is_ascii_graphic())
}

/// Whether a header can have this name.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
