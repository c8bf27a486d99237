//! Kubeconfig files. JSON, which is YAML too; certificates stand in them, so that a copy works anywhere.

use serde_json::{Value, json};

use crate::authority::{Signed, data};

/// How somebody proves who they are.
pub(crate) enum Credential<'a> {
    /// By a client certificate.
    Certificate(&'a Signed),
    /// By a bearer token.
    Token(&'a str),
}

/// The text of a kubeconfig with one cluster, one user and one context, all named `bed`.
pub(crate) fn text(server: &str, authority: &str, credential: &Credential<'_>, namespace: &str) -> String {
    let user: Value = match credential {
        Credential::Certificate(signed) => json!({
            "client-certificate-data": data(&signed.certificate),
            "client-key-data": data(&signed.key),
        }),
        Credential::Token(token) => json!({"token": token}),
    };
    let cluster = json!({"server": server, "certificate-authority-data": data(authority)});
    let context = json!({"cluster": "bed", "user": "bed", "namespace": namespace});
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bed", "cluster": cluster}],
        "users": [{"name": "bed", "user": user}],
        "contexts": [{"name": "bed", "context": context}],
        "current-context": "bed",
    })
    .to_string()
}
