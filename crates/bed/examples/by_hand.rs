//! Starts a control plane to look around in by hand, with the definitions of Gateway API and Istio, and
//! with Argo Rollouts, until Enter.

use tidegate_bed::{BedError, ControlPlane, Options};

fn main() -> Result<(), BedError> {
    let plane = ControlPlane::start(&Options::default())?;
    plane.install_gateway_api()?;
    plane.install_istio()?;
    plane.install_argo_rollouts()?;
    println!("export KUBECONFIG={}", plane.kubeconfig().display());
    println!("Enter ends it");
    // End of input ends it too.
    let _line = std::io::stdin().read_line(&mut String::new());
    Ok(())
}
