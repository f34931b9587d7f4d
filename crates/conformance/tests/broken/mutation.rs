//! What a broken controller does wrong, and which rule catches it.

use extension_contract::Kind;
use extension_contract::kinds::{BACKUP_ENTRY, BASTION, DNS_RECORD, NETWORK};

use Mutation as M;

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Adds no finalizer.
    NoFinalizer,
    /// Adds a finalizer of another name.
    WrongFinalizer,
    /// Calls every operation Create.
    AlwaysCreate,
    /// Leaves progress at 1.
    NoProgress,
    /// Rewrites the timestamp in whole seconds.
    RewritesTimestamp,
    /// Writes the time of its own clock, even if that is before the request.
    OwnClock,
    /// Writes a time from before the request.
    PastTime,
    /// Leaves lastError beside its success.
    LeavesLastError,
    /// Ignores a lastError beside Succeeded.
    IgnoresLastError,
    /// Writes observedGeneration only afterwards.
    LateGeneration,
    /// Never sets the condition that the object was created.
    NoCondition,
    /// Writes a default into the spec.
    WritesSpec,
    /// Ignores an object without annotation, also a new one.
    IgnoresUnannotated,
    /// Ignores a request soon after the last operation.
    IgnoresSoon,
    /// Removes an annotation without checking that it is the one that it has served, and needs one for a request.
    RemovesBlindly,
    /// Ignores changes that have no annotation.
    OnlyAnnotated,
    /// Takes an unreadable timestamp for a request.
    ServesUnreadable,
    /// Serves an object with wait-for-state.
    ServesWaitForState,
    /// Takes any value of the annotation for a reconcile.
    ServesUnknown,
    /// Writes its status again whenever it sees the object.
    WritesAtRest,
    /// Reconciles when the Cluster changes.
    FollowsCluster,
    /// Calls an unfinished operation Reconcile.
    ForgetsOperation,
    /// Never repeats an operation that failed.
    NeverRetries,
    /// Compares types without regard to case.
    AnyCase,
    /// Serves every class.
    AnyClass,
    /// Serves only objects without a class.
    NoClass,
    /// Writes back all labels and annotations as it has read them.
    WritesBack,
    /// Ignores the objects of a hibernated Shoot.
    SkipsHibernated,
    /// Serves the objects of a Failed Shoot.
    ServesFailed,
    /// Does not serve objects when the Cluster changes.
    IgnoresCluster,
    /// Serves objects without a Cluster.
    ServesWithoutCluster,
    /// Takes every readable field of a Cluster for a healthy Shoot.
    TrustsCluster,
    /// Needs a Cluster for every object.
    ClusterEverywhere,
    /// Takes the Cluster of any namespace for the object's.
    ClusterByName,
    /// Keeps its finalizer after a migration.
    MigratedKeepsFinalizer,
    /// Ignores the migration of an object that lacks its finalizer.
    MigratesOnlyHeld,
    /// Deletes an object that is to be migrated.
    DeletesBeforeMigrating,
    /// Needs a Cluster to migrate or delete.
    AlwaysNeedsCluster,
    /// Reconciles an object that it has migrated.
    ServesMigrated,
    /// Takes Migrate/Succeeded for a finished migration.
    TrustsMigrated,
    /// Writes the status of a migrated object again and again.
    WritesMigrated,
    /// Calls a restore Reconcile.
    RestoresAsReconcile,
    /// Leaves the annotation of a restore.
    LeavesRestore,
    /// Drops the state in a restore.
    DropsState,
    /// Keeps its finalizer in a deletion.
    KeepsFinalizer,
    /// Writes an object in deletion that lacks its finalizer.
    WritesDeleted,
    /// Removes all finalizers.
    RemovesAllFinalizers,
    /// Knows no force deletion: a deletion takes for ever.
    NoForce,
    /// Deletes as usual, where force makes it release the object.
    DeletesAsUsual,
    /// Looks at an object that is being deleted only once.
    DeletesOnce,
    /// Ignores what it finds at its start.
    IgnoresTheFound,
    /// Takes a conflict for the end of the operation, and gives up.
    GivesUpOnConflict,
    /// Writes only results, and the same time in each.
    NoProcessing,
    /// Writes the status before it removes the annotation.
    StatusFirst,
    /// Writes Processing in a migration.
    MigratesInSteps,
}

/// A rule, the kind whose objects prove it, and the mistake that it must catch.
pub(crate) type Row = (&'static str, &'static Kind, Mutation);

/// At least one row for each rule.
pub(crate) const TABLE: &[Row] = &[
    ("annotated_create_becomes_ready_as_create_with_the_finalizer", &NETWORK, M::NoFinalizer),
    ("annotated_create_becomes_ready_as_create_with_the_finalizer", &NETWORK, M::WrongFinalizer),
    ("annotated_create_becomes_ready_as_create_with_the_finalizer", &NETWORK, M::PastTime),
    ("annotated_create_becomes_ready_as_create_with_the_finalizer", &NETWORK, M::LeavesRestore),
    ("reconcile_becomes_ready_as_reconcile", &NETWORK, M::AlwaysCreate),
    ("last_operation_of_a_ready_object_is_complete", &NETWORK, M::NoProgress),
    ("timestamp_stays_byte_for_byte", &NETWORK, M::RewritesTimestamp),
    ("timestamp_ahead_of_the_clock_is_answered_once", &NETWORK, M::OwnClock),
    ("stale_last_error_is_cleared_by_a_reconcile", &NETWORK, M::LeavesLastError),
    ("last_error_beside_succeeded_is_cleared", &NETWORK, M::IgnoresLastError),
    ("condition_says_that_it_was_created", &DNS_RECORD, M::NoCondition),
    ("spec_is_never_written", &NETWORK, M::WritesSpec),
    ("create_without_annotation_is_served", &NETWORK, M::IgnoresUnannotated),
    ("two_reconciles_within_one_second_are_both_served", &NETWORK, M::IgnoresSoon),
    ("request_patched_in_between_is_never_erased", &NETWORK, M::RemovesBlindly),
    ("new_generation_without_annotation_is_served", &NETWORK, M::OnlyAnnotated),
    ("newer_timestamp_without_annotation_is_served", &NETWORK, M::OnlyAnnotated),
    ("unreadable_timestamp_is_kept_and_ignored", &NETWORK, M::ServesUnreadable),
    ("wait_for_state_is_left_alone", &NETWORK, M::ServesWaitForState),
    ("unknown_operation_is_left_alone", &NETWORK, M::ServesUnknown),
    ("object_at_rest_is_not_written", &NETWORK, M::WritesAtRest),
    ("changed_cluster_is_no_request", &NETWORK, M::FollowsCluster),
    ("unfinished_operation_is_finished_with_its_type", &NETWORK, M::ForgetsOperation),
    ("failed_operation_is_retried", &NETWORK, M::NeverRetries),
    ("foreign_type_is_never_written", &NETWORK, M::AnyCase),
    ("foreign_class_is_never_written", &NETWORK, M::AnyClass),
    ("class_in_the_spec_is_served", &NETWORK, M::NoClass),
    ("labels_and_annotations_of_others_survive", &NETWORK, M::WritesBack),
    ("hibernated_shoot_is_served", &NETWORK, M::SkipsHibernated),
    ("object_of_a_failed_shoot_is_left_alone", &NETWORK, M::ServesFailed),
    ("object_of_a_failed_shoot_waits_until_the_shoot_recovers", &NETWORK, M::IgnoresCluster),
    ("object_without_cluster_waits_without_an_error", &NETWORK, M::ServesWithoutCluster),
    ("undecodable_cluster_counts_as_missing", &NETWORK, M::TrustsCluster),
    ("object_outside_of_a_shoot_needs_no_cluster", &DNS_RECORD, M::ClusterEverywhere),
    ("failed_shoot_of_the_same_name_does_not_concern_an_object_outside", &DNS_RECORD, M::ClusterByName),
    ("migrate_releases_the_object_and_its_deletion_needs_no_work", &NETWORK, M::MigratedKeepsFinalizer),
    ("migrate_without_the_finalizer_is_reported", &NETWORK, M::MigratesOnlyHeld),
    ("migrate_takes_precedence_over_deletion", &NETWORK, M::DeletesBeforeMigrating),
    ("migrate_needs_no_cluster", &NETWORK, M::AlwaysNeedsCluster),
    ("reconcile_after_migrate_is_ignored_until_restore", &NETWORK, M::ServesMigrated),
    ("half_finished_migrate_is_finished", &NETWORK, M::TrustsMigrated),
    ("migrated_object_is_not_written", &NETWORK, M::WritesMigrated),
    ("wait_for_state_is_ignored_until_restore", &NETWORK, M::ServesWaitForState),
    ("restored_object_becomes_ready", &NETWORK, M::LeavesRestore),
    ("restore_ends_as_restore_and_is_done_once", &NETWORK, M::RestoresAsReconcile),
    ("restored_state_is_kept", &NETWORK, M::DropsState),
    ("confirmed_deletion_removes_the_object", &NETWORK, M::KeepsFinalizer),
    ("confirmation_without_a_deletion_is_served", &NETWORK, M::OnlyAnnotated),
    ("deletion_without_the_finalizer_is_ignored", &NETWORK, M::WritesDeleted),
    ("deletion_needs_no_cluster", &NETWORK, M::AlwaysNeedsCluster),
    ("deletion_removes_only_the_own_finalizer", &NETWORK, M::RemovesAllFinalizers),
    ("force_deletion_of_a_failed_shoot_releases_the_object", &NETWORK, M::DeletesOnce),
    ("force_deletion_of_the_shoot_releases_the_object", &NETWORK, M::NoForce),
    ("force_deletion_of_the_shoot_releases_an_object_that_cannot_be_deleted", &NETWORK, M::DeletesAsUsual),
    ("force_deletion_of_the_object_releases_it", &BASTION, M::NoForce),
    ("force_deletion_of_the_object_releases_one_that_cannot_be_deleted", &BASTION, M::DeletesAsUsual),
    ("killed_controller_loses_no_request", &NETWORK, M::IgnoresTheFound),
    ("two_controllers_at_once_do_no_harm", &NETWORK, M::GivesUpOnConflict),
    ("request_from_before_the_start_is_served", &NETWORK, M::IgnoresTheFound),
    ("result_of_a_request_is_noticed_and_complete", &BACKUP_ENTRY, M::LateGeneration),
    ("two_requests_within_one_second_are_both_noticed", &BACKUP_ENTRY, M::NoProcessing),
    ("annotation_goes_before_processing_and_processing_before_the_result", &BACKUP_ENTRY, M::StatusFirst),
    ("request_without_annotation_is_noticed", &BACKUP_ENTRY, M::OnlyAnnotated),
    ("newer_secret_is_followed_by_one_request_and_rest", &BACKUP_ENTRY, M::PastTime),
    ("secret_ahead_of_the_clock_is_followed_by_one_request_and_rest", &BACKUP_ENTRY, M::OwnClock),
    ("restore_is_noticed_although_its_annotation_goes_last", &BACKUP_ENTRY, M::RestoresAsReconcile),
    ("migration_is_noticed_and_never_in_progress", &BACKUP_ENTRY, M::MigratesInSteps),
];
