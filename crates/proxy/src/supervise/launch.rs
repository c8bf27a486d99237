//! Starts a process: which program, in which environment, as which user.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Builder, Stdio};

use crate::protocol::{Command, EnvValue};

use super::process::{MARK_DATA, MARK_INSTANCE, Mark};

/// Largest file that an environment variable's value may come from, bytes (Linux's own limit for one string).
const ENV_FILE_BYTES_MAX: u64 = 128 * 1_024;
/// Variables of the proxy that instances see.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];
/// Where programs are looked up when the proxy itself has no `PATH`.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why an instance could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LaunchError {
    /// It cannot start as it is written; the sentence says what to change.
    Hopeless(String),
    /// The machine could not start it now.
    Later(String),
}

/// A user as the passwd file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    name: Option<String>,
    uid: u32,
    gid: u32,
    home: Option<String>,
}

/// Starts the command and answers its process id. It is not waited for here.
pub(super) fn launch(command: &Command, port: u16, mark: &Mark, log: File) -> Result<u32, LaunchError> {
    let directory = Path::new(&command.directory);
    if !directory.is_dir() {
        return hopeless(format!("the directory {} does not exist: release it again", directory.display()));
    }
    let Some((name, arguments)) = command.argv.split_first() else {
        return hopeless("the command is empty: name a program".to_owned());
    };
    let user = command.user.as_deref().map(find_user).transpose()?.flatten();
    let environment = environment(command, port, user.as_ref())?;
    let path = environment.get(OsStr::new("PATH")).cloned().unwrap_or_default();
    let program = find_program(&with_port(name, port), directory, &path)?;
    let errors =
        log.try_clone().map_err(|e| LaunchError::Later(format!("cannot open its log twice: {e}")))?;
    let mut builder = Builder::new(&program);
    builder
        .args(arguments.iter().map(|argument| with_port(argument, port)))
        .env_clear()
        .envs(environment)
        .envs([(MARK_INSTANCE, &mark.instance), (MARK_DATA, &mark.data)])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0);
    if let Some(user) = &user {
        builder.uid(user.uid).gid(user.gid);
    }
    builder.spawn().map(|child| child.id()).map_err(|error| explain(&program, &error))
}

/// `$PORT` and `${PORT}` replaced; `$PORTS` is another name and stays.
pub(super) fn with_port(text: &str, port: u16) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        let plain = after.strip_prefix("PORT").filter(|tail| !tail.starts_with(is_name_part));
        if let Some(tail) = plain.or_else(|| after.strip_prefix("{PORT}")) {
            result.push_str(&port.to_string());
            rest = tail;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result + rest
}

/// The value of one variable; a file is read now and never kept.
pub(super) fn env_value(name: &str, value: &EnvValue, port: u16) -> Result<OsString, LaunchError> {
    match value {
        EnvValue::Value(text) => Ok(with_port(text, port).into()),
        EnvValue::File(path) => read_env_file(Path::new(path)).map(Into::into).map_err(|reason| {
            LaunchError::Hopeless(format!("cannot read the value of {name} from {path}: {reason}"))
        }),
    }
}

fn is_name_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn read_env_file(path: &Path) -> Result<String, String> {
    // Asked before it is opened: opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(|e| e.to_string())?.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| e.to_string())?;
    file.take(ENV_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > ENV_FILE_BYTES_MAX {
        return Err(format!("it is larger than {ENV_FILE_BYTES_MAX} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    if text.contains('\0') {
        return Err("it holds a zero byte".to_owned());
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn environment(
    command: &Command,
    port: u16,
    user: Option<&User>,
) -> Result<BTreeMap<OsString, OsString>, LaunchError> {
    let mut variables: BTreeMap<OsString, OsString> =
        INHERITED.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?))).collect();
    variables.entry("PATH".into()).or_insert_with(|| PATH_DEFAULT.into());
    if let Some(home) = user.and_then(|user| user.home.as_ref()) {
        variables.insert("HOME".into(), home.into());
    }
    if let Some(name) = user.and_then(|user| user.name.as_ref()) {
        variables.insert("USER".into(), name.into());
    }
    for (name, value) in &command.env {
        variables.insert(name.into(), env_value(name, value, port)?);
    }
    variables.insert("PORT".into(), port.to_string().into());
    Ok(variables)
}

fn find_program(name: &str, directory: &Path, path: &OsStr) -> Result<PathBuf, LaunchError> {
    if name.contains('/') {
        // An absolute name replaces the directory.
        return check_program(directory.join(name));
    }
    let candidates: Vec<PathBuf> = std::iter::once(directory.to_owned())
        .chain(std::env::split_paths(path).filter(|folder| folder.is_absolute()))
        .map(|folder| folder.join(name))
        .filter(|candidate| candidate.is_file())
        .collect();
    if let Some(program) = candidates.iter().find(|candidate| is_executable(candidate)) {
        return Ok(program.clone());
    }
    match candidates.into_iter().next() {
        Some(candidate) => check_program(candidate),
        None => hopeless(format!(
            "command not found: `{name}` is neither in the release's directory {} nor in PATH ({}): install it or correct the command",
            directory.display(),
            path.display(),
        )),
    }
}

fn check_program(program: PathBuf) -> Result<PathBuf, LaunchError> {
    let shown = program.display();
    match fs::metadata(&program) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => hopeless(format!(
            "command not found: {shown} does not exist: build it into the release or correct the command"
        )),
        Err(error) => hopeless(format!("command not usable: cannot look at {shown}: {error}")),
        Ok(meta) if meta.is_dir() => {
            hopeless(format!("command not usable: {shown} is a directory: name the program inside it"))
        }
        Ok(_) if !is_executable(&program) => {
            hopeless(format!("command not executable: run `chmod +x` on {shown} before it is released"))
        }
        Ok(_) => Ok(program),
    }
}

fn is_executable(program: &Path) -> bool {
    fs::metadata(program).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// `None` when that user is who the proxy runs as already.
fn find_user(wanted: &str) -> Result<Option<User>, LaunchError> {
    let passwd = fs::read_to_string("/etc/passwd")
        .map_err(|e| LaunchError::Later(format!("cannot read /etc/passwd: {e}")))?;
    let Some(user) = user_in(&passwd, wanted) else {
        return hopeless(format!(
            "no such user: `{wanted}` is not in /etc/passwd: create it or correct `user`"
        ));
    };
    let own = rustix::process::geteuid();
    if user.uid == own.as_raw() {
        return Ok(None);
    }
    if !own.is_root() {
        return hopeless(format!(
            "cannot run as user `{wanted}`: the proxy does not run as root: start it as root or leave `user` out"
        ));
    }
    Ok(Some(user))
}

/// By name, else by number; a number without an entry is its own group.
fn user_in(passwd: &str, wanted: &str) -> Option<User> {
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
        Some(User {
            name: Some((*name).to_owned()),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: Some((*home).to_owned()),
        })
    };
    let number: Option<u32> = wanted.parse().ok();
    let known = || passwd.lines().filter_map(entry);
    known()
        .find(|user| user.name.as_deref() == Some(wanted))
        .or_else(|| known().find(|user| Some(user.uid) == number))
        .or_else(|| number.map(|uid| User { name: None, uid, gid: uid, home: None }))
}

fn explain(program: &Path, error: &io::Error) -> LaunchError {
    let shown = program.display();
    // By number: the kinds of some of these errors have no stable name.
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOEXEC) => LaunchError::Hopeless(format!(
            "command not executable: {shown} has no `#!` line or is built for another kind of machine"
        )),
        Some(rustix::io::Errno::NOENT) => LaunchError::Hopeless(format!(
            "command not executable: the interpreter or loader that {shown} asks for is missing: install it"
        )),
        Some(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => LaunchError::Hopeless(format!(
            "command not executable: {shown} or its directory is not open to the user it runs as: correct their permissions"
        )),
        Some(rustix::io::Errno::TOOBIG) => LaunchError::Hopeless(
            "its arguments and environment together are too large: shorten them".to_owned(),
        ),
        _ => LaunchError::Later(format!("could not start {shown}: {error}")),
    }
}

fn hopeless<T>(sentence: String) -> Result<T, LaunchError> {
    Err(LaunchError::Hopeless(sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_replaces_both_spellings_and_nothing_else() {
        let text = "a $PORT ${PORT} $PORTS $PORT_X ${PORTX} $ $$PORT http://[::1]:$PORT/";
        let expected = "a 80 80 $PORTS $PORT_X ${PORTX} $ $80 http://[::1]:80/";
        assert_eq!(with_port(text, 80), expected);
    }

    #[test]
    fn users_are_found_by_name_then_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\n7:x:70:71::/seven:/bin/sh\nweb:x:33:34::/var/www:/bin/false\n";
        let found = |wanted| user_in(passwd, wanted).map(|user| (user.uid, user.gid));
        assert_eq!(found("web"), Some((33, 34)));
        assert_eq!(found("33"), Some((33, 34)));
        assert_eq!(found("7"), Some((70, 71)), "a name wins over a number");
        assert_eq!(found("1000"), Some((1000, 1000)));
        assert_eq!(found("nobody"), None);
    }

    #[test]
    fn a_program_is_taken_from_the_release_before_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let in_folder = folder.path().join("sh");
        let found = || find_program("sh", folder.path(), OsStr::new("/usr/bin:/bin"));
        fs::create_dir(&in_folder).unwrap();
        assert!(found().unwrap().is_absolute(), "a folder of that name is no program");
        fs::remove_dir(&in_folder).unwrap();
        fs::write(&in_folder, "").unwrap();
        assert_ne!(found().unwrap(), in_folder);
        fs::set_permissions(&in_folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(found().unwrap(), in_folder);
    }

    #[test]
    fn an_environment_file_gives_its_text_without_the_last_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "$PORT\n\n").unwrap();
        assert_eq!(read_env_file(&path).as_deref(), Ok("$PORT\n"));
        fs::write(&path, [0xff]).unwrap();
        assert!(read_env_file(&path).unwrap_err().contains("UTF-8"));
        assert!(read_env_file(folder.path()).unwrap_err().contains("regular file"));
    }
}
