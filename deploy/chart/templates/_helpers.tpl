{{/* Labels of an object. Call with (dict "root" $ "name" "registrymirror-webhook"). */}}
{{- define "registry-mirror.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: registry-mirror
{{- if .root.Values.global.helmLabels }}
app.kubernetes.io/instance: {{ toYaml .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- end }}
{{- end }}

{{/* Image of a program. Call with (dict "root" $ "image" .Values.webhook.image). */}}
{{- define "registry-mirror.image" -}}
{{- with .root.Values.global.imageRegistry }}{{ . | trimSuffix "/" }}/{{ end }}
{{- .image.repository }}
{{- if or .image.tag (not .image.digest) }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- with .image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* Variables of settings with names in camel case: `logLevel` is LOG_LEVEL. */}}
{{- define "registry-mirror.variables" -}}
{{- range $name, $value := . }}
- name: {{ $name | snakecase | upper }}
  value: {{ kindIs "slice" $value | ternary (join "," $value) (toString $value) | quote }}
{{- end }}
{{- end }}

{{/* PriorityClass of a value, or the chart's own if it creates one. Call with (dict "root" $ "name" "" "own" "registrymirror"). */}}
{{- define "registry-mirror.priority-class" -}}
{{- .name | default (ternary .own "" .root.Values.priorityClasses.create) }}
{{- end }}
{{- define "registry-mirror.priority" -}}
{{- with include "registry-mirror.priority-class" . }}priorityClassName: {{ toYaml . }}{{ end }}
{{- end }}

{{/* Fields of a pod that webhook and controller share. Call with (dict "root" $ "group" .Values.webhook). */}}
{{- define "registry-mirror.placement" -}}
{{- with .root.Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .group.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .group.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .group.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Label selector of `agent.nodeSelector`: a map of labels, or a text in the syntax of Kubernetes. */}}
{{- define "registry-mirror.selector" -}}
{{- if kindIs "map" . }}
{{- $labels := list }}
{{- range $key, $value := . }}{{ $labels = append $labels (printf "%s=%s" $key $value) }}{{ end }}
{{- join "," $labels }}
{{- else }}{{ . }}{{ end }}
{{- end }}

{{/* Names of the Secrets in `global.imagePullSecrets`. */}}
{{- define "registry-mirror.names" -}}
{{- $names := list }}
{{- range . }}{{ $names = append $names .name }}{{ end }}
{{- join "," $names }}
{{- end }}

{{/* Security contexts of the pods and containers of hooks: the restricted level. */}}
{{- define "registry-mirror.pod-security" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}
{{- define "registry-mirror.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Annotations of the hook before the removal. */}}
{{- define "registry-mirror.drain-hook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
