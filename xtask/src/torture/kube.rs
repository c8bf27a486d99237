//! `torture kube`: every fault at every effect on a real control plane.
//!
//! The cases are those of the live tests, and the sum is theirs: each puts a deployment at the door of one effect, breaks the
//! network, the API server's answers, a part of the control plane, the objects or the leadership there, asks for the way back,
//! and looks whether users are where it is safe within five seconds of the fault allowing it.

use std::process::Stdio;

use anyhow::{Context, bail};

use crate::figures::Figure;
use crate::step;
use crate::trial::{Terms, Trial};

pub(crate) const TRIAL: Trial = Trial {
    name: "kube",
    about: "every fault of network, API server, control plane, objects and leadership at every effect; requests of a rollout",
    run,
};

/// What a test says of its cases: `cases 28, unsafe 0, …`.
const SUM: [&str; 4] = ["cases", "unsafe", "restarted_pods", "foreign_rules_touched"];

fn run(terms: &Terms) -> anyhow::Result<Vec<Figure>> {
    let which: &[&str] = if terms.short {
        &["whatever_the_network", "whatever_was_on_its_way"]
    } else {
        &["whatever", "a_rollout_asks_so_much"]
    };
    let mut arguments =
        vec!["test", "--package", "tidegate-kubernetes", "--test", "live", "--", "--nocapture"];
    arguments.extend(which);
    let output = step::cargo(&arguments).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    // What each fault met, and what each part of a rollout asked of the API server.
    text.lines().filter(|line| line.starts_with("  ")).for_each(|line| println!("{line}"));
    let mut sum = [0_u32; 4];
    for line in text.lines().filter(|line| line.contains("foreign_rules_touched ")) {
        println!("{line}");
        for (total, name) in sum.iter_mut().zip(SUM) {
            let (_, after) = line.split_once(&format!("{name} ")).with_context(|| line.to_owned())?;
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            *total += digits.parse::<u32>().with_context(|| line.to_owned())?;
        }
    }
    let [cases, unsafe_, restarted, touched] = sum.map(f64::from);
    if cases == 0.0 {
        bail!("no case was run; the tests said:\n{text}");
    }
    // Forty are the least that is worth the name; a matrix that is not run any more is to be noticed.
    let least = if terms.short { ">= 45" } else { ">= 250" };
    let nobody = "nothing to compare with: no peer is tested so";
    Ok(vec![
        Figure::new("cases", cases, "", least, nobody)?,
        Figure::new("unsafe", unsafe_, "", "<= 0", nobody)?,
        Figure::new("restarted_pods", restarted, "", "<= 0", nobody)?,
        Figure::new("foreign_rules_touched", touched, "", "<= 0", nobody)?,
    ])
}
