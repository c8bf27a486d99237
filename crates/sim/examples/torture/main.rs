fn main() {
    if let Some(seed) = std::env::args().nth(3) {
        let (lines, v) = tidegate_sim::torture::trace(seed.parse().unwrap());
        for l in lines {
            println!("{:16} {l}", l.deployment);
        }
        println!("{v:?}");
        return;
    }
    let t = std::time::Instant::now();
    let small = tidegate_sim::torture::exhaustive(
        1,
        std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(0),
        Some(20),
    );
    println!(
        "{} crash {} fault {} worlds {:?} {:?}",
        small.crash_states,
        small.fault_states,
        small.worlds,
        small.broken,
        t.elapsed()
    );
    for f in &small.failing {
        println!("{}", f.script);
        for v in f.violations.iter().take(3) {
            println!("   {v}");
        }
    }
    let t = std::time::Instant::now();
    let l =
        tidegate_sim::torture::large(1, std::env::args().nth(2).and_then(|a| a.parse().ok()).unwrap_or(50.0));
    println!("{:?} {:?}", tidegate_sim::torture::Large { failing: vec![], ..l.clone() }, t.elapsed());
    for f in &l.failing {
        println!("{}", f.script);
        for v in f.violations.iter().take(3) {
            println!("   {v}");
        }
    }
}
