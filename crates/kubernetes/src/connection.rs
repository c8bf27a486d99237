//! Connections to an API server.

use std::time::Duration;

use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt, retry::RetryPolicy},
};
use tower::{BoxError, ServiceBuilder, retry::RetryLayer};

use crate::fault::ClusterError;

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Waits before a request that the server was too busy for (429, 503, 504) is sent again: the first and the longest, and how
/// often. Who asks gives up by himself before the last.
const BUSY: (Duration, Duration, u32) = (Duration::from_millis(20), Duration::from_secs(1), 15);

/// A client with connections of its own. Requests are small and wait for nothing: without `TCP_NODELAY` one that is sent
/// in two pieces waits 40 ms for the other side's acknowledgement of the first.
pub(crate) fn client(config: &Config) -> Result<Client, ClusterError> {
    let failed = |why: kube::Error| ClusterError::Configuration(tidegate_adapters::chain(&why));
    if config.proxy_url.is_some() {
        return Client::try_from(config.clone()).map_err(failed);
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_MAX));
    let connector = config.rustls_https_connector_with_connector(connector).map_err(failed)?;
    let http: Http<_, Body> = Http::builder(TokioExecutor::new()).build(connector);
    let (first, longest, times) = BUSY;
    let busy = RetryPolicy::new(first, longest, times, true).ok().map(RetryLayer::new);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(busy)
        .option_layer(config.auth_layer().map_err(failed)?)
        .layer(config.extra_headers_layer().map_err(failed)?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}
