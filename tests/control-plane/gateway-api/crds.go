//go:build never

// Package crds is never compiled: the import keeps the requirement in go.mod when it is tidied.
package crds

import _ "sigs.k8s.io/gateway-api/pkg/consts"
