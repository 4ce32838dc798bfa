//! The fields of the Go types of Knative Build, in the notation of `table`. Containers and volumes are
//! not looked into: a step may be half a container, whose rest a template's arguments fill in.

pub(super) const TABLE: &str = "
BuildGitSource: url! string, revision string
BuildGCSSource: type string, location string
BuildSource: git *BuildGitSource, gcs=GCS *BuildGCSSource, custom *any, subPath string, name string, targetPath string
BuildArgument: name! string, value! string
BuildTemplateInstantiation: name! string, kind string, arguments []BuildArgument, env []any
BuildSpec: generation int, source *BuildSource, sources []BuildSource, steps []any, volumes []any, serviceAccountName string, template *BuildTemplateInstantiation, nodeSelector map, timeout *string, affinity *any, status string, Status string
Build: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec BuildSpec, status opaque
BuildParameter: name! string, description string, default *string
BuildTemplateSpec: generation int, parameters []BuildParameter, steps []any, volumes []any
BuildTemplate: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec BuildTemplateSpec, status opaque
ClusterBuildTemplate: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec BuildTemplateSpec, status opaque
";
