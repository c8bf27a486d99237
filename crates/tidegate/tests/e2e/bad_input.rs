//! Input that cannot be, and a world that does not let it.

use std::{fs, net::TcpListener};

use crate::support::Project;

#[test]
fn a_port_that_another_program_has_is_named_and_nothing_is_touched() {
    let mut shop = Project::new();
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = other.local_addr().expect("its address").port();
    shop.on_port(port).deploy().code(4).says(&format!("127.0.0.1:{port}")).says("taken");
    assert_eq!(shop.state("shop-1"), "failed");
}

#[test]
fn two_services_on_one_port_are_refused_in_one_file_and_in_two() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    // In another file of the same data directory only the target can know.
    shop.with("service", "blog").deploy().code(4).says("shop").says(&shop.port().to_string());
    assert_eq!(shop.state("blog-1"), "failed");
    let text = fs::read_to_string(shop.config()).expect("a configuration");
    let (head, blog) = text.split_once("  blog:").expect("a service");
    fs::write(shop.config(), format!("{head}  blog:{blog}  shop:{blog}")).expect("a configuration");
    shop.run(&["validate"]).code(2).complains(&shop.port().to_string());
}

#[test]
fn a_configuration_that_is_missing_empty_or_wrong_is_refused_by_every_verb_that_needs_it() {
    let shop = Project::new();
    for verb in ["validate", "plan", "deploy"] {
        shop.run(&[verb]).code(2).complains("tidegate.yaml");
    }
    for (text, words) in [
        ("", "empty"),
        ("version: 1\n", "services"),
        ("version: 1\nservices:\n\tshop: {}\n", "tab"),
        ("version: 1\nversion: 1\nservices: {}\n", "version"),
        ("version: 1\nservices:\n  shop:\n    listen: 8080\n    run: {comand: [x]}\n", "command"),
    ] {
        fs::write(shop.config(), text).expect("a configuration");
        for verb in ["validate", "plan", "deploy"] {
            shop.run(&[verb]).code(2).complains(words);
        }
    }
    assert!(!shop.data().exists(), "nothing was to be written");
}

#[test]
fn a_manifest_of_no_kind_that_is_read_is_told_which_kinds_are() {
    let shop = Project::new();
    for (version, kind) in [("v1", "Service"), ("argoproj.io/v1alpha1", "Experiment")] {
        let file = shop.root().join("other.yaml");
        fs::write(&file, format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: shop}}\n"))
            .expect("a file");
        let path = file.to_string_lossy();
        let ran = shop.run(&["validate", &path]);
        ran.code(2).complains(&format!("a manifest of kind `{kind}`")).complains("Rollout, AnalysisTemplate");
    }
}

#[test]
fn a_namespace_that_cannot_be_is_refused_before_anything_is_printed_or_asked() {
    let shop = Project::new();
    for name in ["A_b", "-a", "a.b", ""] {
        let image = format!("t@sha256:{}", "0".repeat(64));
        let namespace = format!("--namespace={name}");
        let ran =
            shop.run(&["controller", "manifests", "--image", &image, &namespace, "--lease-namespace", "a"]);
        ran.code(2).complains("small letters, digits and `-`");
        shop.run(&["controller", &namespace]).code(2).complains("small letters");
        let lease = format!("--lease-namespace={name}");
        shop.run(&["controller", "--namespace", "a", &lease]).code(2).complains("small letters");
    }
}

#[test]
fn what_does_not_exist_is_named() {
    let shop = Project::new();
    shop.write();
    shop.run(&["why"]).code(2).complains("nothing was deployed yet");
    shop.run(&["why", "shop-7"]).code(2).complains("shop-7");
    shop.run(&["status"]).code(0).says("nothing was deployed yet");
    shop.run(&["deploy", "blog"]).code(2).complains("no service `blog`");
    shop.run(&["rollback"]).code(2);
    shop.run(&["audit"]).code(2).complains("no journal");
    shop.run(&["proxy", "status"]).code(3).complains("nothing answers");
    shop.run(&["server", "--stop"]).code(0).says("no engine runs");
    shop.run(&["deploy", "--speed", "high"]).code(2);
}

#[test]
fn a_data_directory_with_too_long_a_path_is_refused_with_advice() {
    let shop = Project::new();
    shop.write();
    let deep = shop.root().join("d".repeat(100));
    shop.run(&["deploy", "--data", &deep.to_string_lossy()]).code(2).complains("choose a shorter one");
}
