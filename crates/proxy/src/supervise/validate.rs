//! Refuses runs that cannot be kept before anything is done about them.

use std::collections::BTreeMap;

use crate::protocol::{Command, Container, EnvValue, ProbeKind, Readiness, Refused, Run, RunKind};

use super::back_off::ENDS_MAX;
use super::refused;

/// Instances of one release.
const INSTANCES_MAX: u32 = 256;
/// Length of a service's or release's name, bytes; a file name may not be longer.
const NAME_BYTES_MAX: usize = 200;
/// Rotated log files of one instance.
const LOG_FILES_MAX: u32 = 100;
/// Smallest log, bytes; a smaller one would be rotated without end.
const LOG_BYTES_MIN: u64 = 1_024;
/// Longest time that a run may name: one day, milliseconds.
const TIME_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// Checks names and every part of a run that the types do not.
pub(super) fn validate(service: &str, release: &str, run: &Run) -> Result<(), Refused> {
    let problem = check_name("service", service)
        .and_then(|()| check_name("release", release))
        .and_then(|()| check_run(run))
        .err();
    problem.map_or(Ok(()), |problem| {
        Err(refused("bad_request", format!("cannot run {service}/{release}: {problem}")))
    })
}

type Checked = Result<(), String>;

fn check_name(what: &str, name: &str) -> Checked {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-+~@:".contains(c);
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts && name.len() <= NAME_BYTES_MAX && name.chars().all(fits) {
        return Ok(());
    }
    Err(format!(
        "the {what} `{}` must start with a letter or digit and hold only letters, digits and . _ - + ~ @ :, at most {NAME_BYTES_MAX}",
        name.escape_debug()
    ))
}

fn check_run(run: &Run) -> Checked {
    within("instances", u64::from(run.instances), 0, u64::from(INSTANCES_MAX))?;
    match &run.kind {
        RunKind::Command(command) => check_command(command)?,
        RunKind::Container(container) => check_container(container)?,
    }
    check_readiness(&run.ready)?;
    within("restart.backoff_ms", run.restart.backoff_ms, 1, TIME_MS_MAX)?;
    within("restart.backoff_max_ms", run.restart.backoff_max_ms, run.restart.backoff_ms, TIME_MS_MAX)?;
    within("restart.crash_loop_count", u64::from(run.restart.crash_loop_count), 1, ENDS_MAX as u64)?;
    within("restart.crash_loop_window_ms", run.restart.crash_loop_window_ms, 1, TIME_MS_MAX)?;
    within("stop.grace_ms", run.stop.grace_ms, 0, TIME_MS_MAX)?;
    super::life::signal_named(&run.stop.signal).map(drop).ok_or_else(|| {
        format!("stop.signal `{}` must be TERM, INT, QUIT or HUP", run.stop.signal.escape_debug())
    })?;
    within("log.size_max", run.log.size_max, LOG_BYTES_MIN, u64::MAX)?;
    within("log.files_max", u64::from(run.log.files_max), 0, u64::from(LOG_FILES_MAX))
}

fn check_command(command: &Command) -> Checked {
    if command.argv.first().is_none_or(String::is_empty) {
        return Err("the command is empty: name a program".to_owned());
    }
    if !command.directory.starts_with('/') {
        return Err(format!("the directory `{}` must be absolute", command.directory.escape_debug()));
    }
    no_zero_byte(command.argv.iter().chain([&command.directory]))?;
    check_env(&command.env)
}

fn check_container(container: &Container) -> Checked {
    if !names_its_content(&container.image) {
        return Err(format!(
            "the image `{}` must name its digest (`name@sha256:…`) or be an image id (`sha256:…`): a moving tag could run something else tomorrow",
            container.image.escape_debug()
        ));
    }
    within("port", u64::from(container.port), 1, u64::from(u16::MAX))?;
    no_zero_byte(container.argv.iter())?;
    check_env(&container.env)
}

/// `name@sha256:…`, or the id of an image that was built on the engine and never had a registry's digest.
fn names_its_content(image: &str) -> bool {
    let digest = image.rsplit_once('@').map_or(image, |(_, digest)| digest);
    let hex = digest.strip_prefix("sha256:");
    hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn check_env(env: &BTreeMap<String, EnvValue>) -> Checked {
    if let Some(name) = env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(format!("`{}` cannot name an environment variable", name.escape_debug()));
    }
    no_zero_byte(env.values().map(|value| match value {
        EnvValue::Value(text) | EnvValue::File(text) => text,
    }))
}

fn check_readiness(ready: &Readiness) -> Checked {
    if let ProbeKind::Http(path) = &ready.probe
        && !(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        return Err(format!(
            "the readiness path `{}` must start with / and be plain ASCII",
            path.escape_debug()
        ));
    }
    within("ready.interval_ms", ready.interval_ms, 1, TIME_MS_MAX)?;
    within("ready.timeout_ms", ready.timeout_ms, 1, TIME_MS_MAX)?;
    within("ready.successes", u64::from(ready.successes), 1, 1_000)?;
    within("ready.deadline_ms", ready.deadline_ms, 1, TIME_MS_MAX)?;
    within("ready.min_healthy_ms", ready.min_healthy_ms, 0, ready.deadline_ms)
}

fn within(what: &str, value: u64, least: u64, most: u64) -> Checked {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{what} is {value}, it must be from {least} to {most}"))
}

fn no_zero_byte<'a>(mut texts: impl Iterator<Item = &'a String>) -> Checked {
    if texts.any(|text| text.contains('\0')) {
        return Err("a zero byte cannot be given to a program".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_must_name_its_content() {
        let hex = "a".repeat(64);
        for image in [format!("registry.local:5000/web@sha256:{hex}"), format!("sha256:{hex}")] {
            assert!(names_its_content(&image), "{image}");
        }
        for image in ["web", "web:1", "web@sha256:", "", "sha256:zz"] {
            assert!(!names_its_content(image), "{image}");
        }
        assert!(!names_its_content(&format!("web:{hex}")));
    }

    #[test]
    fn names_cannot_leave_their_folder() {
        for name in ["", ".", "..", "a/b", "-a", "a b", "a\u{0}", "ä", &"a".repeat(201)] {
            assert!(check_name("release", name).is_err(), "{name}");
        }
        assert!(check_name("release", "4f2a9c1-1764000000").is_ok());
        assert!(check_name("release", "2:1.10.3+dfsg-1~bpo12").is_ok());
    }
}
