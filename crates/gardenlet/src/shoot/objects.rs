//! The extension objects of a Shoot, as gardenlet's components build them.

use extension_contract::json::{get, list, set, text};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::hash::sha256_hex;
use super::parts::{Lifecycle, Part};
use super::plan::{Asks, CLOUDPROVIDER, Planned, ShootPlan};
use super::{additions, backup, dns};
use crate::networks;

/// The key of the user data in the Secret of an OperatingSystemConfig
/// (`pkg/apis/extensions/v1alpha1/types_operatingsystemconfig.go`).
pub(crate) const CLOUD_CONFIG: &str = "cloud_config";

/// A public SSH key in base64. Its private key does not exist.
const SSH_PUBLIC_KEY: &str = "c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTUgbW9jaw==";

impl ShootPlan {
    /// The extension objects, in an order that gardenlet's flow permits, and with its names. They contain what gardenlet
    /// has learned so far from the statuses of other objects.
    #[must_use]
    pub fn objects(&self) -> Vec<Planned> {
        plan(self)
    }
}

fn plan(plan: &ShootPlan) -> Vec<Planned> {
    let mut objects = Vec::new();
    if !plan.is_workerless() {
        objects.push(single(plan, Part::Infrastructure, infrastructure(plan)).asking(Asks::OnRequest));
    }
    objects.extend(backup::entry(plan));
    objects.extend(dns::of_the_api_server(plan));
    objects.extend(additions::extensions(plan, Lifecycle::BeforeKubeAPIServer));
    if plan.is_workerless() {
        objects.extend(additions::extensions(plan, Lifecycle::AfterKubeAPIServer));
    } else {
        objects.push(single(plan, Part::ControlPlane, control_plane(plan)));
        objects.extend(additions::container_runtimes(plan));
        objects.extend(additions::extensions(plan, Lifecycle::AfterKubeAPIServer));
        let workers = list(&plan.shoot, "spec.provider.workers");
        objects.extend(workers.iter().flat_map(|worker| operating_system_configs(plan, worker)));
        objects.push(single(plan, Part::Network, network(plan)));
        objects.push(single(plan, Part::Worker, worker_spec(plan, workers)));
        objects.extend(additions::extensions(plan, Lifecycle::AfterWorker));
        objects.extend(dns::of_the_ingress(plan));
        objects.extend(additions::bastion(plan));
        objects.extend(additions::exposure(plan));
    }
    objects.retain(|planned| plan.kinds.as_ref().is_none_or(|kinds| kinds.contains(planned.kind)));
    objects
}

/// An object with the Shoot's name.
fn single(plan: &ShootPlan, part: Part, spec: Value) -> Planned {
    planned(plan, part, plan.name().to_owned(), spec)
}

/// An object in the Shoot's namespace.
pub(super) fn planned(plan: &ShootPlan, part: Part, name: String, spec: Value) -> Planned {
    Planned::new(part, part.kind(), name, Some(&plan.namespace), spec)
}

fn operating_system_configs(plan: &ShootPlan, worker: &Value) -> [Planned; 2] {
    [("-init", "provision"), ("-original", "reconcile")].map(|(suffix, purpose)| {
        let name = key(plan, worker) + suffix;
        let spec = operating_system_config(plan, worker, purpose);
        let mut osc = planned(plan, Part::OperatingSystemConfigs, name, spec);
        let labels = json!({
            "worker.gardener.cloud/pool": text(worker, "name"),
            "provider.extensions.gardener.cloud/mutated-by-controlplane-webhook": "true",
        });
        set(&mut osc.object, "metadata.labels", labels);
        osc
    })
}

fn secret_ref(plan: &ShootPlan) -> Value {
    json!({"name": CLOUDPROVIDER, "namespace": plan.namespace})
}

/// The spec of the Infrastructure (`pkg/component/extensions/infrastructure/infrastructure.go`).
fn infrastructure(plan: &ShootPlan) -> Value {
    json!({
        "type": get(&plan.shoot, "spec.provider.type"),
        "providerConfig": get(&plan.shoot, "spec.provider.infrastructureConfig"),
        "region": get(&plan.shoot, "spec.region"),
        "secretRef": secret_ref(plan),
        "sshPublicKey": SSH_PUBLIC_KEY,
    })
}

/// The spec of the ControlPlane (`pkg/component/extensions/controlplane/controlplane.go`).
fn control_plane(plan: &ShootPlan) -> Value {
    json!({
        "type": get(&plan.shoot, "spec.provider.type"),
        "providerConfig": get(&plan.shoot, "spec.provider.controlPlaneConfig"),
        "region": get(&plan.shoot, "spec.region"),
        "secretRef": secret_ref(plan),
        "infrastructureProviderStatus": plan.infrastructure_status,
    })
}

/// The spec of the Network (`pkg/component/extensions/network/network.go`).
fn network(plan: &ShootPlan) -> Value {
    json!({
        "type": get(&plan.shoot, "spec.networking.type"),
        "providerConfig": get(&plan.shoot, "spec.networking.providerConfig"),
        "podCIDR": networks::of_network(&plan.shoot, "pods"),
        "serviceCIDR": networks::of_network(&plan.shoot, "services"),
        "ipFamilies": get(&plan.shoot, "spec.networking.ipFamilies"),
    })
}

/// The spec of a pool's OperatingSystemConfig, with samples of units and files
/// (`pkg/component/extensions/operatingsystemconfig/operatingsystemconfig.go`).
fn operating_system_config(plan: &ShootPlan, worker: &Value, purpose: &str) -> Value {
    let is_reconcile = purpose == "reconcile";
    // A sample of each: of kubelet (`…/original/components/kubelet/component.go`) or of the first start
    // (`…/nodeinit/nodeinit.go`).
    let (unit, path, permissions) = if is_reconcile {
        ("kubelet.service", "/var/lib/kubelet/ca.crt", 0o644)
    } else {
        ("gardener-node-init.service", "/var/lib/gardener-node-agent/init.sh", 0o755)
    };
    let mut spec = json!({
        // The type is the machine image's name, not the provider's type.
        "type": get(worker, "machine.image.name"),
        "providerConfig": get(worker, "machine.image.providerConfig"),
        "purpose": purpose,
        "units": [{
            "name": unit,
            "command": "start",
            "enable": true,
            "content": "[Unit]\nDescription=Unit of a mock\n[Install]\nWantedBy=multi-user.target\n[Service]\nExecStart=/bin/true\n",
        }],
        "files": [{
            "path": path,
            "permissions": permissions,
            "content": {"inline": {"encoding": "b64", "data": "IyEvYmluL3NoCg=="}},
        }],
        "criConfig": {"name": get(worker, "cri.name")},
    });
    if is_reconcile && text(worker, "cri.name") == Some("containerd") {
        set(&mut spec, "criConfig.cgroupDriver", "systemd");
        set(&mut spec, "criConfig.containerd.sandboxImage", "registry.k8s.io/pause:3.10");
    }
    if is_reconcile && is_in_place(worker) {
        let rotation = |what| rotation_time(plan, worker, what).map(|time| json!({"lastInitiationTime": time}));
        let (ca, key) = (rotation("certificateAuthorities"), rotation("serviceAccountKey"));
        let credentials = (ca.is_some() || key.is_some())
            .then(|| json!({"certificateAuthorities": ca.unwrap_or(json!({})), "serviceAccountKey": key.unwrap_or(json!({}))}));
        let updates = json!({
            "operatingSystemVersion": get(worker, "machine.image.version"),
            "kubelet": kubernetes_version(plan, worker),
            "credentialsRotation": credentials,
        });
        set(&mut spec, "inPlaceUpdates", updates);
    }
    spec
}

/// The spec of the Worker (`pkg/component/extensions/worker/worker.go`).
fn worker_spec(plan: &ShootPlan, workers: &[Value]) -> Value {
    json!({
        "type": get(&plan.shoot, "spec.provider.type"),
        "region": get(&plan.shoot, "spec.region"),
        "secretRef": secret_ref(plan),
        "sshPublicKey": SSH_PUBLIC_KEY,
        "infrastructureProviderStatus": plan.infrastructure_status,
        "pools": workers.iter().map(|worker| pool(plan, worker)).collect::<Vec<_>>(),
    })
}

fn pool(plan: &ShootPlan, worker: &Value) -> Value {
    let key = key(plan, worker);
    let machine = text(worker, "machine.type").unwrap_or_default();
    let machine_type = find(&plan.cloudprofile, "spec.machineTypes", "name", machine);
    let node_template = machine_type.map(|machine| {
        let of = |resource| get(machine, resource);
        json!({"capacity": {"cpu": of("cpu"), "gpu": of("gpu"), "memory": of("memory")}})
    });
    json!({
        "name": get(worker, "name"),
        "minimum": get(worker, "minimum"),
        "maximum": get(worker, "maximum"),
        "maxSurge": get(worker, "maxSurge"),
        "maxUnavailable": get(worker, "maxUnavailable"),
        "annotations": get(worker, "annotations"),
        "labels": node_labels(plan, worker, &key),
        "taints": get(worker, "taints"),
        "machineType": machine,
        "machineImage": {"name": get(worker, "machine.image.name"), "version": get(worker, "machine.image.version")},
        "nodeTemplate": node_template,
        "nodeAgentSecretName": key,
        "providerConfig": get(worker, "providerConfig"),
        "userDataSecretRef": {
            "name": plan.user_data_secrets.get(&format!("{key}-init")).map_or("", String::as_str),
            "key": CLOUD_CONFIG,
        },
        "volume": get(worker, "volume"),
        "dataVolumes": get(worker, "dataVolumes"),
        "kubeletDataVolumeName": get(worker, "kubeletDataVolumeName"),
        "kubernetesVersion": kubernetes_version(plan, worker),
        "kubeletConfig": kubelet_config(plan, worker),
        "zones": get(worker, "zones"),
        "machineControllerManager": get(worker, "machineControllerManager"),
        "architecture": get(worker, "machine.architecture"),
        "clusterAutoscaler": get(worker, "clusterAutoscaler").map(autoscaler_options),
        "priority": get(worker, "priority"),
        "updateStrategy": get(worker, "updateStrategy"),
    })
}

/// The options of cluster-autoscaler. Their thresholds are numbers in a Shoot and strings in a Worker.
fn autoscaler_options(options: &Value) -> Value {
    let mut options = options.clone();
    for threshold in ["scaleDownUtilizationThreshold", "scaleDownGpuUtilizationThreshold"] {
        if let Some(number) = get(&options, threshold).filter(|value| value.is_number()).map(Value::to_string) {
            set(&mut options, threshold, number);
        }
    }
    options
}

/// The labels of a pool's nodes (`pkg/utils/gardener/shoot.go`).
fn node_labels(plan: &ShootPlan, worker: &Value, key: &str) -> Value {
    let name = text(worker, "name").unwrap_or_default();
    let mut labels: Map<String, Value> = get(worker, "labels").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut label = |name: &str, value: &str| {
        labels.insert(name.to_owned(), value.into());
    };
    label("node.kubernetes.io/role", "node");
    label("kubernetes.io/arch", text(worker, "machine.architecture").unwrap_or("amd64"));
    label("networking.gardener.cloud/node-local-dns-enabled", if node_local_dns(plan) { "true" } else { "false" });
    if get(worker, "systemComponents.allow") != Some(&Value::Bool(false)) {
        label("worker.gardener.cloud/system-components", "true");
    }
    label("worker.gardener.cloud/pool", name);
    label("worker.garden.sapcloud.io/group", name);
    label("worker.gardener.cloud/gardener-node-agent-secret-name", key);
    if let Some(cri) = text(worker, "cri.name") {
        label("worker.gardener.cloud/cri-name", cri);
    }
    for runtime in list(worker, "cri.containerRuntimes").iter().filter_map(|runtime| text(runtime, "type")) {
        label(&format!("containerruntime.worker.gardener.cloud/{runtime}"), "true");
    }
    Value::Object(labels)
}

/// The name of a pool's Secret for gardener-node-agent. The names of the pool's `OperatingSystemConfig`s start with it.
/// If the pool's machines are replaced on updates, the name contains a hash of every setting that requires new machines
/// (`pkg/component/extensions/operatingsystemconfig/operatingsystemconfig.go`).
fn key(plan: &ShootPlan, worker: &Value) -> String {
    let field = |path| text(worker, path).unwrap_or_default();
    let name = field("name");
    if is_in_place(worker) {
        return format!("gardener-node-agent-{name}");
    }
    let version = kubernetes_version(plan, worker);
    let (major_minor, _) = version.rsplit_once('.').unwrap_or((version, ""));
    let mut data = vec![
        major_minor.to_owned(),
        field("machine.type").to_owned(),
        format!("{}{}", field("machine.image.name"), field("machine.image.version")),
    ];
    data.extend(
        ["volume.size", "volume.type", "cri.name"].into_iter().filter_map(|path| text(worker, path)).map(str::to_owned),
    );
    for what in ["certificateAuthorities", "serviceAccountKey"] {
        data.extend(rotation_time(plan, worker, what).map(as_go_formats));
    }
    let is_ipvs = text(&plan.shoot, "spec.kubernetes.kubeProxy.mode") == Some("IPVS");
    let minor = major_minor.rsplit_once('.').and_then(|(_, minor)| minor.parse::<u32>().ok());
    if node_local_dns(plan) && (is_ipvs || minor.is_some_and(|minor| minor < 34)) {
        data.push("node-local-dns".to_owned());
    }
    data.extend(kubelet_config(plan, worker).into_iter().flat_map(kubelet_data));
    let hash = sha256_hex(&data.iter().map(|part| sha256_hex(part)).collect::<String>());
    format!("gardener-node-agent-{name}-{}", hash.get(..16).unwrap_or_default())
}

/// The kubelet's settings that are part of a pool's hash (`pkg/utils/gardener/shoot.go`).
fn kubelet_data(config: &Value) -> Vec<String> {
    let joined = |part: &Value, fields: &[&str], unset: &str| {
        fields.iter().map(|field| text(part, field).unwrap_or(unset)).collect::<Vec<_>>().join("-")
    };
    let reserved = get(config, "kubeReserved")
        // Go formats an unset quantity as <nil>.
        .map(|part| joined(part, &["cpu", "memory", "pid", "ephemeralStorage"], "<nil>"));
    let eviction = get(config, "evictionHard").map(|part| {
        let fields =
            ["imageFSAvailable", "imageFSInodesFree", "memoryAvailable", "nodeFSAvailable", "nodeFSInodesFree"];
        joined(part, &fields, "")
    });
    let policy = text(config, "cpuManagerPolicy").map(str::to_owned);
    [reserved, eviction, policy].into_iter().flatten().collect()
}

fn kubernetes_version<'a>(plan: &'a ShootPlan, worker: &'a Value) -> &'a str {
    text(worker, "kubernetes.version").or_else(|| text(&plan.shoot, "spec.kubernetes.version")).unwrap_or_default()
}

fn kubelet_config<'a>(plan: &'a ShootPlan, worker: &'a Value) -> Option<&'a Value> {
    get(worker, "kubernetes.kubelet").or_else(|| get(&plan.shoot, "spec.kubernetes.kubelet"))
}

fn node_local_dns(plan: &ShootPlan) -> bool {
    get(&plan.shoot, "spec.systemComponents.nodeLocalDNS.enabled") == Some(&Value::Bool(true))
}

fn is_in_place(worker: &Value) -> bool {
    matches!(text(worker, "updateStrategy"), Some("AutoInPlaceUpdate" | "ManualInPlaceUpdate"))
}

fn find<'a>(object: &'a Value, path: &str, key: &str, value: &str) -> Option<&'a Value> {
    list(object, path).iter().find(|item| text(item, key) == Some(value))
}

/// The start of the latest rotation of a credential for this pool.
fn rotation_time<'a>(plan: &'a ShootPlan, worker: &Value, credential: &str) -> Option<&'a str> {
    let rotation = get(&plan.shoot, "status.credentials.rotation")?.get(credential)?;
    let pending = find(rotation, "pendingWorkersRollouts", "name", text(worker, "name")?);
    match pending {
        Some(pending) => text(pending, "lastInitiationTime"),
        None => text(rotation, "lastInitiationTime"),
    }
}

/// Formats a time as Go's `Time.String` does, in whole seconds.
fn as_go_formats(time: &str) -> String {
    let time = time.parse::<Timestamp>();
    time.map_or_else(|_| String::new(), |time| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string())
}
