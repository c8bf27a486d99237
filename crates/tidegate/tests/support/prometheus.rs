//! A real Prometheus server that scrapes a project's instances once a second.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{Project, free_port, http, until};

/// The server. It ends when this is dropped, or in between.
pub(crate) struct Prometheus {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Prometheus {
    /// Starts it for this project and waits until it answers.
    pub(crate) fn of(project: &Project) -> Self {
        let folder = project.root().join("prometheus");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("targets.json"), "[]").expect("targets");
        let config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n\
                      - {job_name: shop, file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]}\n";
        fs::write(folder.join("prometheus.yml"), config).expect("a configuration");
        let mut prometheus = Self { folder, port: free_port(), child: None };
        prometheus.start();
        prometheus
    }

    /// Starts it, with what it knew before.
    pub(crate) fn start(&mut self) {
        let file = |name: &str| self.folder.join(name);
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .args(["--log.level=warn", "--scrape.discovery-reload-interval=100ms"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(file("log")).expect("a log"))
            .spawn()
            .expect("prometheus starts: `cargo xtask setup` installs it");
        self.child = Some(child);
        until(|| self.ask("/api/v1/status/runtimeinfo").is_some(), || self.log());
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Scrapes every instance that runs now, and has done so once when this returns.
    pub(crate) fn scrape(&self, project: &Project) -> &Self {
        self.scrape_at(&project.instance_ports())
    }

    /// The same for whoever listens at these ports.
    pub(crate) fn scrape_at(&self, ports: &[u16]) -> &Self {
        let targets: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        scraped(&self.folder, &serde_json::json!([{ "targets": targets }]));
        let up = |port: &u16| {
            let query = format!("/api/v1/query?query=up%7Binstance%3D%22127.0.0.1:{port}%22%7D");
            self.ask(&query).is_some_and(|answer| answer["data"]["result"][0]["value"][1] == "1")
        };
        until(|| ports.iter().all(up), || self.log());
        self
    }

    /// Where [`scraped`] is told of who else is to be scraped.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn ask(&self, path: &str) -> Option<serde_json::Value> {
        http(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?, "GET", path)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

/// Groups of `targets`, each with its `labels`, that the Prometheus of this folder scrapes from now on.
pub(crate) fn scraped(folder: &Path, groups: &serde_json::Value) {
    let (new, file) = (folder.join("targets.new"), folder.join("targets.json"));
    fs::write(&new, groups.to_string()).and_then(|()| fs::rename(new, file)).expect("targets");
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.kill();
    }
}
