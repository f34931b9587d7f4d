{{/* The kind, if there is a controller for it. */}}
{{- define "mock.kind" -}}
{{- $known := list -}}
{{- range $path, $_ := .Files.Glob "rbac/*.yaml" -}}
{{- $known = append $known (trimSuffix ".yaml" (base $path)) -}}
{{- end -}}
{{- if not (has .Values.kind $known) -}}
{{- fail (printf "kind %q: there is no such controller, set it to one of %s" .Values.kind (join ", " $known)) -}}
{{- end -}}
{{- .Values.kind -}}
{{- end -}}

{{/* Name of the binary, of its image, and of the Lease of its leader. */}}
{{- define "mock.name" -}}
mock-{{ include "mock.kind" . }}
{{- end -}}

{{/* What never changes in the life of a release. */}}
{{- define "mock.selector" -}}
app.kubernetes.io/name: {{ include "mock.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mock.labels" -}}
{{ include "mock.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ .Chart.Name }}
{{- end -}}

{{/* Name of objects that have no namespace (docs/extensions/conventions.md of Gardener). */}}
{{- define "mock.global" -}}
extensions.gardener.cloud:{{ .Release.Name }}:controller
{{- end -}}

{{/* Not empty if one of several replicas leads. */}}
{{- define "mock.elects" -}}
{{- $enabled := .Values.leaderElection.enabled -}}
{{- if or (eq $enabled true) (and (kindIs "invalid" $enabled) (gt (int .Values.replicas) 1)) -}}true{{- end -}}
{{- end -}}

{{/* On a node of a self-hosted Shoot, gardenlet says which ports are free. */}}
{{- define "mock.adminPort" -}}
{{- int (first (concat (default list .Values.usablePorts) (list .Values.adminPort))) -}}
{{- end -}}

{{/* All addresses of the Pod; a seed with IPv6 alone has no other. */}}
{{- define "mock.adminAddress" -}}
{{- $networks := default dict (default dict (default dict .Values.gardener).seed).networks -}}
{{- $host := ternary "[::]" "0.0.0.0" (has "IPv6" (default list $networks.ipFamilies)) -}}
{{- printf "%s:%s" $host (include "mock.adminPort" .) -}}
{{- end -}}
