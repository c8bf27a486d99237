//! Numbers with units: durations, shares, sizes and decimals.

use super::finding::{Code, Complaint, shown};

/// Units of time, largest first, in milliseconds.
const TIME: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
/// Units of size, in bytes.
const SIZE: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// `1m30s` as milliseconds.
pub(super) fn duration(text: &str, min: u64, max: u64) -> Result<u64, Complaint> {
    let Some(ms) = milliseconds(text) else { return Err(not_a_duration(text)) };
    if ms < min || ms > max {
        let message =
            format!("`{}` is out of range: {} to {}", shown(text), duration_text(min), duration_text(max));
        return Err(Complaint::new(Code::OutOfRange, message));
    }
    Ok(ms)
}

/// `None` when it is not `<number><unit>` once or several times, largest unit first, or beyond 64 bits.
fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, next) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let scale = TIME.iter().find(|(name, _)| *name == unit)?.1;
        if scale >= last {
            return None;
        }
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(scale)?)?;
        last = scale;
        rest = next;
    }
    (last != u64::MAX).then_some(total)
}

fn not_a_duration(text: &str) -> Complaint {
    let what = format!("`{}` is not a duration", shown(text));
    if text.strip_prefix('-').is_some_and(|rest| milliseconds(rest).is_some() || is_number(rest)) {
        let message = format!("`{}` is out of range: a duration cannot be negative", shown(text));
        return Complaint::new(Code::OutOfRange, message);
    }
    if is_whole(text) {
        return Complaint::new(Code::WrongUnit, format!("{what}: it has no unit"))
            .help(format!("write `{0}s` for seconds, or `{0}ms`, `{0}m`, `{0}h`, `{0}d`", shown(text)));
    }
    match tidied(text) {
        Some(better) => Complaint::new(Code::WrongUnit, what).help(format!("write `{better}`")),
        None => Complaint::new(Code::WrongUnit, what)
            .help("write a whole number and a unit: `250ms`, `60s`, `5m`, `1h30m`, `2d`"),
    }
}

/// The duration somebody meant who wrote `60 sec`, `1.5s` or `2 Minutes`.
fn tidied(text: &str) -> Option<String> {
    let squeezed: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
    let (number, unit) = squeezed.split_at(squeezed.find(|c: char| c.is_ascii_alphabetic())?);
    let unit = match unit {
        "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "d" | "day" | "days" => "d",
        _ => return None,
    };
    let scale = TIME.iter().find(|(name, _)| *name == unit)?.1;
    let ms = thousandths(number)?.checked_mul(scale)?;
    (ms % 1_000 == 0).then(|| duration_text(ms / 1_000))
}

/// `90000` as `1m30s`.
pub(super) fn duration_text(ms: u64) -> String {
    let mut rest = ms;
    let part = |(unit, scale): (&str, u64)| {
        let count = rest / scale;
        rest %= scale;
        if count == 0 { String::new() } else { format!("{count}{unit}") }
    };
    let out: String = TIME.into_iter().map(part).collect();
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// `12.5%` as basis points.
pub(super) fn share(text: &str, min: u16, max: u16) -> Result<u16, Complaint> {
    let what = format!("`{}` is not a share", shown(text));
    let Some(number) = text.strip_suffix('%') else { return Err(share_without_sign(text, what)) };
    if number.starts_with('-') && is_number(number.trim_start_matches('-')) {
        let message = format!("`{}` is out of range: a share cannot be negative", shown(text));
        return Err(Complaint::new(Code::OutOfRange, message));
    }
    if number.trim_end().len() < number.len() && is_number(number.trim_end()) {
        return Err(Complaint::new(Code::WrongUnit, what)
            .help(format!("write `{}%` without the space", number.trim_end())));
    }
    if !is_number(number) {
        return Err(Complaint::new(Code::WrongUnit, what).help("write a number and `%`: `5%`, `12.5%`"));
    }
    let fine = thousandths(number).filter(|value| value % 10 == 0);
    let Some(points) = fine.map(|value| value / 10) else {
        let message = format!("{what}: at most two decimals");
        return Err(
            Complaint::new(Code::OutOfRange, message).help("a share is kept in hundredths of a percent")
        );
    };
    match u16::try_from(points) {
        Ok(points) if (min..=max).contains(&points) => Ok(points),
        _ => {
            let message =
                format!("`{}` is out of range: {} to {}", shown(text), share_text(min), share_text(max));
            Err(Complaint::new(Code::OutOfRange, message))
        }
    }
}

fn share_without_sign(text: &str, what: String) -> Complaint {
    let complaint = Complaint::new(Code::WrongUnit, format!("{what}: it has no `%`"));
    if text.starts_with("0.")
        && let Some(points) = thousandths(text).and_then(|value| u16::try_from(value * 10).ok())
    {
        return complaint.help(format!("write `{}` for {} of 1", share_text(points), shown(text)));
    }
    if is_number(text) {
        return complaint.help(format!("write `{}%`", shown(text)));
    }
    Complaint::new(Code::WrongUnit, what).help("write a number and `%`: `5%`, `12.5%`")
}

/// `1250` as `12.5%`.
pub(super) fn share_text(points: u16) -> String {
    let (whole, rest) = (points / 100, points % 100);
    match rest {
        0 => format!("{whole}%"),
        _ if rest % 10 == 0 => format!("{whole}.{}%", rest / 10),
        _ => format!("{whole}.{rest:02}%"),
    }
}

/// `10MiB` as bytes.
pub(super) fn size(text: &str, min: u64, max: u64) -> Result<u64, Complaint> {
    let Some(bytes) = bytes(text) else { return Err(not_a_size(text)) };
    if bytes < min || bytes > max {
        let message = format!("`{}` is out of range: {} to {}", shown(text), size_text(min), size_text(max));
        return Err(Complaint::new(Code::OutOfRange, message));
    }
    Ok(bytes)
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let scale = SIZE.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<u64>().ok()?.checked_mul(scale)
}

fn not_a_size(text: &str) -> Complaint {
    let what = format!("`{}` is not a size", shown(text));
    if text.strip_prefix('-').is_some_and(|rest| is_number(rest) || bytes(rest).is_some()) {
        let message = format!("`{}` is out of range: a size cannot be negative", shown(text));
        return Complaint::new(Code::OutOfRange, message);
    }
    if is_whole(text) {
        return Complaint::new(Code::WrongUnit, format!("{what}: it has no unit"))
            .help(format!("write `{0}B`, `{0}KiB`, `{0}MiB` or `{0}GiB`", shown(text)));
    }
    let squeezed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let (number, unit) =
        squeezed.split_at(squeezed.find(|c: char| !c.is_ascii_digit()).unwrap_or(squeezed.len()));
    let letter = match unit.to_ascii_lowercase().as_str() {
        "k" | "ki" | "kib" | "kb" => "KiB",
        "m" | "mi" | "mib" | "mb" => "MiB",
        "g" | "gi" | "gib" | "gb" => "GiB",
        "b" | "byte" | "bytes" => "B",
        _ => "",
    };
    if number.is_empty() || letter.is_empty() {
        return Complaint::new(Code::WrongUnit, what)
            .help("write a whole number and a unit: `512B`, `64KiB`, `10MiB`, `1GiB`, or `KB`, `MB`, `GB` for powers of ten");
    }
    Complaint::new(Code::WrongUnit, what).help(format!("write `{}{letter}`", shown(number)))
}

/// `1048576` as `1MiB`.
pub(super) fn size_text(bytes: u64) -> String {
    if bytes == 0 {
        return "0B".to_owned();
    }
    let (unit, scale) = SIZE.into_iter().find(|(_, scale)| bytes.is_multiple_of(*scale)).unwrap_or(("B", 1));
    format!("{}{unit}", bytes / scale)
}

/// A number with up to three decimals, in thousandths.
pub(super) fn decimal(text: &str, what: &str, example: &str, min: u32, max: u32) -> Result<u32, Complaint> {
    if let Some(rest) = text.strip_suffix('m').filter(|rest| is_whole(rest)) {
        let better = rest.parse::<u64>().ok().map(decimal_text);
        let complaint = Complaint::new(Code::WrongUnit, format!("`{}` is not {what}", shown(text)));
        return Err(match better {
            Some(better) => complaint.help(format!("write `{better}`")),
            None => complaint,
        });
    }
    if !is_number(text.trim_start_matches('-')) {
        let message = format!("`{}` is not {what}", shown(text));
        return Err(
            Complaint::new(Code::WrongType, message).help(format!("write a number such as `{example}`"))
        );
    }
    match thousandths(text).and_then(|value| u32::try_from(value).ok()) {
        Some(value) if (min..=max).contains(&value) => Ok(value),
        Some(_) => {
            let (min, max) = (decimal_text(u64::from(min)), decimal_text(u64::from(max)));
            Err(Complaint::new(
                Code::OutOfRange,
                format!("`{}` is out of range: {min} to {max}", shown(text)),
            ))
        }
        None => {
            let message = format!("`{}` is not {what}: no sign, at most three decimals", shown(text));
            Err(Complaint::new(Code::OutOfRange, message))
        }
    }
}

/// `1100` as `1.1`.
pub(super) fn decimal_text(milli: u64) -> String {
    let (whole, rest) = (milli / 1_000, milli % 1_000);
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{}", format!("{rest:03}").trim_end_matches('0'))
}

fn is_whole(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    match text.split_once('.') {
        None => is_whole(text),
        Some((whole, rest)) => is_whole(whole) && is_whole(rest),
    }
}

/// A plain decimal number in thousandths; `None` when it has more than three decimals that say something.
fn thousandths(text: &str) -> Option<u64> {
    if !is_number(text) {
        return None;
    }
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let rest = rest.trim_end_matches('0');
    if rest.len() > 3 {
        return None;
    }
    let fraction = format!("{rest:0<3}").parse::<u64>().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(fraction)
}
