//! The one table of the parts of a Shoot and of its Seed: which part comes after which in each of gardenlet's flows.
//!
//! The order comes from the tasks in (`pkg/gardenlet/controller/shoot/shoot/reconciler_<flow>.go`) and
//! (`pkg/gardenlet/operation/botanist/flow.go`). Tasks without an extension object, such as those of etcd and
//! kube-apiserver, are left out: what comes after one of them comes after the parts before it.

use extension_contract::kinds::{self, Kind};

use self::Part::{
    BackupBucket, BackupEntry, Bastion, ContainerRuntimes, ControlPlane, Exposure, Extensions, ExternalDns,
    Infrastructure, IngressDns, InternalDns, MachineDeployments, Network, OperatingSystemConfigs, SeedDns,
    SeedExtensions, Worker,
};

/// When gardenlet handles an Extension of a Shoot (`pkg/apis/core/v1beta1/types_controllerregistration.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lifecycle {
    /// Before kube-apiserver is deployed or deleted.
    BeforeKubeAPIServer,
    /// After kube-apiserver is deployed or deleted.
    AfterKubeAPIServer,
    /// After the Worker has reported its machine deployments.
    AfterWorker,
}

use Lifecycle::{AfterKubeAPIServer, AfterWorker, BeforeKubeAPIServer};

/// Objects that gardenlet handles together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The bucket of a Seed.
    BackupBucket,
    /// The record of a Seed's ingress domain.
    SeedDns,
    /// The Extensions of a Seed.
    SeedExtensions,
    /// SSH access to a Shoot's machines.
    Bastion,
    /// The exposure of a self-hosted Shoot.
    Exposure,
    /// The infrastructure of a Shoot.
    Infrastructure,
    /// The backups of a Shoot.
    BackupEntry,
    /// The record of a Shoot's internal domain.
    InternalDns,
    /// The record of a Shoot's external domain.
    ExternalDns,
    /// The Extensions of a Shoot with one lifecycle.
    Extensions(Lifecycle),
    /// The cloud's additions to a Shoot's control plane.
    ControlPlane,
    /// The container runtimes of all worker pools.
    ContainerRuntimes,
    /// The configurations of all worker pools.
    OperatingSystemConfigs,
    /// The network of a Shoot.
    Network,
    /// No part of its own: the Worker has reported its machine deployments, and may not be ready yet.
    MachineDeployments,
    /// The machines of a Shoot.
    Worker,
    /// The record of a Shoot's ingress domain.
    IngressDns,
}

/// What happens to a part when its Shoot is hibernated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asleep {
    /// The same as otherwise.
    Same,
    /// gardenlet deploys it after everything else.
    Last,
    /// gardenlet deletes it after everything else.
    Deleted,
}

/// How a part leaves the seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    /// Whether it is migrated before gardenlet saves the Shoot's state.
    pub(crate) before_saving: bool,
    /// Parts that are deleted before this one is migrated.
    pub(crate) migrate: &'static [Part],
    /// Parts that are deleted before this one is deleted.
    pub(crate) delete: &'static [Part],
}

/// The place of one part in all flows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) part: Part,
    pub(crate) kind: &'static Kind,
    /// Parts that are ready before this one is created, reconciled or restored.
    pub(crate) deploy: &'static [Part],
    pub(crate) asleep: Asleep,
    /// Parts that are deleted before this one is deleted. `None` if it outlives the Shoot.
    pub(crate) delete: Option<&'static [Part]>,
    /// `None` if it is deleted before a migration starts.
    pub(crate) leave: Option<Move>,
}

/// Parts that gardenlet migrates at once (`GetExtensionComponentsForParallelMigration` in
/// `pkg/gardenlet/operation/shoot/shoot.go`).
const MACHINES: [Part; 4] = [ContainerRuntimes, Network, OperatingSystemConfigs, Worker];
const BEFORE: Part = Extensions(BeforeKubeAPIServer);
const AFTER: Part = Extensions(AfterKubeAPIServer);
const BEFORE_CONTROL_PLANE: [Part; 5] = [ContainerRuntimes, Network, OperatingSystemConfigs, Worker, BEFORE];

const WITH_MACHINES: Option<Move> = Some(Move { before_saving: true, migrate: &[], delete: &[] });
/// Without kube-apiserver, which gardenlet deletes after the ControlPlane.
const WITHOUT_KUBE_APISERVER: Option<Move> = Some(Move { before_saving: false, migrate: &[ControlPlane], delete: &[] });
const OF_DNS: Option<Move> =
    Some(Move { before_saving: false, migrate: &[ControlPlane], delete: &[Infrastructure, AFTER] });

const fn row(part: Part, kind: &'static Kind, deploy: &'static [Part], delete: &'static [Part]) -> Row {
    Row { part, kind, deploy, asleep: Asleep::Same, delete: Some(delete), leave: None }
}

impl Row {
    const fn leaving(self, leave: Option<Move>) -> Self {
        Self { leave, ..self }
    }

    const fn asleep(self, asleep: Asleep) -> Self {
        Self { asleep, ..self }
    }
}

/// All parts, in the order in which a person reads them.
pub(crate) const TABLE: [Row; 18] = [
    // Of a Seed. Nothing of it moves.
    row(BackupBucket, &kinds::BACKUP_BUCKET, &[], &[]),
    row(SeedDns, &kinds::DNS_RECORD, &[], &[]),
    row(SeedExtensions, &kinds::EXTENSION, &[], &[]),
    // Of a Shoot.
    row(Infrastructure, &kinds::INFRASTRUCTURE, &[], &[ControlPlane]).leaving(WITHOUT_KUBE_APISERVER),
    Row {
        delete: None,
        ..row(BackupEntry, &kinds::BACKUP_ENTRY, &[], &[]).leaving(Some(Move {
            before_saving: false,
            migrate: &[Infrastructure, AFTER],
            delete: &[],
        }))
    },
    row(InternalDns, &kinds::DNS_RECORD, &[Infrastructure], &[Infrastructure, AFTER, ExternalDns, IngressDns])
        .leaving(OF_DNS)
        .asleep(Asleep::Deleted),
    row(ExternalDns, &kinds::DNS_RECORD, &[Infrastructure], &[ControlPlane]).leaving(OF_DNS).asleep(Asleep::Deleted),
    row(BEFORE, &kinds::EXTENSION, &[Infrastructure], &[OperatingSystemConfigs])
        .leaving(Some(Move { before_saving: true, migrate: &[], delete: &MACHINES }))
        .asleep(Asleep::Last),
    row(ControlPlane, &kinds::CONTROL_PLANE, &[Infrastructure, BackupEntry, BEFORE], &BEFORE_CONTROL_PLANE)
        .leaving(Some(Move { before_saving: false, migrate: &BEFORE_CONTROL_PLANE, delete: &[] })),
    row(ContainerRuntimes, &kinds::CONTAINER_RUNTIME, &[BackupEntry, BEFORE, InternalDns], &[Bastion])
        .leaving(WITH_MACHINES),
    row(AFTER, &kinds::EXTENSION, &[BackupEntry, BEFORE, InternalDns], &[ControlPlane]).leaving(WITHOUT_KUBE_APISERVER),
    row(OperatingSystemConfigs, &kinds::OPERATING_SYSTEM_CONFIG, &[Infrastructure, ControlPlane, AFTER], &[Worker])
        .leaving(WITH_MACHINES),
    row(Network, &kinds::NETWORK, &[ControlPlane, AFTER, OperatingSystemConfigs], &[Bastion]).leaving(WITH_MACHINES),
    row(Worker, &kinds::WORKER, &[OperatingSystemConfigs], &[Bastion]).leaving(WITH_MACHINES),
    // gardenlet deletes and migrates no Extension by this lifecycle.
    row(Extensions(AfterWorker), &kinds::EXTENSION, &[MachineDeployments], &[]).leaving(WITH_MACHINES),
    row(IngressDns, &kinds::DNS_RECORD, &[Worker, Extensions(AfterWorker)], &BEFORE_CONTROL_PLANE)
        .leaving(OF_DNS)
        .asleep(Asleep::Deleted),
    // Not of every Shoot. While one exists, its Shoot is neither deleted nor migrated.
    row(Bastion, &kinds::BASTION, &[Worker], &[]),
    row(Exposure, &kinds::SELF_HOSTED_SHOOT_EXPOSURE, &[Infrastructure], &[]),
];

impl Part {
    /// The kind of the part's objects.
    pub(crate) fn kind(self) -> &'static Kind {
        TABLE.iter().find(|row| row.part == self).map_or(&kinds::WORKER, |row| row.kind)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Returns the parts that are done at the end, if each begins when those before it are done.
    fn played(after: impl Fn(&Row) -> Vec<Part>) -> BTreeSet<Part> {
        let mut done = BTreeSet::new();
        for _ in 0..TABLE.len() {
            for row in TABLE.iter().filter(|row| after(row).iter().all(|part| done.contains(part))).collect::<Vec<_>>()
            {
                done.insert(row.part);
                if row.part == Worker {
                    done.insert(MachineDeployments);
                }
            }
        }
        done
    }

    #[test]
    fn every_part_is_played_in_every_flow() {
        let all: BTreeSet<_> = TABLE.iter().map(|row| row.part).chain([MachineDeployments]).collect();
        assert_eq!(all.len(), TABLE.len() + 1, "a part has two rows");
        assert_eq!(played(|row| row.deploy.to_vec()), all);
        assert_eq!(played(|row| row.delete.unwrap_or_default().to_vec()), all);
        let left = played(|row| row.leave.map(|leave| [leave.migrate, leave.delete].concat()).unwrap_or_default());
        assert_eq!(left, all);
    }

    #[test]
    fn every_kind_has_a_part_and_leaves_the_seed_if_its_objects_migrate() {
        for kind in kinds::ALL {
            let parts: Vec<_> = TABLE.iter().filter(|row| row.kind == kind).collect();
            assert!(!parts.is_empty(), "{}", kind.name);
            assert_eq!(parts.iter().any(|row| row.leave.is_some()), kind.migrates, "{}", kind.name);
        }
    }
}
