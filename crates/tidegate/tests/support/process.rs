//! Processes: found by the directory they work for, ended by their number.

use std::{fs, path::Path, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

/// `kill -9`.
pub(crate) fn kill(pid: u32) {
    send(pid, Signal::KILL);
}

/// Sends a signal.
pub(super) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // A process that is gone already is as good.
        let _ = kill_process(pid, signal);
    }
}

/// Every process whose command line names this directory, or that works in it as instances do, with its command line.
pub(super) fn of(root: &Path) -> Vec<(u32, String)> {
    // The system names a working directory without links.
    let real = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let folders = fs::read_dir("/proc").expect("a list of processes").flatten();
    folders
        .filter_map(|folder| {
            let pid: u32 = folder.file_name().to_str()?.parse().ok()?;
            let bytes = fs::read(folder.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
            let works_in = fs::read_link(folder.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&real));
            let ours = pid != std::process::id() && (works_in || line.contains(&*root.to_string_lossy()));
            (ours && !line.is_empty()).then_some((pid, line))
        })
        .collect()
}

/// Kills whatever works for this directory, until nothing does: an engine may just be starting a proxy.
pub(super) fn end_all(root: &Path) {
    for _ in 0..200 {
        let all = of(root);
        if all.is_empty() {
            return;
        }
        for (pid, _) in all {
            kill(pid);
        }
        thread::sleep(Duration::from_millis(5));
    }
}
