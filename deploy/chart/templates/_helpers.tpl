{{/* The kind. Fails if there is no controller for it. */}}
{{- define "mock.kind" -}}
{{- $known := list -}}
{{- range $path, $_ := .Files.Glob "rbac/*.yaml" -}}
{{- $known = append $known (trimSuffix ".yaml" (base $path)) -}}
{{- end -}}
{{- if not (has .Values.kind $known) -}}
{{- fail (printf "kind %q has no controller: set it to one of %s" .Values.kind (join ", " $known)) -}}
{{- end -}}
{{- .Values.kind -}}
{{- end -}}

{{/* The name of the binary and of its image, and the prefix of the leader's Lease. */}}
{{- define "mock.name" -}}
mock-{{ include "mock.kind" . }}
{{- end -}}

{{/* "true" in the garden's runtime cluster, otherwise empty. gardener-operator sets the value to a string. */}}
{{- define "mock.inGarden" -}}
{{- $cluster := default dict (default dict .Values.gardener).runtimeCluster -}}
{{- if eq (toString $cluster.enabled) "true" -}}true{{- end -}}
{{- end -}}

{{/* The priority class of extensions in the garden's runtime cluster, elsewhere empty. */}}
{{- define "mock.gardenPriorityClass" -}}
{{- if include "mock.inGarden" . }}{{ .Values.gardener.runtimeCluster.priorityClassName }}{{ end -}}
{{- end -}}

{{/* The served classes as a JSON list, empty for the controller's default. In the garden's runtime cluster the default is
     `garden` alone: if that cluster is a seed as well, two installations would serve the same objects. */}}
{{- define "mock.classes" -}}
{{- $default := ternary (list "garden") list (eq (include "mock.inGarden" .) "true") -}}
{{- toJson (default $default .Values.classes) -}}
{{- end -}}

{{/* The further rules of a controller that keeps hollow nodes, empty for all others. */}}
{{- define "mock.hollowNodes" -}}
{{- if .Values.hollowNodes -}}
{{- .Files.Get (printf "rbac-hollow-nodes/%s.yaml" (include "mock.kind" .)) | trim -}}
{{- end -}}
{{- end -}}

{{/* The rules of the ClusterRole. A controller that serves class `garden` alone needs no Clusters, and there may be none. */}}
{{- define "mock.rules" -}}
{{- $kind := include "mock.kind" . -}}
{{- if ne (include "mock.classes" .) `["garden"]` -}}
{{- .Files.Get (printf "rbac/%s.yaml" $kind) | trim -}}
{{- with include "mock.hollowNodes" . }}{{ printf "\n%s" . }}{{ end -}}
{{- else -}}
{{- $rules := .Files.Get (printf "rbac-in-garden/%s.yaml" $kind) -}}
{{- if not $rules -}}
{{- fail (printf "kind %q has no objects of class garden: install it on seeds, not in the garden's runtime cluster" $kind) -}}
{{- end -}}
{{- trim $rules -}}
{{- end -}}
{{- end -}}

{{/* The labels of the selector, which cannot change during the life of a release. */}}
{{- define "mock.selector" -}}
app.kubernetes.io/name: {{ include "mock.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mock.labels" -}}
{{ include "mock.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: gardener-mock
{{- end -}}

{{/* The name of cluster-scoped objects (docs/extensions/conventions.md of Gardener). */}}
{{- define "mock.global" -}}
extensions.gardener.cloud:{{ .Release.Name }}:controller
{{- end -}}

{{/* "true" if leader election is enabled, otherwise empty. */}}
{{- define "mock.elects" -}}
{{- $enabled := .Values.leaderElection.enabled -}}
{{- if or (eq $enabled true) (and (kindIs "invalid" $enabled) (gt (int .Values.replicas) 1)) -}}true{{- end -}}
{{- end -}}

{{/* The admin port. On a node of a self-hosted Shoot, gardenlet sets the usable ports. */}}
{{- define "mock.adminPort" -}}
{{- int (first (concat (default list .Values.usablePorts) (list .Values.adminPort))) -}}
{{- end -}}

{{/* The admin address: all addresses of the Pod. If the seed has IPv6, this is [::]. */}}
{{- define "mock.adminAddress" -}}
{{- $networks := default dict (default dict (default dict .Values.gardener).seed).networks -}}
{{- $host := ternary "[::]" "0.0.0.0" (has "IPv6" (default list $networks.ipFamilies)) -}}
{{- printf "%s:%s" $host (include "mock.adminPort" .) -}}
{{- end -}}
