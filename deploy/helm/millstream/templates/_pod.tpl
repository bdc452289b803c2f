{{/* What the pods of all processes have in common. `part` is .Values.api or a pool. */}}

{{- define "millstream.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "millstream.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: tmp
    mountPath: /tmp
{{- end -}}

{{- define "millstream.placement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .part.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "millstream.selector" $.root | nindent 8 }}
        app.kubernetes.io/component: {{ $.component }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
volumes:
  - name: tmp
    emptyDir: {}
{{- end -}}

{{- define "millstream.image" -}}
image: {{ printf "%s:%s" .part.image.repository (.part.image.tag | default .root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ .part.image.pullPolicy }}
{{- end -}}

{{/* Variables: those of the chart, then the user's, of all processes and of this one. A later one wins. */}}
{{- define "millstream.env" -}}
{{- $settings := mergeOverwrite (dict) .own .root.Values.settings .part.settings -}}
env:
  - name: REDIS_URL
    valueFrom:
      secretKeyRef:
        name: {{ .root.Values.redis.existingSecret }}
        key: {{ .root.Values.redis.key }}
  {{- range $name, $value := $settings }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
{{- with concat .root.Values.secrets .part.secrets }}
envFrom:
  {{- range . }}
  - secretRef:
      name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}
