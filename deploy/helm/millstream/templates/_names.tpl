{{/* The name of the release's objects, at most 40 characters. */}}
{{- define "millstream.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "millstream.labels" -}}
{{ include "millstream.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* Labels that never change, as selectors need them. */}}
{{- define "millstream.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "millstream.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "millstream.name" . -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- define "millstream.apiUrl" -}}
http://{{ include "millstream.name" . }}-api:2024{{ .Values.api.pathPrefix }}
{{- end -}}

{{/* The pools of workers, each with the defaults. */}}
{{- define "millstream.pools" -}}
{{- $pools := list -}}
{{- range .Values.workers -}}
{{- $pools = append $pools (mergeOverwrite (deepCopy $.Values.workerDefaults) (deepCopy .)) -}}
{{- end -}}
{{- toYaml (dict "pools" $pools) -}}
{{- end -}}
