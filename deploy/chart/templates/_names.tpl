{{- define "tidegate.labels" -}}
app.kubernetes.io/name: tidegate-controller
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tidegate.subject" -}}
- kind: ServiceAccount
  name: {{ .Release.Name }}
  namespace: {{ .Release.Namespace }}
{{- end }}
