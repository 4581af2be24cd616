"""The fields that objects have, as data, in a notation that `schema` reads.

`Name = field:type ...`, where a type is a scalar (`str int bool num time any`, `qty` for a
quantity, `ports` for a number or a name), another shape's name, `{type}` a map or `[type]` a list.
A list that is merged by keys says so (`[Container]@name`), `@set` is a list of distinct values,
and `!` marks a struct or a map that belongs to one field manager as a whole.
"""

SHAPES = """
ObjectMeta = name:str generateName:str namespace:str uid:str resourceVersion:str generation:int
  creationTimestamp:time deletionTimestamp:time deletionGracePeriodSeconds:int selfLink:str
  labels:{str} annotations:{str} finalizers:[str]@set ownerReferences:[OwnerReference!]@uid
  managedFields:[any]
OwnerReference = apiVersion:str kind:str name:str uid:str controller:bool blockOwnerDeletion:bool
LabelSelector = matchLabels:{str} matchExpressions:[SelectorRequirement]
SelectorRequirement = key:str operator:str values:[str]
LocalRef = name:str
ObjectRef = apiVersion:str kind:str name:str namespace:str uid:str resourceVersion:str fieldPath:str
Condition = type:str status:str reason:str message:str lastTransitionTime:time
  lastUpdateTime:time lastProbeTime:time lastHeartbeatTime:time observedGeneration:int

Namespace = metadata:ObjectMeta spec:NamespaceSpec status:NamespaceStatus
NamespaceSpec = finalizers:[str]
NamespaceStatus = phase:str conditions:[Condition]@type
ConfigMap = metadata:ObjectMeta data:{str} binaryData:{str} immutable:bool
Secret = metadata:ObjectMeta data:{str} stringData:{str} type:str immutable:bool
ServiceAccount = metadata:ObjectMeta secrets:[ObjectRef]@name imagePullSecrets:[LocalRef]
  automountServiceAccountToken:bool
Lease = metadata:ObjectMeta spec:LeaseSpec
LeaseSpec = holderIdentity:str leaseDurationSeconds:int acquireTime:time renewTime:time
  leaseTransitions:int strategy:str preferredHolder:str

Pod = metadata:ObjectMeta spec:PodSpec status:PodStatus
PodTemplate = metadata:ObjectMeta spec:PodSpec
PodSpec = containers:[Container]@name initContainers:[Container]@name
  ephemeralContainers:[Container]@name volumes:[Volume]@name restartPolicy:str
  terminationGracePeriodSeconds:int activeDeadlineSeconds:int dnsPolicy:str
  nodeSelector:{str}! serviceAccountName:str serviceAccount:str
  automountServiceAccountToken:bool nodeName:str hostNetwork:bool hostPID:bool hostIPC:bool
  hostUsers:bool shareProcessNamespace:bool securityContext:PodSecurityContext
  imagePullSecrets:[LocalRef]@name hostname:str subdomain:str hostnameOverride:str
  affinity:Affinity schedulerName:str tolerations:[Toleration]
  hostAliases:[HostAlias]@ip priorityClassName:str priority:int dnsConfig:DNSConfig
  readinessGates:[any] runtimeClassName:str enableServiceLinks:bool preemptionPolicy:str
  overhead:{qty} topologySpreadConstraints:[Spread]@topologyKey,whenUnsatisfiable
  setHostnameAsFQDN:bool os:LocalRef schedulingGates:[LocalRef]@name resourceClaims:[any]
  resources:Resources
Affinity = nodeAffinity:NodeAffinity podAffinity:any podAntiAffinity:any
NodeAffinity = preferredDuringSchedulingIgnoredDuringExecution:[any]
  requiredDuringSchedulingIgnoredDuringExecution:NodeSelector!
NodeSelector = nodeSelectorTerms:[NodeSelectorTerm]
NodeSelectorTerm = matchExpressions:[SelectorRequirement] matchFields:[SelectorRequirement]
Toleration = key:str operator:str value:str effect:str tolerationSeconds:int
HostAlias = ip:str hostnames:[str]
DNSConfig = nameservers:[str] searches:[str] options:[any]
Spread = maxSkew:int topologyKey:str whenUnsatisfiable:str labelSelector:LabelSelector!
  minDomains:int nodeAffinityPolicy:str nodeTaintsPolicy:str matchLabelKeys:[str]
PodSecurityContext = seLinuxOptions:SELinux windowsOptions:Windows runAsUser:int runAsGroup:int
  runAsNonRoot:bool supplementalGroups:[int] supplementalGroupsPolicy:str fsGroup:int
  sysctls:[NameValue] fsGroupChangePolicy:str seccompProfile:Profile appArmorProfile:Profile
  seLinuxChangePolicy:str
SecurityContext = capabilities:Capabilities privileged:bool seLinuxOptions:SELinux
  windowsOptions:Windows runAsUser:int runAsGroup:int runAsNonRoot:bool
  readOnlyRootFilesystem:bool allowPrivilegeEscalation:bool procMount:str
  seccompProfile:Profile appArmorProfile:Profile
Capabilities = add:[str] drop:[str]
SELinux = user:str role:str type:str level:str
Windows = gmsaCredentialSpecName:str gmsaCredentialSpec:str runAsUserName:str hostProcess:bool
Profile = type:str localhostProfile:str
NameValue = name:str value:str
Container = name:str image:str command:[str] args:[str] workingDir:str
  ports:[ContainerPort]@containerPort,protocol envFrom:[EnvFrom] env:[EnvVar]@name
  resources:Resources resizePolicy:[any] restartPolicy:str restartPolicyRules:[any]
  volumeMounts:[VolumeMount]@mountPath volumeDevices:[VolumeDevice]@devicePath
  livenessProbe:Probe readinessProbe:Probe startupProbe:Probe lifecycle:any
  terminationMessagePath:str terminationMessagePolicy:str imagePullPolicy:str
  securityContext:SecurityContext stdin:bool stdinOnce:bool tty:bool targetContainerName:str
ContainerPort = name:str hostPort:int containerPort:int protocol:str hostIP:str
EnvFrom = prefix:str configMapRef:OptionalRef secretRef:OptionalRef
OptionalRef = name:str optional:bool
EnvVar = name:str value:str valueFrom:EnvVarSource
EnvVarSource = fieldRef:FieldRef! resourceFieldRef:ResourceFieldRef! configMapKeyRef:KeyRef!
  secretKeyRef:KeyRef! fileKeyRef:any
FieldRef = apiVersion:str fieldPath:str
ResourceFieldRef = containerName:str resource:str divisor:qty
KeyRef = name:str key:str optional:bool
Resources = limits:{qty} requests:{qty} claims:[LocalRef]@name
VolumeMount = name:str readOnly:bool recursiveReadOnly:str mountPath:str subPath:str
  mountPropagation:str subPathExpr:str
VolumeDevice = name:str devicePath:str
Probe = exec:any httpGet:any tcpSocket:any grpc:any initialDelaySeconds:int timeoutSeconds:int
  periodSeconds:int successThreshold:int failureThreshold:int terminationGracePeriodSeconds:int
Volume = name:str hostPath:any emptyDir:EmptyDir secret:SecretVolume configMap:ConfigMapVolume
  persistentVolumeClaim:ClaimVolume projected:any downwardAPI:any csi:any ephemeral:any image:any
  nfs:any iscsi:any cephfs:any fc:any rbd:any glusterfs:any gcePersistentDisk:any
  awsElasticBlockStore:any azureDisk:any azureFile:any cinder:any flexVolume:any flocker:any
  gitRepo:any photonPersistentDisk:any portworxVolume:any quobyte:any scaleIO:any storageos:any
  vsphereVolume:any
EmptyDir = medium:str sizeLimit:qty
SecretVolume = secretName:str items:[any] defaultMode:int optional:bool
ConfigMapVolume = name:str items:[any] defaultMode:int optional:bool
ClaimVolume = claimName:str readOnly:bool
PodStatus = observedGeneration:int phase:str conditions:[Condition]@type message:str reason:str
  nominatedNodeName:str hostIP:str hostIPs:[any] podIP:str podIPs:[any]@ip startTime:time
  initContainerStatuses:[any] containerStatuses:[any] ephemeralContainerStatuses:[any]
  qosClass:str resize:str allocatedResources:{qty} resources:Resources

Service = metadata:ObjectMeta spec:ServiceSpec status:any
ServiceSpec = ports:[ServicePort]@port,protocol selector:{str}! clusterIP:str clusterIPs:[str]
  type:str externalIPs:[str] sessionAffinity:str loadBalancerIP:str
  loadBalancerSourceRanges:[str] externalName:str externalTrafficPolicy:str
  healthCheckNodePort:int publishNotReadyAddresses:bool sessionAffinityConfig:any
  ipFamilies:[str] ipFamilyPolicy:str allocateLoadBalancerNodePorts:bool
  loadBalancerClass:str internalTrafficPolicy:str trafficDistribution:str
ServicePort = name:str protocol:str appProtocol:str port:int targetPort:ports nodePort:int
Event = metadata:ObjectMeta involvedObject:ObjectRef! reason:str message:str source:EventSource
  firstTimestamp:time lastTimestamp:time count:int type:str eventTime:time series:any action:str
  related:ObjectRef! reportingComponent:str reportingInstance:str
EventSource = component:str host:str
Node = metadata:ObjectMeta spec:NodeSpec status:NodeStatus
NodeSpec = podCIDR:str podCIDRs:[str]@set providerID:str unschedulable:bool taints:[Taint]
  configSource:any externalID:str
Taint = key:str value:str effect:str timeAdded:time
NodeStatus = capacity:{qty} allocatable:{qty} phase:str conditions:[Condition]@type
  addresses:[any]@type daemonEndpoints:any nodeInfo:any images:[any] volumesInUse:[str]
  volumesAttached:[any] features:any runtimeHandlers:[any] config:any
PersistentVolumeClaim = metadata:ObjectMeta spec:ClaimSpec status:ClaimStatus
ClaimSpec = accessModes:[str] selector:LabelSelector! resources:Resources volumeName:str
  storageClassName:str volumeMode:str dataSource:any dataSourceRef:any
  volumeAttributesClassName:str
ClaimStatus = phase:str accessModes:[str] capacity:{qty} conditions:[Condition]@type
  allocatedResources:{qty} allocatedResourceStatuses:{str}
ResourceQuota = metadata:ObjectMeta spec:QuotaSpec status:QuotaStatus
QuotaSpec = hard:{qty} scopes:[str] scopeSelector:any
QuotaStatus = hard:{qty} used:{qty}
LimitRange = metadata:ObjectMeta spec:LimitRangeSpec
LimitRangeSpec = limits:[LimitRangeItem]
LimitRangeItem = type:str max:{qty} min:{qty} default:{qty} defaultRequest:{qty}
  maxLimitRequestRatio:{qty}

Deployment = metadata:ObjectMeta spec:DeploymentSpec status:DeploymentStatus
DeploymentSpec = replicas:int selector:LabelSelector! template:PodTemplate strategy:Strategy
  minReadySeconds:int revisionHistoryLimit:int paused:bool progressDeadlineSeconds:int
Strategy = type:str rollingUpdate:RollingUpdate
RollingUpdate = maxUnavailable:ports maxSurge:ports partition:int
DeploymentStatus = observedGeneration:int replicas:int updatedReplicas:int readyReplicas:int
  availableReplicas:int unavailableReplicas:int terminatingReplicas:int
  conditions:[Condition]@type collisionCount:int
ReplicaSet = metadata:ObjectMeta spec:ReplicaSetSpec status:ReplicaSetStatus
ReplicaSetSpec = replicas:int minReadySeconds:int selector:LabelSelector! template:PodTemplate
ReplicaSetStatus = replicas:int fullyLabeledReplicas:int readyReplicas:int availableReplicas:int
  terminatingReplicas:int observedGeneration:int conditions:[Condition]@type
StatefulSet = metadata:ObjectMeta spec:StatefulSetSpec status:StatefulSetStatus
StatefulSetSpec = replicas:int selector:LabelSelector! template:PodTemplate
  volumeClaimTemplates:[PersistentVolumeClaim] serviceName:str podManagementPolicy:str
  updateStrategy:Strategy revisionHistoryLimit:int minReadySeconds:int
  persistentVolumeClaimRetentionPolicy:Retention ordinals:Ordinals
Retention = whenDeleted:str whenScaled:str
Ordinals = start:int
StatefulSetStatus = observedGeneration:int replicas:int readyReplicas:int currentReplicas:int
  updatedReplicas:int currentRevision:str updateRevision:str collisionCount:int
  conditions:[Condition]@type availableReplicas:int
DaemonSet = metadata:ObjectMeta spec:DaemonSetSpec status:DaemonSetStatus
DaemonSetSpec = selector:LabelSelector! template:PodTemplate updateStrategy:Strategy
  minReadySeconds:int revisionHistoryLimit:int
DaemonSetStatus = currentNumberScheduled:int numberMisscheduled:int desiredNumberScheduled:int
  numberReady:int observedGeneration:int updatedNumberScheduled:int numberAvailable:int
  numberUnavailable:int collisionCount:int conditions:[Condition]@type
Job = metadata:ObjectMeta spec:JobSpec status:JobStatus
JobSpec = parallelism:int completions:int activeDeadlineSeconds:int podFailurePolicy:any
  successPolicy:any backoffLimit:int backoffLimitPerIndex:int maxFailedIndexes:int
  selector:LabelSelector! manualSelector:bool template:PodTemplate ttlSecondsAfterFinished:int
  completionMode:str suspend:bool podReplacementPolicy:str managedBy:str
JobStatus = conditions:[Condition] startTime:time completionTime:time active:int succeeded:int
  failed:int terminating:int completedIndexes:str failedIndexes:str
  uncountedTerminatedPods:Uncounted ready:int
Uncounted = succeeded:[str]@set failed:[str]@set
CronJob = metadata:ObjectMeta spec:CronJobSpec status:CronJobStatus
CronJobSpec = schedule:str timeZone:str startingDeadlineSeconds:int concurrencyPolicy:str
  suspend:bool jobTemplate:JobTemplate successfulJobsHistoryLimit:int failedJobsHistoryLimit:int
JobTemplate = metadata:ObjectMeta spec:JobSpec
CronJobStatus = active:[ObjectRef] lastScheduleTime:time lastSuccessfulTime:time

Role = metadata:ObjectMeta rules:[PolicyRule]
ClusterRole = metadata:ObjectMeta rules:[PolicyRule] aggregationRule:any
PolicyRule = verbs:[str] apiGroups:[str] resources:[str] resourceNames:[str] nonResourceURLs:[str]
RoleBinding = metadata:ObjectMeta subjects:[Subject] roleRef:RoleRef!
ClusterRoleBinding = metadata:ObjectMeta subjects:[Subject] roleRef:RoleRef!
RoleRef = apiGroup:str kind:str name:str
Subject = kind:str apiGroup:str name:str namespace:str

NetworkPolicy = metadata:ObjectMeta spec:NetworkPolicySpec
NetworkPolicySpec = podSelector:LabelSelector! ingress:[IngressRule] egress:[EgressRule]
  policyTypes:[str]
IngressRule = ports:[PolicyPort] from:[PolicyPeer]
EgressRule = ports:[PolicyPort] to:[PolicyPeer]
PolicyPort = protocol:str port:ports endPort:int
PolicyPeer = podSelector:LabelSelector namespaceSelector:LabelSelector ipBlock:IPBlock
IPBlock = cidr:str except:[str]
Ingress = metadata:ObjectMeta spec:IngressSpec status:any
IngressSpec = ingressClassName:str defaultBackend:any tls:[any] rules:[any]
HorizontalPodAutoscaler = metadata:ObjectMeta spec:AutoscalerSpec status:AutoscalerStatus
AutoscalerSpec = scaleTargetRef:TargetRef minReplicas:int maxReplicas:int metrics:[any]
  behavior:any
TargetRef = apiVersion:str kind:str name:str
AutoscalerStatus = observedGeneration:int lastScaleTime:time currentReplicas:int
  desiredReplicas:int currentMetrics:[any] conditions:[Condition]@type
PodDisruptionBudget = metadata:ObjectMeta spec:BudgetSpec status:BudgetStatus
BudgetSpec = minAvailable:ports maxUnavailable:ports selector:LabelSelector!
  unhealthyPodEvictionPolicy:str
BudgetStatus = observedGeneration:int disruptedPods:any disruptionsAllowed:int
  currentHealthy:int desiredHealthy:int expectedPods:int conditions:[Condition]@type

Scale = metadata:ObjectMeta spec:ScaleSpec status:any
ScaleSpec = replicas:int
Eviction = metadata:ObjectMeta deleteOptions:any
DeleteOptions = gracePeriodSeconds:int orphanDependents:bool propagationPolicy:str dryRun:[str]
  preconditions:any ignoreStoreReadErrorWithClusterBreakingPotential:bool
SelfSubjectReview = metadata:ObjectMeta status:any
SelfSubjectAccessReview = metadata:ObjectMeta spec:AccessSpec status:any
SubjectAccessReview = metadata:ObjectMeta spec:AccessSpec status:any
AccessSpec = resourceAttributes:ResourceAttributes nonResourceAttributes:PathAttributes user:str
  groups:[str] uid:str extra:any
ResourceAttributes = namespace:str verb:str group:str version:str resource:str subresource:str
  name:str fieldSelector:any labelSelector:any
PathAttributes = path:str verb:str
SelfSubjectRulesReview = metadata:ObjectMeta spec:RulesSpec status:any
RulesSpec = namespace:str

MutatingAdmissionPolicy = metadata:ObjectMeta spec:MutatingSpec
MutatingSpec = paramKind:any matchConstraints:MatchResources variables:[any]@name mutations:[any]
  failurePolicy:str matchConditions:[any]@name reinvocationPolicy:str
MatchResources = namespaceSelector:LabelSelector! objectSelector:LabelSelector!
  resourceRules:[any] excludeResourceRules:[any] matchPolicy:str
MutatingAdmissionPolicyBinding = metadata:ObjectMeta spec:MutatingBindingSpec
MutatingBindingSpec = policyName:str paramRef:any matchResources:MatchResources
CustomResourceDefinition = metadata:ObjectMeta spec:any status:any
Custom = metadata:ObjectMeta spec:any status:any
PodMetrics = metadata:ObjectMeta timestamp:time window:str containers:[any]
NodeMetrics = metadata:ObjectMeta timestamp:time window:str usage:{qty}
"""
