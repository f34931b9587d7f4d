//! The one table of Gardener's extension kinds.
//!
//! Scope and plural come from (`pkg/apis/extensions/v1alpha1/types_<kind>.go`), intervals, thresholds and timeouts from
//! `DefaultInterval`, `DefaultSevereThreshold` and `DefaultTimeout` of (`pkg/component/extensions/<kind>`), everything
//! else from (`extensions/pkg/controller/<kind>/reconciler.go`).

use std::time::Duration;

/// One kind of extension object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Name of the kind, such as `ControlPlane`.
    pub name: &'static str,
    /// Name of the resource, such as `controlplanes`.
    pub plural: &'static str,
    /// Whether objects have a namespace.
    pub namespaced: bool,
    /// Classes of the objects that Gardener creates. An object without a class counts as [`Class::Shoot`].
    pub classes: &'static [Class],
    /// Which objects belong to a Cluster.
    pub has_cluster: HasCluster,
    /// Whether an extension leaves the objects of a Failed Shoot alone.
    pub skips_failed_shoots: bool,
    /// What makes an extension release a deleted object at once.
    pub force: Force,
    /// Whether objects move to another seed: whether migrate and restore are requests.
    pub migrates: bool,
    /// The condition that says whether a provider has created what the object stands for: True after every success,
    /// False after a first failure. With False, nothing is left to delete.
    pub created: Option<&'static str>,
    /// The finalizer of Gardener's extension library. `None` if each extension chooses its own.
    pub finalizer: Option<&'static str>,
    /// How gardenlet learns that an object is done.
    pub reader: Reader,
    /// Interval between two of gardenlet's polls. For a watched kind, the interval of the callers that poll it anyway.
    pub interval: Duration,
    /// gardenlet tolerates a `lastError` for this long, counted from the start of its wait.
    pub severe: Duration,
    /// gardenlet gives up after this long.
    pub timeout: Duration,
}

impl Kind {
    /// The classes that an extension serves on a seed: all but `garden`. In the garden's runtime cluster it serves
    /// `garden` alone: if seed and garden are one cluster, two installations would serve the same object
    /// (`charts/gardener/provider-local/templates/deployment.yaml`).
    #[must_use]
    pub const fn usual_classes(&self) -> &'static [Class] {
        if self.classes.len() > 1 { &[Class::Shoot, Class::Seed] } else { &[Class::Shoot] }
    }
}

/// How gardenlet learns that an object is done. The order of an extension's writes follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// gardenlet reads the object every few seconds. It requires that the annotation is gone and that the status is
    /// ready. The extension writes the status first: otherwise gardenlet could see an old success without a request.
    Polls,
    /// gardenlet watches. It ignores an annotated object, and it reacts only to changes of `lastOperation`. The
    /// extension removes the annotation first, then writes Processing, then Succeeded
    /// (`pkg/controllerutils/predicate/predicate.go`).
    Watches,
}

/// Which objects of a kind belong to a Cluster: they wait for it, and read the Shoot in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HasCluster {
    /// None.
    Never,
    /// All.
    Always,
    /// Those in a Shoot's namespace, which has the label [`SHOOT_NAMESPACE`] (`pkg/utils/gardener/shoot.go`). Others
    /// live in the namespace `garden`.
    InShootNamespaces,
}

/// Key and value of the label of a Shoot's namespace (`pkg/apis/core/v1beta1/constants/types_constants.go`).
pub const SHOOT_NAMESPACE: (&str, &str) = ("gardener.cloud/role", "shoot");

/// What makes an extension release a deleted object at once. Each is an annotation
/// [`FORCE_DELETION_ANNOTATION`](crate::FORCE_DELETION_ANNOTATION).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Nothing.
    Never,
    /// The annotation of the Shoot in the object's Cluster.
    OfShoot,
    /// The annotation of the object itself.
    OfObject,
}

/// `spec.class`: the cluster that an object belongs to (`pkg/apis/extensions/v1alpha1/types_defaults.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// For a Shoot. Objects without a class belong here.
    Shoot,
    /// For the Seed itself.
    Seed,
    /// For the garden's runtime cluster.
    Garden,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 3] = [Self::Shoot, Self::Seed, Self::Garden];

    /// The class as the spec spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shoot => "shoot",
            Self::Seed => "seed",
            Self::Garden => "garden",
        }
    }

    /// Parses a class as the spec spells it.
    #[must_use]
    pub fn parse(class: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == class)
    }

    /// Returns whether `spec.class` means this class. Absent and empty mean `shoot`. Other values are compared exactly,
    /// as in Gardener's extension library (`extensions/pkg/predicate/default.go`).
    #[must_use]
    pub fn is(self, class: Option<&str>) -> bool {
        class.filter(|class| !class.is_empty()).unwrap_or(Self::Shoot.as_str()) == self.as_str()
    }
}

/// The values that most kinds share. The row of a kind that is not Gardener's begins with them, too.
pub const USUAL: Kind = Kind {
    name: "",
    plural: "",
    namespaced: true,
    classes: &[Class::Shoot],
    has_cluster: HasCluster::Always,
    skips_failed_shoots: true,
    force: Force::OfShoot,
    migrates: true,
    created: None,
    finalizer: None,
    reader: Reader::Polls,
    interval: Duration::from_secs(5),
    severe: Duration::from_secs(30),
    timeout: Duration::from_secs(180),
};

/// A bucket for backups.
pub const BACKUP_BUCKET: Kind = Kind {
    name: "BackupBucket",
    plural: "backupbuckets",
    namespaced: false,
    classes: &[Class::Shoot, Class::Garden],
    has_cluster: HasCluster::Never,
    skips_failed_shoots: false,
    force: Force::Never,
    migrates: false,
    finalizer: Some("extensions.gardener.cloud/backupbucket"),
    reader: Reader::Watches,
    interval: Duration::from_secs(2),
    timeout: Duration::from_secs(60),
    ..USUAL
};

/// The backups of one etcd.
pub const BACKUP_ENTRY: Kind = Kind {
    name: "BackupEntry",
    plural: "backupentries",
    namespaced: false,
    classes: &[Class::Shoot, Class::Garden],
    has_cluster: HasCluster::Never,
    skips_failed_shoots: false,
    force: Force::Never,
    finalizer: Some("extensions.gardener.cloud/backupentry"),
    reader: Reader::Watches,
    timeout: Duration::from_secs(600),
    ..USUAL
};

/// SSH access to a Shoot's machines.
pub const BASTION: Kind = Kind {
    name: "Bastion",
    plural: "bastions",
    skips_failed_shoots: false,
    force: Force::OfObject,
    migrates: false,
    finalizer: Some("extensions.gardener.cloud/bastion"),
    reader: Reader::Watches,
    severe: Duration::from_secs(360),
    timeout: Duration::from_secs(900),
    ..USUAL
};

/// A container runtime beside containerd.
pub const CONTAINER_RUNTIME: Kind = Kind {
    name: "ContainerRuntime",
    plural: "containerruntimes",
    finalizer: Some("extensions.gardener.cloud/containerruntime"),
    ..USUAL
};

/// The cloud's additions to a Shoot's control plane.
pub const CONTROL_PLANE: Kind = Kind {
    name: "ControlPlane",
    plural: "controlplanes",
    finalizer: Some("extensions.gardener.cloud/controlplane"),
    ..USUAL
};

/// A record in DNS.
pub const DNS_RECORD: Kind = Kind {
    name: "DNSRecord",
    plural: "dnsrecords",
    classes: &[Class::Shoot, Class::Garden],
    has_cluster: HasCluster::InShootNamespaces,
    created: Some("Created"),
    finalizer: Some("extensions.gardener.cloud/dnsrecord"),
    severe: Duration::from_secs(15),
    timeout: Duration::from_secs(120),
    ..USUAL
};

/// Any other extension of a cluster.
pub const EXTENSION: Kind = Kind {
    name: "Extension",
    plural: "extensions",
    classes: &[Class::Shoot, Class::Seed, Class::Garden],
    has_cluster: HasCluster::InShootNamespaces,
    ..USUAL
};

/// Networks, subnets and other infrastructure that a Shoot needs before its machines.
pub const INFRASTRUCTURE: Kind = Kind {
    name: "Infrastructure",
    plural: "infrastructures",
    finalizer: Some("extensions.gardener.cloud/infrastructure"),
    interval: Duration::from_secs(10),
    severe: Duration::from_secs(180),
    timeout: Duration::from_secs(600),
    ..USUAL
};

/// The network between a Shoot's Pods.
pub const NETWORK: Kind =
    Kind { name: "Network", plural: "networks", finalizer: Some("extensions.gardener.cloud/network"), ..USUAL };

/// The user data of a machine's first boot, and the units and files that gardener-node-agent maintains.
pub const OPERATING_SYSTEM_CONFIG: Kind = Kind {
    name: "OperatingSystemConfig",
    plural: "operatingsystemconfigs",
    // The only plural finalizer.
    finalizer: Some("extensions.gardener.cloud/operatingsystemconfigs"),
    ..USUAL
};

/// The exposure of a self-hosted Shoot's API server.
pub const SELF_HOSTED_SHOOT_EXPOSURE: Kind = Kind {
    name: "SelfHostedShootExposure",
    plural: "selfhostedshootexposures",
    skips_failed_shoots: false,
    migrates: false,
    finalizer: Some("extensions.gardener.cloud/selfhostedshootexposure"),
    timeout: Duration::from_secs(300),
    ..USUAL
};

/// A Shoot's machines.
pub const WORKER: Kind = Kind {
    name: "Worker",
    plural: "workers",
    finalizer: Some("extensions.gardener.cloud/worker"),
    timeout: Duration::from_secs(600),
    ..USUAL
};

/// All kinds, in alphabetical order.
pub const ALL: [&Kind; 12] = [
    &BACKUP_BUCKET,
    &BACKUP_ENTRY,
    &BASTION,
    &CONTAINER_RUNTIME,
    &CONTROL_PLANE,
    &DNS_RECORD,
    &EXTENSION,
    &INFRASTRUCTURE,
    &NETWORK,
    &OPERATING_SYSTEM_CONFIG,
    &SELF_HOSTED_SHOOT_EXPOSURE,
    &WORKER,
];

/// Returns the kind with exactly this name, such as `ControlPlane`, or `None` if it is no extension kind.
#[must_use]
pub fn find(name: &str) -> Option<&'static Kind> {
    ALL.into_iter().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_sorted_and_match_plural_and_finalizer() {
        assert!(ALL.windows(2).all(|pair| pair[0].name < pair[1].name));
        for kind in ALL {
            let singular = kind.name.to_lowercase();
            let stem = singular.strip_suffix('y').unwrap_or(&singular);
            assert!(kind.plural.starts_with(stem) && kind.plural.ends_with('s'), "{kind:?}");
            let finalizer = kind.finalizer.and_then(|finalizer| finalizer.strip_prefix("extensions.gardener.cloud/"));
            assert!(finalizer.is_none_or(|name| name == singular || name == kind.plural), "{kind:?}");
            // A Cluster has the name of a namespace, and only a Cluster has a Shoot.
            assert!(kind.namespaced || kind.has_cluster == HasCluster::Never, "{kind:?}");
            let reads_shoot = kind.skips_failed_shoots || kind.force == Force::OfShoot;
            assert!(!reads_shoot || kind.has_cluster != HasCluster::Never, "{kind:?}");
            assert!(kind.severe < kind.timeout && kind.interval < kind.severe, "{kind:?}");
        }
    }

    #[test]
    fn an_absent_class_means_shoot() {
        assert!(Class::Shoot.is(None) && Class::Shoot.is(Some("")) && Class::Shoot.is(Some("shoot")));
        assert!(!Class::Shoot.is(Some("Shoot")) && !Class::Shoot.is(Some("seed")) && Class::Seed.is(Some("seed")));
    }
}
