{{- /* Alerts, each with a page in docs/runbooks. Labels of the series: namespace, training_job, pod, role. */ -}}
{{- define "stepstream.annotations" -}}
annotations:
  summary: {{ .summary | quote }}
  description: {{ .description | quote }}
  runbook: {{ printf "docs/runbooks/%s.md" .alert }}
  {{- with .root.Values.prometheusRule.runbookUrl }}
  runbook_url: {{ printf "%s/%s.md" (trimSuffix "/" .) $.alert }}
  {{- end }}
{{- end -}}

{{- define "stepstream.alerts" -}}
{{- $rule := .Values.prometheusRule -}}
{{- $operator := printf `namespace="%s"` .Release.Namespace -}}
{{- $job := "{{ $labels.namespace }}/{{ $labels.training_job }}" -}}
- name: stepstream-jobs
  rules:
    - alert: StepstreamLearnerStarved
      expr: |
        sum by (namespace, training_job, pod) (rate(stepstream_learner_phase_seconds_total{phase=~"wait|idle"}[5m]))
          / sum by (namespace, training_job, pod) (rate(stepstream_learner_phase_seconds_total[5m]))
          > {{ $rule.learnerWaitFraction }}
      for: 15m
      labels: {severity: warning}
      {{- include "stepstream.annotations" (dict "root" . "alert" "StepstreamLearnerStarved"
            "summary" (printf "A learner of %s waits for simulators" $job)
            "description" "Learner {{ $labels.pod }} spends {{ $value | humanizePercentage }} of its time waiting for observations. More simulators, or faster ones, would make this job faster.") | nindent 6 }}
    - alert: StepstreamNoSteps
      expr: sum by (namespace, training_job) (rate(stepstream_learner_steps_total[5m])) == 0
      for: {{ $rule.noStepsMinutes }}m
      labels: {severity: critical}
      {{- include "stepstream.annotations" (dict "root" . "alert" "StepstreamNoSteps"
            "summary" (printf "%s does not step" $job)
            "description" "The learners are up, and not one step has reached them for minutes.") | nindent 6 }}
    - alert: StepstreamReturnsCollapsed
      # Scale-free: what was lost, as a part of what the last six hours ranged over; a range too narrow to mean
      # anything (a tenth of the values themselves) does not count.
      expr: |
        (
          max_over_time(stepstream_learner_episode_return_mean[6h]) - stepstream_learner_episode_return_mean
            > {{ $rule.returnDropFraction }} * (
              max_over_time(stepstream_learner_episode_return_mean[6h])
                - min_over_time(stepstream_learner_episode_return_mean[6h])
            )
        )
        and (
          max_over_time(stepstream_learner_episode_return_mean[6h])
            - min_over_time(stepstream_learner_episode_return_mean[6h])
            > 0.1 * (
              abs(max_over_time(stepstream_learner_episode_return_mean[6h]))
                + abs(min_over_time(stepstream_learner_episode_return_mean[6h]))
            )
        )
      for: 15m
      labels: {severity: warning}
      {{- include "stepstream.annotations" (dict "root" . "alert" "StepstreamReturnsCollapsed"
            "summary" (printf "Returns of %s have collapsed" $job)
            "description" "The mean return lies {{ $value | humanize }} below its best of the last six hours.") | nindent 6 }}
    - alert: StepstreamCheckpointTooOld
      expr: stepstream_learner_checkpoint_age_seconds > {{ $rule.checkpointAgeSeconds }}
      for: 5m
      labels: {severity: warning}
      {{- include "stepstream.annotations" (dict "root" . "alert" "StepstreamCheckpointTooOld"
            "summary" (printf "The newest checkpoint of %s is too old" $job)
            "description" "A crash now would lose {{ $value | humanizeDuration }} of training.") | nindent 6 }}
    - alert: StepstreamCheckpointTooOld
      # An age is NaN, which differs from itself, until a learner has written a checkpoint; of several, one writes them.
      # NaN is the highest of nothing but NaN.
      expr: |
        max by (namespace, training_job) (stepstream_learner_checkpoint_age_seconds)
          != max by (namespace, training_job) (stepstream_learner_checkpoint_age_seconds)
      for: {{ $rule.checkpointAgeSeconds }}s
      labels: {severity: warning}
      {{- include "stepstream.annotations" (dict "root" . "alert" "StepstreamCheckpointTooOld"
            "summary" (printf "%s has written no checkpoint yet" $job)
            "description" "A crash now would lose everything that it has learned.") | nindent 6 }}
    - alert: StepstreamCheckpointFailing
      expr: sum by (namespace, training_job, pod) (increase(stepstream_learner_checkpoint_failures_total[15m])) > 0
      labels: {severity: critical}
      {{- include "stepstream.annotations" (dict "root" . "alert" "StepstreamCheckpointFailing"
            "summary" (printf "%s cannot write checkpoints" $job)
            "description" "Writing failed {{ $value | humanize }} times in 15 minutes on {{ $labels.pod }}; training goes on and the last whole checkpoint is kept. A full volume is the usual cause.") | nindent 6 }}
    - alert: StepstreamSlotsUnserved
      expr: sum by (namespace, training_job) (stepstream_learner_slots{state="free"}) > 0
      for: 10m
      labels: {severity: warning}
      {{- include "stepstream.annotations" (dict "root" . "alert" "StepstreamSlotsUnserved"
            "summary" (printf "Environment slots of %s have no simulator" $job)
            "description" "{{ $value }} slots have been without a simulator for 10 minutes; the learner waits for them.") | nindent 6 }}
    - alert: StepstreamSimulatorsCrashLooping
      expr: |
        sum by (namespace, training_job) (resets(stepstream_simulator_steps_total[15m])) > {{ $rule.simulatorRestarts }}
        {{- if $rule.kubeStateMetrics }}
        or
        sum by (namespace, pod) (increase(kube_pod_container_status_restarts_total{container="simulator"}[15m])) > {{ $rule.simulatorRestarts }}
        {{- end }}
      labels: {severity: warning}
      {{- include "stepstream.annotations" (dict "root" . "alert" "StepstreamSimulatorsCrashLooping"
            "summary" "Simulators of {{ $labels.namespace }}/{{ $labels.training_job }}{{ $labels.pod }} crash again and again"
            "description" "{{ $value | humanize }} restarts in 15 minutes. Training goes on, slower: every restart replays the episodes that were under way.") | nindent 6 }}
    - alert: StepstreamRebuiltDifferently
      expr: sum by (namespace, training_job) (increase(stepstream_learner_slots_rebuilt_differently_total[15m])) > 0
      labels: {severity: warning}
      {{- include "stepstream.annotations" (dict "root" . "alert" "StepstreamRebuiltDifferently"
            "summary" (printf "The environment of %s is not deterministic" $job)
            "description" "{{ $value | humanize }} replays within 15 minutes led to other observations than the first time. The job says that seeds and actions determine its episodes; they do not.") | nindent 6 }}
    - alert: StepstreamStreamsRefused
      expr: sum by (namespace, training_job, reason) (increase(stepstream_learner_streams_refused_total[10m])) > 5
      for: 5m
      labels: {severity: warning}
      {{- include "stepstream.annotations" (dict "root" . "alert" "StepstreamStreamsRefused"
            "summary" (printf "Learners of %s refuse simulators" $job)
            "description" "{{ $value | humanize }} streams were refused in 10 minutes as {{ $labels.reason }}: wrong version, wrong job or environment, an older life, a broken message, or no certificate of the job.") | nindent 6 }}
- name: stepstream-operator
  rules:
    - alert: StepstreamOperatorDown
      expr: absent(stepstream_operator_leader{ {{- $operator -}} } == 1)
      for: 5m
      labels: {severity: critical}
      {{- include "stepstream.annotations" (dict "root" . "alert" "StepstreamOperatorDown"
            "summary" "No Stepstream operator acts"
            "description" "For 5 minutes no operator has held the Lease. Training goes on; new jobs, failures and scaling wait.") | nindent 6 }}
    - alert: StepstreamOperatorStuck
      # Whoever waits for the Lease keeps a queue too, and is not expected to work on it.
      expr: |
        sum by (pod) (stepstream_operator_queue_depth{ {{- $operator -}} }) > 0
          and sum by (pod) (stepstream_operator_leader{ {{- $operator -}} }) == 1
          and sum by (pod) (rate(stepstream_operator_reconcile_seconds_count{ {{- $operator -}} }[10m])) == 0
      for: 10m
      labels: {severity: critical}
      {{- include "stepstream.annotations" (dict "root" . "alert" "StepstreamOperatorStuck"
            "summary" "The Stepstream operator is stuck"
            "description" "{{ $value }} jobs wait in the work queue of {{ $labels.pod }} and none has been reconciled for 10 minutes.") | nindent 6 }}
    - alert: StepstreamOperatorErrors
      expr: |
        sum by (pod, kind) (rate(stepstream_operator_reconcile_errors_total{ {{- $operator -}} }[15m]))
          / ignoring (kind) group_left sum by (pod) (rate(stepstream_operator_reconcile_seconds_count{ {{- $operator -}} }[15m]))
          > 0.5
      for: 15m
      labels: {severity: warning}
      {{- include "stepstream.annotations" (dict "root" . "alert" "StepstreamOperatorErrors"
            "summary" "Most reconciles of the Stepstream operator fail"
            "description" "More than half of the reconciles of {{ $labels.pod }} have failed ({{ $labels.kind }}) for 15 minutes.") | nindent 6 }}
{{- end -}}
