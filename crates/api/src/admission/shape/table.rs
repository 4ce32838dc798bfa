//! The fields of the Go types admission reads, as text: `json[!][=GoName] type`, comma separated.
//! `!` marks a field that is written even when empty (no `omitempty`), `*` a pointer (whose zero
//! value is kept), `[]` a list, `...` the inlined fields of another type. Parts that admission
//! refuses or does not look into are `any`. After Kubernetes' core/v1 (0.35) and Knative's v1.

pub(super) const TABLE: &str = "
ObjectMeta: name string, generateName string, namespace string, selfLink string, uid=UID string, resourceVersion string, generation int, creationTimestamp *any, deletionTimestamp *any, deletionGracePeriodSeconds *int, labels map, annotations map, ownerReferences []OwnerReference, finalizers []string, managedFields []any
OwnerReference: apiVersion!=APIVersion string, kind! string, name! string, uid!=UID string, controller *bool, blockOwnerDeletion *bool
LocalObjectReference: name string
PodSpec: volumes []Volume, initContainers []Container, containers! []Container, ephemeralContainers []any, restartPolicy string, terminationGracePeriodSeconds *int, activeDeadlineSeconds *int, dnsPolicy=DNSPolicy string, nodeSelector map, serviceAccountName string, serviceAccount=DeprecatedServiceAccount string, automountServiceAccountToken *bool, nodeName string, hostNetwork bool, hostPID bool, hostIPC bool, shareProcessNamespace *bool, securityContext *PodSecurityContext, imagePullSecrets []LocalObjectReference, hostname string, subdomain string, affinity *any, schedulerName string, tolerations []Toleration, hostAliases []HostAlias, priorityClassName string, priority *int, dnsConfig=DNSConfig *PodDNSConfig, readinessGates []PodReadinessGate, runtimeClassName *string, enableServiceLinks *bool, preemptionPolicy *string, overhead quantities, topologySpreadConstraints []TopologySpreadConstraint, setHostnameAsFQDN *bool, os=OS *PodOS, hostUsers *bool, schedulingGates []PodSchedulingGate, resourceClaims []PodResourceClaim, resources *ResourceRequirements, hostnameOverride *string, workloadRef *any
Container: name! string, image string, command []string, args []string, workingDir string, ports []ContainerPort, envFrom []EnvFromSource, env []EnvVar, resources ResourceRequirements, resizePolicy []any, restartPolicy *string, restartPolicyRules []any, volumeMounts []VolumeMount, volumeDevices []VolumeDevice, livenessProbe *Probe, readinessProbe *Probe, startupProbe *Probe, lifecycle *any, terminationMessagePath string, terminationMessagePolicy string, imagePullPolicy string, securityContext *SecurityContext, stdin bool, stdinOnce bool, tty=TTY bool
ContainerPort: name string, hostPort int, containerPort! int, protocol string, hostIP string
EnvFromSource: prefix string, configMapRef *ConfigMapEnvSource, secretRef *SecretEnvSource
ConfigMapEnvSource: ...LocalObjectReference, optional *bool
SecretEnvSource: ...LocalObjectReference, optional *bool
EnvVar: name! string, value string, valueFrom *EnvVarSource
EnvVarSource: fieldRef *ObjectFieldSelector, resourceFieldRef *ResourceFieldSelector, configMapKeyRef *ConfigMapKeySelector, secretKeyRef *SecretKeySelector, fileKeyRef *FileKeySelector
ObjectFieldSelector: apiVersion=APIVersion string, fieldPath! string
ResourceFieldSelector: containerName string, resource! string, divisor! quantity
ConfigMapKeySelector: ...LocalObjectReference, key! string, optional *bool
SecretKeySelector: ...LocalObjectReference, key! string, optional *bool
FileKeySelector: volumeName! string, path! string, key! string, optional *bool
ResourceRequirements: limits quantities, requests quantities, claims []ResourceClaim
ResourceClaim: name! string, request string
VolumeMount: name! string, readOnly bool, recursiveReadOnly *string, mountPath! string, subPath string, mountPropagation *string, subPathExpr string
VolumeDevice: name! string, devicePath! string
Probe: ...ProbeHandler, initialDelaySeconds int, timeoutSeconds int, periodSeconds int, successThreshold int, failureThreshold int, terminationGracePeriodSeconds *int
ProbeHandler: exec *ExecAction, httpGet=HTTPGet *HTTPGetAction, tcpSocket=TCPSocket *TCPSocketAction, grpc=GRPC *GRPCAction
ExecAction: command []string
HTTPGetAction: path string, port! intstr, host string, scheme string, httpHeaders=HTTPHeaders []HTTPHeader
HTTPHeader: name! string, value! string
TCPSocketAction: port! intstr, host string
GRPCAction: port! int, service! *string
SecurityContext: capabilities *Capabilities, privileged *bool, seLinuxOptions=SELinuxOptions *any, windowsOptions *any, runAsUser *int, runAsGroup *int, runAsNonRoot *bool, readOnlyRootFilesystem *bool, allowPrivilegeEscalation *bool, procMount *string, seccompProfile *SeccompProfile, appArmorProfile *any
Capabilities: add []string, drop []string
SeccompProfile: type! string, localhostProfile *string
PodSecurityContext: seLinuxOptions=SELinuxOptions *any, windowsOptions *any, runAsUser *int, runAsGroup *int, runAsNonRoot *bool, supplementalGroups []int, supplementalGroupsPolicy *string, fsGroup=FSGroup *int, sysctls []any, fsGroupChangePolicy=FSGroupChangePolicy *string, seccompProfile *SeccompProfile, appArmorProfile *any, seLinuxChangePolicy=SELinuxChangePolicy *string
Volume: name! string, ...VolumeSource
VolumeSource: hostPath *HostPathVolumeSource, emptyDir *EmptyDirVolumeSource, gcePersistentDisk=GCEPersistentDisk *any, awsElasticBlockStore=AWSElasticBlockStore *any, gitRepo *any, secret *SecretVolumeSource, nfs=NFS *any, iscsi=ISCSI *any, glusterfs *any, persistentVolumeClaim *PersistentVolumeClaimVolumeSource, rbd=RBD *any, flexVolume *any, cinder *any, cephfs=CephFS *any, flocker *any, downwardAPI *DownwardAPIVolumeSource, fc=FC *any, azureFile *any, configMap *ConfigMapVolumeSource, vsphereVolume *any, quobyte *any, azureDisk *any, photonPersistentDisk *any, projected *ProjectedVolumeSource, portworxVolume *any, scaleIO *any, storageos=StorageOS *any, csi=CSI *CSIVolumeSource, ephemeral *EphemeralVolumeSource, image *ImageVolumeSource
HostPathVolumeSource: path! string, type *string
EmptyDirVolumeSource: medium string, sizeLimit *quantity
SecretVolumeSource: secretName string, items []KeyToPath, defaultMode *int, optional *bool
ConfigMapVolumeSource: ...LocalObjectReference, items []KeyToPath, defaultMode *int, optional *bool
PersistentVolumeClaimVolumeSource: claimName! string, readOnly bool
DownwardAPIVolumeSource: items []DownwardAPIVolumeFile, defaultMode *int
ProjectedVolumeSource: sources! []VolumeProjection, defaultMode *int
CSIVolumeSource: driver! string, readOnly *bool, fsType=FSType *string, volumeAttributes map, nodePublishSecretRef *LocalObjectReference
EphemeralVolumeSource: volumeClaimTemplate *PersistentVolumeClaimTemplate
PersistentVolumeClaimTemplate: metadata=ObjectMeta ObjectMeta, spec! PersistentVolumeClaimSpec
PersistentVolumeClaimSpec: accessModes []string, selector *any, resources VolumeResourceRequirements, volumeName string, storageClassName *string, volumeMode *string, dataSource *any, dataSourceRef *any, volumeAttributesClassName *string
VolumeResourceRequirements: limits quantities, requests quantities
ImageVolumeSource: reference string, pullPolicy string
VolumeProjection: secret *SecretProjection, downwardAPI *DownwardAPIProjection, configMap *ConfigMapProjection, serviceAccountToken *ServiceAccountTokenProjection, clusterTrustBundle *any, podCertificate *any
SecretProjection: ...LocalObjectReference, items []KeyToPath, optional *bool
ConfigMapProjection: ...LocalObjectReference, items []KeyToPath, optional *bool
ServiceAccountTokenProjection: audience string, expirationSeconds *int, path! string
DownwardAPIProjection: items []DownwardAPIVolumeFile
DownwardAPIVolumeFile: path! string, fieldRef *ObjectFieldSelector, resourceFieldRef *ResourceFieldSelector, mode *int
KeyToPath: key! string, path! string, mode *int
Toleration: key string, operator string, value string, effect string, tolerationSeconds *int
HostAlias: ip!=IP string, hostnames []string
PodDNSConfig: nameservers []string, searches []string, options []any
PodReadinessGate: conditionType! string
PodOS: name! string
PodSchedulingGate: name! string
PodResourceClaim: name! string, resourceClaimName *string, resourceClaimTemplateName *string
TopologySpreadConstraint: maxSkew! int, topologyKey! string, whenUnsatisfiable! string, labelSelector *any, minDomains *int, nodeAffinityPolicy *string, nodeTaintsPolicy *string, matchLabelKeys []string
RevisionSpec: ...PodSpec, containerConcurrency *int, timeoutSeconds *int, responseStartTimeoutSeconds *int, idleTimeoutSeconds *int
RevisionTemplateSpec: metadata=ObjectMeta ObjectMeta, spec RevisionSpec
ConfigurationSpec: template! RevisionTemplateSpec
RouteSpec: traffic []TrafficTarget
ServiceSpec: ...ConfigurationSpec, ...RouteSpec
TrafficTarget: tag string, revisionName string, configurationName string, latestRevision *bool, percent *int, url=URL *string
DomainMappingSpec: ref! KReference, tls=TLS *SecretTLS
KReference: kind! string, namespace string, name! string, apiVersion!=APIVersion string, group string, address *string
SecretTLS: secretName! string
PodAutoscalerSpec: containerConcurrency int, scaleTargetRef! ObjectReference, reachability string, protocolType! string
ObjectReference: kind string, namespace string, name string, uid=UID string, apiVersion=APIVersion string, resourceVersion string, fieldPath string
Service: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec ServiceSpec, status opaque
Configuration: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec ConfigurationSpec, status opaque
Revision: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec RevisionSpec, status opaque
Route: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec RouteSpec, status opaque
DomainMapping: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec DomainMappingSpec, status opaque
PodAutoscaler: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec PodAutoscalerSpec, status opaque
";
