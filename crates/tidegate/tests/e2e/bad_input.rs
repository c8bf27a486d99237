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
fn an_image_by_a_tag_is_refused_by_validate_and_plan_alike_and_only_said_of_a_rollout_of_argos() {
    let shop = Project::new();
    let pods = "  template:\n    metadata: {labels: {app: shop}}\n    spec:\n      containers:\n      - name: web\n        image: shop:1\n";
    let deployment =
        format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: shop}}\nspec:\n{pods}");
    fs::write(shop.root().join("deploy.yaml"), deployment).expect("a file");
    let text = "version: 1\nservices:\n  shop:\n    run: {kubernetes: {manifest: deploy.yaml, service: shop, namespace: shop}}\n";
    fs::write(shop.config(), text).expect("a configuration");
    for verb in ["validate", "plan"] {
        let ran = shop.run(&[verb]);
        ran.code(2).complains("deploy.yaml:10:16").complains("containers[0].image").complains("by digest");
    }
    let digest = format!("shop@sha256:{}", "0".repeat(64));
    shop.run(&["validate", "--image", &digest]).code(0).says("is valid");
    let rollout = format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {{name: shop}}\nspec:\n  selector: {{matchLabels: {{app: shop}}}}\n\
         {pods}  strategy: {{canary: {{steps: [{{setWeight: 20}}]}}}}\n"
    );
    let file = shop.root().join("rollout.yaml");
    fs::write(&file, rollout).expect("a file");
    let ran = shop.run(&["validate", &file.to_string_lossy()]);
    ran.code(0)
        .says("is valid: Rollout shop")
        .says("rollout.yaml:11: the image `shop:1` is named by a tag")
        .says("digest");
}

#[test]
fn flags_of_the_manifests_that_contradict_each_other_are_refused_and_a_namespace_said_twice_is_one() {
    let shop = Project::new();
    let image = format!("t@sha256:{}", "0".repeat(64));
    let manifests = ["controller", "manifests", "--lease-namespace", "a", "--image", &image];
    for more in [&["--crd"][..], &["--namespace", "b", "--all-namespaces"]] {
        shop.run(&[&manifests[..], more].concat()).code(2).complains("cannot be used with");
    }
    shop.run(&["controller", "manifests", "--crd", "--all-namespaces"])
        .code(2)
        .complains("cannot be used with");
    let once = shop.run(&[&manifests[..], &["--namespace", "b"]].concat()).code(0).stdout.clone();
    let twice = shop.run(&[&manifests[..], &["--namespace", "b", "--namespace", "b"]].concat());
    assert_eq!(twice.code(0).stdout, once);
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
