//! What a request asks for, in the words of a Role.

use std::fmt;

use hyper::{Method, Uri};

/// What is done to objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// One object is read.
    Get,
    /// A collection is read.
    List,
    /// Changes of a collection are sent as they come.
    Watch,
    /// An object is made (`POST`).
    Create,
    /// An object is replaced (`PUT`).
    Update,
    /// An object is changed or applied (`PATCH`).
    Patch,
    /// An object, or a collection, is deleted.
    Delete,
}

impl Verb {
    /// Those that change something.
    pub const WRITES: [Self; 4] = [Self::Create, Self::Update, Self::Patch, Self::Delete];
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        })
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// What is done.
    pub verb: Verb,
    /// To what: `deployments`, `deployments/scale`; the whole path of what is no object (`/version`).
    pub resource: String,
    /// The object's name; empty for a collection.
    pub name: String,
}

impl Asked {
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        let (resource, name) = parts(uri.path());
        let watches = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .any(|one| one.strip_prefix("watch=").is_some_and(|value| matches!(value, "1" | "true")));
        let verb = match (method.as_str(), watches, name.is_empty()) {
            ("POST", ..) => Verb::Create,
            ("PUT", ..) => Verb::Update,
            ("PATCH", ..) => Verb::Patch,
            ("DELETE", ..) => Verb::Delete,
            (_, true, _) => Verb::Watch,
            (_, false, true) => Verb::List,
            (_, false, false) => Verb::Get,
        };
        Self { verb, resource, name }
    }
}

/// Resource and name in a path.
fn parts(path: &str) -> (String, String) {
    let all: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (["api", _, rest @ ..] | ["apis", _, _, rest @ ..]) = all.as_slice() else {
        return (path.to_owned(), String::new());
    };
    let rest = match rest {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    let text = |text: &str| text.to_owned();
    match rest {
        [] => (text(path), String::new()),
        [resource] => (text(resource), String::new()),
        [resource, name] => (text(resource), text(name)),
        [resource, name, part, ..] => (format!("{resource}/{part}"), text(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_a_role_names_it() {
        let namespaced = "/apis/apps/v1/namespaces/shop/deployments";
        for (method, uri, said) in [
            ("GET", format!("{namespaced}/cart"), "get deployments cart"),
            ("GET", format!("{namespaced}?labelSelector=a"), "list deployments "),
            ("GET", format!("{namespaced}?x=1&watch=true"), "watch deployments "),
            ("PATCH", format!("{namespaced}/cart/scale"), "patch deployments/scale cart"),
            ("POST", "/api/v1/namespaces/shop/pods".to_owned(), "create pods "),
            ("GET", "/api/v1/namespaces/shop".to_owned(), "get namespaces shop"),
            ("DELETE", "/api/v1/nodes/one".to_owned(), "delete nodes one"),
            ("GET", "/version".to_owned(), "list /version "),
        ] {
            let asked = Asked::of(&method.parse().unwrap(), &uri.parse().unwrap());
            assert_eq!(format!("{} {} {}", asked.verb, asked.resource, asked.name), said);
        }
    }
}
