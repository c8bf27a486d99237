//! The fields of the routers that are not Tidegate's: read so that a mistake in them is found, and never followed.

use super::{
    Known,
    Shape::{Keys, Text, Texts, Truth, Whole},
    known,
};

pub(super) static ALB: &[Known] = &[
    known("ingress", Text),
    known("ingresses", Texts),
    known("servicePort", Whole),
    known("rootService", Text),
    known("annotationPrefix", Text),
    known("stickinessConfig", Keys(&[known("enabled", Truth), known("durationSeconds", Whole)])),
];

pub(super) static SMI: &[Known] = &[known("rootService", Text), known("trafficSplitName", Text)];

pub(super) static AMBASSADOR: &[Known] = &[known("mappings", Texts)];

pub(super) static APP_MESH: &[Known] = &[
    known("virtualService", Keys(&[known("name", Text), known("routes", Texts)])),
    known(
        "virtualNodeGroup",
        Keys(&[
            known("canaryVirtualNodeRef", Keys(&[known("name", Text)])),
            known("stableVirtualNodeRef", Keys(&[known("name", Text)])),
        ]),
    ),
];

pub(super) static TRAEFIK: &[Known] = &[known("weightedTraefikServiceName", Text)];

pub(super) static APISIX: &[Known] = &[known("route", Keys(&[known("name", Text), known("rules", Texts)]))];
