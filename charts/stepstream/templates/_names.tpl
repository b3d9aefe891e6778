{{- define "stepstream.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- /* The prefix of every name: the release's, with the chart's where the former does not hold it. */ -}}
{{- define "stepstream.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "stepstream.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "stepstream.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "stepstream.selectorLabels" -}}
app.kubernetes.io/name: {{ include "stepstream.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "stepstream.labels" -}}
{{ include "stepstream.selectorLabels" . }}
{{ include "stepstream.originLabels" . }}
{{- end -}}

{{- /* Of objects that the operator's selectors must not find. */ -}}
{{- define "stepstream.originLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "stepstream.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "stepstream.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* Reference of the image of a role: (dict "root" $ "role" "operator"). A first part with a dot or a colon in it, or
     localhost, is a registry, as for every container runtime. */ -}}
{{- define "stepstream.image" -}}
{{- $images := .root.Values.images -}}
{{- $image := index $images .role -}}
{{- $repository := $image.repository -}}
{{- $host := first (splitList "/" $repository) -}}
{{- $hosted := and (contains "/" $repository) (or (contains "." $host) (contains ":" $host) (eq $host "localhost")) -}}
{{- if and $images.registry (not $hosted) -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" $images.registry) $repository -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* The restricted Pod Security level asks for these two. */ -}}
{{- define "stepstream.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ .Values.runAsUser }}
runAsGroup: {{ .Values.runAsUser }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "stepstream.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
