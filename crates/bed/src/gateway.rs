//! A real data plane: Istio's control plane, and an Envoy that it tells where the users' requests go.
//!
//! Ports are fixed: it runs in a network of its own, where all are free.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::components::Site;
use crate::{Access, BedError, Component};

/// Namespace and name of the `Gateway`s that a route attaches to, one of Gateway API and one of Istio.
pub const GATEWAY: &str = "gateway";

/// Envoy's configuration, in the folder of the control plane.
pub(crate) const BOOTSTRAP: &str = "envoy.json";
/// Istio's settings, there as well: pods here have no certificates that the gateway could ask for.
pub(crate) const SETTINGS: (&str, &str) = ("mesh.json", r#"{"enableAutoMtls": false}"#);
/// Where users of a route of Gateway API come.
const ROUTE_PORT: u16 = 10_080;
/// Where users of a `VirtualService` come.
const MESH_PORT: u16 = 10_081;
/// Envoy's own.
const ADMIN_PORT: u16 = 15_000;
/// Where Istio tells it.
const DISCOVERY_PORT: u16 = 15_010;
/// Where Istio says how it is.
const READY_PORT: u16 = 15_014;
const CLUSTER: &str = "Kubernetes";
/// Longest wait for an answer of one of them.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Without what only Istio's own build of Envoy has, and with neither certificates nor webhooks.
pub(crate) const ISTIOD: &[(&str, &str)] = &[
    ("POD_NAME", "istiod"),
    ("POD_NAMESPACE", "istio-system"),
    ("CLUSTER_ID", CLUSTER),
    ("ENABLE_CA_SERVER", "false"),
    ("PILOT_ENABLE_ALPN_FILTER", "false"),
    ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
    ("INJECTION_WEBHOOK_CONFIG_NAME", ""),
    ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
];

/// Where a gateway is that runs.
#[derive(Debug, Clone, Copy)]
pub struct Gateway;

impl Gateway {
    /// Where users of an `HTTPRoute` come.
    pub const fn route(self) -> SocketAddr {
        here(ROUTE_PORT)
    }

    /// Where users of a `VirtualService` come.
    pub const fn mesh(self) -> SocketAddr {
        here(MESH_PORT)
    }
}

const fn here(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// The gateway as the API server has it, and where each part is made.
pub(crate) fn objects() -> Vec<(String, Value)> {
    let namespace = |name: &str| {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        ("/api/v1/namespaces".to_owned(), object)
    };
    let inside = |group: &str, kind: &str, version: &str, plural: &str, spec: Value| {
        let object =
            json!({"apiVersion": version, "kind": kind, "metadata": {"name": GATEWAY}, "spec": spec});
        (format!("{group}/{version}/namespaces/{GATEWAY}/{plural}"), object)
    };
    let labels = json!({"app": GATEWAY});
    vec![
        namespace("istio-system"),
        namespace(GATEWAY),
        inside(
            "/apis",
            "Deployment",
            "apps/v1",
            "deployments",
            json!({
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "envoy", "image": "envoy"}]}},
            }),
        ),
        inside(
            "/api",
            "Service",
            "v1",
            "services",
            json!({"selector": labels, "ports": [
                {"name": "http", "port": 80, "targetPort": ROUTE_PORT},
                {"name": "http-mesh", "port": 81, "targetPort": MESH_PORT},
            ]}),
        ),
        inside(
            "/apis",
            "Gateway",
            "gateway.networking.k8s.io/v1",
            "gateways",
            json!({
                "gatewayClassName": "istio",
                // Istio takes the gateway that is there and makes none.
                "addresses": [{"type": "Hostname", "value": format!("{GATEWAY}.{GATEWAY}.svc.cluster.local")}],
                "listeners": [{
                    "name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}},
                }],
            }),
        ),
        inside(
            "/apis",
            "Gateway",
            "networking.istio.io/v1",
            "gateways",
            json!({
                "selector": labels,
                "servers": [{"port": {"number": 81, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
            }),
        ),
    ]
}

/// Name and address of the gateway's pod, once it has one.
pub(crate) fn pod(admin: &Access) -> Result<Option<(String, String)>, BedError> {
    let list = admin.get(&format!("/api/v1/namespaces/{GATEWAY}/pods"))?;
    let at = |pointer: &str| list.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    Ok(at("/items/0/metadata/name").zip(at("/items/0/status/podIP")))
}

/// Envoy's configuration: that it is the gateway's pod, and where Istio is.
pub(crate) fn bootstrap((name, address): &(String, String)) -> String {
    let at = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let discovered = json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
    let endpoint = json!({"endpoint": {"address": at(DISCOVERY_PORT)}});
    json!({
        "node": {
            "id": format!("router~{address}~{name}.{GATEWAY}~{GATEWAY}.svc.cluster.local"),
            "cluster": GATEWAY,
            "metadata": {"NAMESPACE": GATEWAY, "CLUSTER_ID": CLUSTER, "LABELS": {"app": GATEWAY}},
        },
        "admin": {"address": at(ADMIN_PORT)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "istiod"}}],
            },
            "cds_config": discovered,
            "lds_config": discovered,
        },
        "static_resources": {"clusters": [{
            "name": "istiod",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                },
            },
            "load_assignment": {"cluster_name": "istiod", "endpoints": [{"lb_endpoints": [endpoint]}]},
        }]},
    })
    .to_string()
}

pub(crate) fn istiod(site: &Site<'_>) -> Vec<String> {
    vec![
        "discovery".to_owned(),
        format!("--kubeconfig={}", site.file(&Site::kubeconfig(Component::Istiod))),
        format!("--meshConfig={}", site.file(SETTINGS.0)),
        "--namespace=istio-system".to_owned(),
        format!("--clusterID={CLUSTER}"),
        format!("--grpcAddr=127.0.0.1:{DISCOVERY_PORT}"),
        format!("--monitoringAddr=127.0.0.1:{READY_PORT}"),
        "--httpAddr=127.0.0.1:15080".to_owned(),
        "--httpsAddr=".to_owned(),
        "--secureGRPCAddr=".to_owned(),
    ]
}

pub(crate) fn envoy(site: &Site<'_>) -> Vec<String> {
    vec![
        "--config-path".to_owned(),
        site.file(BOOTSTRAP),
        "--concurrency".to_owned(),
        "1".to_owned(),
        "--log-level".to_owned(),
        "warning".to_owned(),
        "--disable-hot-restart".to_owned(),
    ]
}

pub(crate) fn istiod_is_ready() -> bool {
    TcpStream::connect(here(DISCOVERY_PORT)).is_ok() && answers(15_080, "/ready")
}

/// It listens for users once Istio has told it to.
pub(crate) fn envoy_is_ready() -> bool {
    answers(ADMIN_PORT, "/ready")
        && [ROUTE_PORT, MESH_PORT].iter().all(|port| TcpStream::connect(here(*port)).is_ok())
}

fn answers(port: u16, path: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(here(port))?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
