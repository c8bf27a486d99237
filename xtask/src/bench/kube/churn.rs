//! `bench churn`: ten thousand services are known, a thousand of them roll out at once, again and again for an hour. How much
//! memory that takes, and whether it grows.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::{Asked, Bed, LANES, all_verified, request, submit_all, until_ended};
use crate::bench::restart::rss_mb;
use crate::figures::Figure;
use crate::house::{self, House, Peer};
use crate::step;
use crate::trial::{Terms, Trial};

pub(crate) const TRIAL: Trial = Trial {
    name: "churn",
    about: "memory with 10,000 services known and 1,000 rolling out at once, over an hour",
    run,
};

/// Rounds until every service that rolls out has as many old releases as are kept: until then there is more to know each time.
const FILLING: usize = 4;

fn run(terms: &Terms) -> anyhow::Result<Vec<Figure>> {
    let (known, at_once, long) = if terms.short {
        (100, 20, Duration::from_secs(30))
    } else {
        (10_000, 1_000, Duration::from_hours(1))
    };
    let house = House::build("churn")?;
    step::run(&mut step::cargo(&["build", "--quiet", "--package", "tidegate-bed", "--example", "storm"]))?;
    let bed = Bed::start(known)?;
    let mut engine = house.command(&["server"]).env("KUBECONFIG", &bed.kubeconfig).spawn()?;
    let pid = house::wait_for("the engine", Duration::from_secs(10), || house.pid(Peer::Engine))?;
    let (began, mut most, mut after) = (Instant::now(), 0.0_f64, Vec::new());
    while began.elapsed() < long || after.len() <= FILLING {
        let name = format!("round-{}", after.len());
        let asked = request(&house, &bed, &Asked { name: &name, bake: 1, watch: 0, more: "" })?;
        let ids = submit_all(&house, &asked, 0..at_once)?;
        most = most.max(until_ended(&house)?);
        all_verified(&house, &ids)?;
        let (minutes, rests) = (began.elapsed().as_secs_f64() / 60.0, rss_mb(pid)?);
        println!("{name}: {minutes:.1} min, {most:.1} MB at most, {rests:.1} MB at its end");
        after.push((minutes, rests));
    }
    engine.kill()?;
    engine.wait()?;
    let flat = after.get(FILLING..).context("too few rounds")?;
    let minutes = flat.last().zip(flat.first()).map_or(0.0, |(last, first)| last.0 - first.0);
    let against = format!(
        "{known} services known, {at_once} rolled out at once by {LANES} lanes, {} rounds; growth in {minutes:.1} min after the first {FILLING}",
        after.len()
    );
    Ok(vec![
        Figure::new("churn_rss_mb", most, "MB", "<= 1024", &against)?,
        Figure::new("churn_growth_mb", slope(flat) * minutes, "MB", "<= 10", &against)?,
    ])
}

/// The slope of the straight line with the least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count: f64 = points.iter().map(|_| 1.0).sum();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let over: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let under: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if under > 0.0 { over / under } else { 0.0 }
}
