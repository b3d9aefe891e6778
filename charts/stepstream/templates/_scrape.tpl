{{- /* A plain Prometheus configuration that finds what the ServiceMonitor and the PodMonitor find. */ -}}
{{- define "stepstream.prometheus" -}}
global:
  scrape_interval: {{ .Values.podMonitor.interval }}
  scrape_timeout: {{ .Values.podMonitor.scrapeTimeout }}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: stepstream-operator
    scrape_interval: {{ .Values.serviceMonitor.interval }}
    scrape_timeout: {{ .Values.serviceMonitor.scrapeTimeout }}
    kubernetes_sd_configs:
      - role: pod
        namespaces: {names: [{{ .Release.Namespace }}]}
        selectors:
          - role: pod
            label: {{ include "stepstream.selectorLabels" . | fromYaml | include "stepstream.selector" | quote }}
    relabel_configs:
      {{- include "stepstream.podRelabeling" . | nindent 6 }}
  - job_name: stepstream-jobs
    kubernetes_sd_configs:
      - role: pod
        {{- with .Values.watchNamespaces }}
        namespaces: {names: {{ toJson . }}}
        {{- end }}
        selectors:
          - {role: pod, label: stepstream.dev/role}
    relabel_configs:
      {{- include "stepstream.podRelabeling" . | nindent 6 }}
      - {source_labels: [__meta_kubernetes_pod_label_stepstream_dev_job], target_label: training_job}
      - {source_labels: [__meta_kubernetes_pod_label_stepstream_dev_role], target_label: role}
{{- end -}}

{{- /* key=value,key=value of a map of labels. */ -}}
{{- define "stepstream.selector" -}}
{{- $terms := list -}}
{{- range $key, $value := . }}{{ $terms = append $terms (printf "%s=%s" $key $value) }}{{ end -}}
{{- join "," $terms -}}
{{- end -}}

{{- define "stepstream.podRelabeling" -}}
- {source_labels: [__meta_kubernetes_pod_container_port_name], regex: http, action: keep}
- {source_labels: [__meta_kubernetes_pod_phase], regex: Pending|Succeeded|Failed|Completed, action: drop}
- {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
- {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
{{- end -}}
