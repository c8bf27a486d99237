//! A real Prometheus server for one test.

use std::{
    fs::File,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;
use tidegate_adapters::evidence::Fault;
use tidegate_core::model::Timestamp;

/// The running server; it ends with this.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

impl Server {
    /// Starts it with these targets, one job each, scraped ten times a second. `web` writes more files and gives the text of
    /// its `--web.config.file`.
    pub(crate) fn start(targets: &[(&str, &str)], web: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let mut config =
            "global: {scrape_interval: 100ms, scrape_timeout: 100ms}\nscrape_configs:\n".to_owned();
        for (job, address) in targets {
            let job = format!("- {{job_name: {job}, static_configs: [{{targets: ['{address}']}}]}}\n");
            config.push_str(&job);
        }
        std::fs::write(at.join("prometheus.yml"), config).unwrap();
        std::fs::write(at.join("web.yml"), web(at)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", at.join("prometheus.yml").display()))
            .arg(format!("--web.config.file={}", at.join("web.yml").display()))
            .arg(format!("--storage.tsdb.path={}", at.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--enable-feature=native-histograms", "--log.level=warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(at.join("log")).unwrap())
            .spawn()
            .expect("prometheus starts: it is Debian's package `prometheus`");
        Self { port, folder, child }
    }

    /// What it wrote to its log.
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Asks until the answer is the wanted one; a server that starts and scrapes needs a moment.
    pub(crate) async fn until<T>(&self, mut ask: impl AsyncFnMut() -> Result<Option<T>, Fault>) -> T {
        let begun = Instant::now();
        loop {
            let answered = ask().await;
            if let Ok(Some(answer)) = answered {
                return answer;
            }
            let said = answered.err().map_or_else(|| "not yet".to_owned(), |fault| fault.to_string());
            assert!(begun.elapsed().as_secs() < 30, "{said}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The present moment: the server's clock is this machine's.
pub(crate) fn now() -> Timestamp {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(passed.as_millis()).unwrap())
}
