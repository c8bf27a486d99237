//! The proxy as a process, with real sockets on both sides.

#[cfg(test)]
mod abuse;
#[cfg(test)]
mod carry;
#[cfg(test)]
mod control;
#[cfg(test)]
mod instance;
#[cfg(test)]
mod mirror;
#[cfg(test)]
mod mutants;
#[cfg(test)]
mod process;
#[cfg(test)]
mod upgrade;
#[cfg(test)]
mod user;
#[cfg(test)]
mod wire;

/// Not a test: the program that the tests start as a proxy (this file's own binary, with `PROXY_DATA` set).
#[test]
#[ignore = "the tests start it as a process of its own"]
fn proxy_process() {
    let Some(data) = std::env::var_os("PROXY_DATA") else { return };
    let workers = std::env::var("PROXY_WORKERS").ok().and_then(|text| text.parse().ok());
    let metrics = Some(([127, 0, 0, 1], 0).into());
    let options = tidegate_proxy::Options { data: data.into(), workers, metrics };
    if let Err(error) = tidegate_proxy::run(options) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
