{{/* Names, labels and sums that several manifests use. */}}

{{- define "gavel.name" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains "gavel" .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-gavel" (.Release.Name | trunc 46 | trimSuffix "-") }}
{{- end -}}
{{- end }}

{{/* The headless service of the replicas. */}}
{{- define "gavel.replicasName" -}}{{ include "gavel.name" . }}-replicas{{- end }}

{{- define "gavel.proxyName" -}}{{ include "gavel.name" . }}-proxy{{- end }}

{{- define "gavel.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "gavel.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{/* The labels that identify this release's objects. The name is always gavel: Prometheus' rules use it as the job. */}}
{{- define "gavel.releaseLabels" -}}
app.kubernetes.io/name: gavel
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "gavel.labels" -}}
{{ include "gavel.releaseLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "gavel.judgeLabels" -}}
{{ include "gavel.releaseLabels" . }}
app.kubernetes.io/component: judge
{{- end }}

{{- define "gavel.proxyLabels" -}}
{{ include "gavel.releaseLabels" . }}
app.kubernetes.io/component: proxy
{{- end }}

{{/* An image with its digest if it has one, else with its tag, else with the default tag. */}}
{{- define "gavel.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .tag }}
{{- end -}}
{{- end }}

{{/* The time from the preStop hook or SIGTERM to the end of the last request, plus the margin. */}}
{{- define "gavel.graceSeconds" -}}
{{- with .Values.shutdown -}}
{{ add .preStopSeconds .pauseSeconds .timeoutSeconds .marginSeconds }}
{{- end -}}
{{- end }}

{{/* The longest time that a request may take. */}}
{{- define "gavel.requestSeconds" -}}
{{ get (.Values.config.server | default dict) "request_timeout_s" | default 600 | int64 }}
{{- end }}

{{/* The maximum number of replicas, including the extra ones during an update. */}}
{{- define "gavel.mostReplicas" -}}
{{- $most := ternary .Values.autoscaling.maxReplicas .Values.replicas .Values.autoscaling.enabled -}}
{{ add $most .Values.maxSurge }}
{{- end }}

{{- define "gavel.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "gavel.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* Where pods may run: `values` is the part of the values with these settings, `labels` are the pods' labels. */}}
{{- define "gavel.placement" -}}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- if .values.topologySpread }}
topologySpreadConstraints:
  {{- range .values.topologySpread }}
  - {{ toYaml . | nindent 4 | trim }}
    labelSelector:
      matchLabels: {{ $.labels | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The configuration as TOML. The shutdown times are written as integers, which TOML distinguishes from floats. */}}
{{- define "gavel.toml" -}}
{{- $sections := deepCopy .Values.config -}}
{{- $server := dict "shutdown_pause_s" (int64 .Values.shutdown.pauseSeconds) "shutdown_timeout_s" (int64 .Values.shutdown.timeoutSeconds) -}}
{{- $_ := set $sections "server" (merge $server ($sections.server | default dict)) -}}
{{- if include "gavel.ruleKeys" . -}}
{{- $_ := set $sections "critic" (merge (dict "config_dir" "/etc/gavel/rules") ($sections.critic | default dict)) -}}
{{- end -}}
{{- range $section, $settings := $sections }}
[{{ $section }}]
{{- range $key, $value := $settings }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{ end -}}
{{- end }}

{{/* Keys of the rules in the ConfigMap, as `folder.name`; empty if there are none. */}}
{{- define "gavel.ruleKeys" -}}
{{- range $folder := list "critics" "forms" "rubrics" -}}
{{- range $name, $_ := get $.Values.rules $folder }}{{ $folder }}.{{ $name }} {{ end -}}
{{- end -}}
{{- end }}
