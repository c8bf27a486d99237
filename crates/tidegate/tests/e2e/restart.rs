//! An instance that ends by itself in a bake, and is up again when the bake is over.

use crate::support::{PROGRAM, Project};

#[test]
fn a_release_whose_instance_died_in_a_bake_is_promoted_only_after_a_whole_bake_without_that() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    let died = shop.root().join("died");
    let sample = format!("exec '{PROGRAM}' sample --version-name v2");
    // Its first life ends in the bake, soon enough to be ready again long before the end of it.
    let script = format!(
        "if [ -e '{0}' ]; then {sample}; else touch '{0}'; {sample} --crash-after-ms 1500; fi",
        died.display()
    );
    shop.version("v2").with("command", &format!("[sh, -c, {script:?}]")).bake("50%", "6s");
    shop.deploy().code(0);
    let events = shop.events("shop-2");
    let count = |kind: &str| events.iter().filter(|event| *event == kind).count();
    assert_eq!((count("reopened"), count("exposed")), (1, 3), "{events:?}");
    shop.run(&["history", "shop-2"]).code(0).says("ended by itself in the bake (last: exit code 3)");
    assert_eq!(shop.asks().as_deref(), Some("v2"));
}
