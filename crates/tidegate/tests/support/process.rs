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

/// Every process whose command line or environment names this directory, with its command line.
pub(super) fn of(root: &Path) -> Vec<(u32, String)> {
    let root = root.to_string_lossy();
    let folders = fs::read_dir("/proc").expect("a list of processes").flatten();
    folders
        .filter_map(|folder| {
            let pid: u32 = folder.file_name().to_str()?.parse().ok()?;
            let read = |name| {
                let bytes = fs::read(folder.path().join(name)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let line = read("cmdline");
            let ours =
                pid != std::process::id() && (line.contains(&*root) || read("environ").contains(&*root));
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
