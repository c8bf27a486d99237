//! Services as they are written.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::{
    Options, Written,
    difference::{Difference, Level, Report},
    duration::{Amount, said},
    field::Field,
    form::is_object,
    gate::Gates,
    objects::Object,
    out::{self, Value, map, plain, text},
    strategy::{Shadow, Strategy},
    testers::Testers,
};

/// Longest name of a service.
const NAME_CHARS_MAX: usize = 41;
/// A person may take so long to agree: the longest that can be written.
const PAUSE_MAX: &str = "30d";
const DAY_MS: u64 = 86_400_000;

/// A service before it is written.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) manifest: Written,
    pub(crate) service: String,
    pub(crate) port: Option<u16>,
    pub(crate) preview: Option<String>,
    pub(crate) namespace: String,
    pub(crate) replicas: u32,
    pub(crate) traffic: Option<(&'static str, String)>,
    /// The `DestinationRule` whose subsets tell releases apart.
    pub(crate) destination_rule: Option<String>,
    pub(crate) testers: Testers,
    /// The Rollout whose pods serve until the first deployment.
    pub(crate) adopt: Option<String>,
    pub(crate) surge: Option<Amount>,
    pub(crate) unavailable: Option<Amount>,
    pub(crate) progress_ms: u64,
    pub(crate) strategy: Strategy,
    pub(crate) shadow: Option<Shadow>,
    pub(crate) gates: Gates,
    pub(crate) watch_ms: u64,
    pub(crate) keep_releases: i64,
    /// Whether gates are Argo's analyses.
    pub(crate) analysed: bool,
    /// Where it comes from.
    pub(crate) at: String,
}

/// Names of objects that a service needs.
pub(crate) struct Names<'a> {
    pub(crate) service: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) route: Option<&'a (&'static str, String)>,
}

impl Names<'_> {
    /// Whether objects can be called so; otherwise it is said, and nothing can be written.
    pub(crate) fn are_good(&self, at: &Field<'_>, report: &mut Report) -> bool {
        let Self { service, namespace, route } = self;
        let route = route.map_or("", |(_, name)| name.as_str());
        let mut good = is_object(service);
        for name in
            [service, namespace, route].into_iter().filter(|name| !name.is_empty() && !is_object(name))
        {
            good = false;
            let theirs = format!("an object called `{}`", tidegate_yaml::finding::shown(name));
            report.error(at, theirs, "no object can be called so; nothing is written for it");
        }
        good
    }
}

/// The name of a service for an object.
pub(crate) fn name_of(owner: &Object<'_>, report: &mut Report) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let plain: String = owner.name.to_lowercase().chars().map(|c| if fits(c) { c } else { '-' }).collect();
    let plain = plain.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let short: String = plain.chars().take(NAME_CHARS_MAX).collect();
    let short = short.trim_end_matches('-');
    let name = if short.is_empty() { "service" } else { short };
    if name != owner.name {
        let theirs = format!("is called `{}`", tidegate_yaml::finding::shown(owner.name));
        report.warn(&owner.field, theirs, format!("the service is called `{name}`"));
    }
    name.to_owned()
}

/// Gives every service a name of its own.
pub(crate) fn distinct(drafts: &mut [Draft]) {
    let mut taken = BTreeSet::new();
    for draft in drafts {
        let mut name = draft.name.clone();
        let mut number = 2;
        while !taken.insert(name.clone()) {
            let short: String = draft.name.chars().take(NAME_CHARS_MAX - 4).collect();
            name = format!("{short}-{number}");
            number += 1;
        }
        if name != draft.name {
            draft.manifest.name = format!("{name}.deployment.yaml");
            draft.name = name;
        }
    }
}

/// All files: `tidegate.yaml`, and a Deployment for each service.
pub(crate) fn files(drafts: &[Draft], differences: &[Difference], options: &Options) -> Vec<Written> {
    let services = drafts.iter().map(|draft| (draft.name.clone(), draft.value())).collect();
    let file = map([("version", plain(1)), ("services", Value::Map(services))]);
    let text = format!("{}{}", header(drafts, differences, options), out::document(&file));
    let main = Written { name: "tidegate.yaml".to_owned(), text };
    std::iter::once(main).chain(drafts.iter().map(|draft| draft.manifest.clone())).collect()
}

/// What the file comes from, and what is different: for whoever opens it later.
fn header(drafts: &[Draft], differences: &[Difference], options: &Options) -> String {
    let from: BTreeSet<&str> = drafts.iter().map(|draft| draft.at.as_str()).collect();
    let from: Vec<&str> = from.into_iter().collect();
    let how = if options.compat { " with --compat argo" } else { "" };
    let mut out = format!("# Imported{how} from {}.\n", one_line(&from.join(", ")));
    if !differences.is_empty() {
        out.push_str("# What is different:\n");
    }
    for Difference { level, file, place, path, theirs, ours } in differences {
        let word = match level {
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        let _ = writeln!(out, "# {word}: {}:{} {}", one_line(file), place.line, one_line(path));
        let _ = writeln!(out, "#   there: {}", one_line(theirs));
        let _ = writeln!(out, "#   here:  {}", one_line(ours));
    }
    out
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}') {
                ' '
            } else {
                c
            }
        })
        .collect()
}

impl Draft {
    fn value(&self) -> Value {
        let mut service =
            map([("run", map([("kubernetes", self.kubernetes())])), ("strategy", self.strategy.value())]);
        if let Some(shadow) = &self.shadow {
            service.put("shadow", shadow.value());
        }
        if !self.gates.list.is_empty() {
            service.put("metrics", self.gates.metrics(self.analysed));
            service.put("gates", map([("custom", self.gates.custom(self.analysed))]));
        }
        if let Some(dwell) = self.gates.dwell_max_ms() {
            service.put("judgement", map([("max_dwell", plain(said(dwell)))]));
        }
        service.put("watch", plain(said(self.watch_ms.min(DAY_MS))));
        service.put("queue", plain("supersede"));
        if self.strategy.asks() || !self.gates.list.is_empty() {
            service.put("pause_max", plain(PAUSE_MAX));
        }
        service.put("keep_releases", plain(self.keep_releases.clamp(2, 100)));
        service
    }

    fn kubernetes(&self) -> Value {
        let mut run =
            map([("manifest", text(self.manifest.name.clone())), ("service", text(self.service.clone()))]);
        if let Some(port) = self.port {
            run.put("port", plain(port));
        }
        if let Some(preview) = &self.preview {
            run.put("preview", text(preview.clone()));
        }
        if let Some(rollout) = &self.adopt {
            run.put("adopt_rollout", text(rollout.clone()));
        }
        if !self.namespace.is_empty() {
            run.put("namespace", text(self.namespace.clone()));
        }
        run.put("replicas", plain(self.replicas));
        if let Some((kind, name)) = &self.traffic {
            let mut traffic = map([(kind, text(name.clone()))]);
            if let Some(rule) = &self.destination_rule {
                traffic.put("destination_rule", text(rule.clone()));
            }
            run.put("traffic", traffic);
        }
        if let Some(testers) = self.testers.value() {
            run.put("testers", testers);
        }
        for (key, amount) in [("surge", self.surge), ("unavailable", self.unavailable)] {
            if let Some(amount) = amount {
                run.put(key, plain(amount.said()));
            }
        }
        run.put("progress", plain(said(self.progress_ms)));
        run
    }
}
