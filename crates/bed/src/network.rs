//! A network of its own for a test, in which every address of a pod is on this machine.

use std::{
    process::Command,
    sync::{Mutex, PoisonError},
};

use crate::components::PODS;

/// A gateway and its users take a whole machine of two cores: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Set inside.
const INSIDE: &str = "TIDEGATE_BED_INSIDE";

/// Whoever is root needs no user namespace, which not every machine has.
const NAMESPACE: &str = r#"test "$(id -u)" = 0 && root= || root=--map-root-user
exec unshare --net $root -- sh -c 'ip link set lo up && ip route add local "$PODS" dev lo && exec "$0" --exact "$1" --nocapture' "$0" "$1""#;

/// Runs this test again in a network namespace of its own, and then says `false`; inside of it this says `true`, and the test
/// begins. There, loopback is up, every port is free, and whoever listens on all addresses answers for every pod.
///
/// It is given the test itself: `if !in_a_network_of_its_own(&this_test) { return; }`. It needs `unshare` (util-linux) and `ip`
/// (iproute2), and to be root or user namespaces for everybody. Tests of one program have their networks one after the other.
///
/// # Panics
/// When the test inside fails; what it said is printed.
#[expect(clippy::panic, reason = "a panic is how a test reports")]
pub fn in_a_network_of_its_own<F: Fn()>(_test: &F) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let (_, name) = std::any::type_name::<F>().split_once("::").unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_else(|why| panic!("this program is not found: {why}"));
    let mut inside = Command::new("sh");
    inside.args(["-c", NAMESPACE]).arg(program).arg(name).env(INSIDE, "1").env("PODS", PODS);
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    match inside.output() {
        Ok(output) => {
            let said =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            // Who counts results does not count this one.
            said.iter().flat_map(|said| said.lines()).for_each(|line| println!("  | {line}"));
            // A name that fits no test passes as well.
            assert!(
                output.status.success() && said[0].contains("1 passed"),
                "{name} failed in its own network"
            );
            false
        }
        Err(why) => panic!("could not start `sh`: {why}"),
    }
}
