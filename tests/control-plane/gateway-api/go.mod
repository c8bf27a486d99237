// Where the CRDs of Gateway API come from: its own module has them as files.
module tidegate.dev/tests/control-plane/gateway-api

go 1.26.0

require sigs.k8s.io/gateway-api v1.6.3
