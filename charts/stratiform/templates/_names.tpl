{{- define "stratiform.selector" -}}
app.kubernetes.io/name: stratiform
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "stratiform.labels" -}}
{{ include "stratiform.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
