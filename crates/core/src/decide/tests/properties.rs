//! What holds for every object.

use proptest::prelude::*;

use super::*;

prop_compose! {
    pub(in crate::decide::tests) fn any_object()(
        operation in prop::option::of(prop::sample::select(vec!["reconcile", "migrate", "restore", "wait-for-state", "keepalive", ""])),
        kind in prop::sample::select(vec!["Create", "Reconcile", "Delete", "Migrate", "Restore", "LiveMigrate"]),
        state in prop::sample::select(vec!["Processing", "Succeeded", "Error", "Failed", "Pending", "Aborted", "New"]),
        has_status in any::<bool>(),
        has_operation in any::<bool>(),
        observed in prop::option::of(0_i64..3),
        error in any::<bool>(),
        timestamp in prop::option::of(prop::sample::select(vec!["2026-08-20T10:15:29.9Z", "2026-08-20T10:15:30.9Z", "2026-08-20T10:15:31.6Z", "2026-08-20T10:15:33Z", "x"])),
        held in any::<bool>(),
        other in any::<bool>(),
        deleted in any::<bool>(),
        confirmed in any::<bool>(),
    ) -> Model {
        let mut value = json!({ "observedGeneration": observed });
        if has_operation {
            value["lastOperation"] = status(kind, state)["lastOperation"].clone();
        }
        if error {
            value["lastError"] = json!({ "description": "old" });
        }
        let mut object = Model::new(operation, if has_status { value } else { Value::Null });
        if held { object = object.held(); }
        if other { object.meta.finalizers.get_or_insert_default().insert(0, "t.example.org/other".into()); }
        if deleted { object = object.deleted(); }
        if let Some(timestamp) = timestamp { object = object.asked_at(timestamp); }
        if confirmed { object = object.confirmed("true"); }
        object
    }
}

proptest! {
    #[test]
    fn every_object_comes_to_rest_in_at_most_three_steps(
        start in any_object(), reader in prop::sample::select(vec![Reader::Polls, Reader::Watches]),
    ) {
        let mut object = start.clone();
        let mut now = time(NOW);
        let facts = ShootFacts::default();
        let mut steps = 0;
        loop {
            match object.next(ClusterView::Known(&facts), reader, now) {
                Step::Leave(_) => break,
                Step::RetryAt(due) => { prop_assert!(due > now); now = due; }
                step @ Step::Write(_) => { steps += 1; object.apply(&step, now); }
            }
            prop_assert!(steps <= 3, "{object:?}");
        }
        prop_assert_eq!(object.meta.generation, start.meta.generation);
        prop_assert_eq!(annotation(&object.meta, TIMESTAMP_ANNOTATION), annotation(&start.meta, TIMESTAMP_ANNOTATION));
        let others = |object: &Model| object.meta.finalizers.iter().flatten().filter(|name| *name != FINALIZER).count();
        prop_assert_eq!(others(&object), others(&start));
    }

    #[test]
    fn a_served_request_is_ready_by_gardenlets_rule(start in any_object()) {
        let mut object = start;
        object.meta.deletion_timestamp = None;
        let asked = annotation(&object.meta, OPERATION_ANNOTATION).map(str::to_owned);
        let now = time(NOW);
        if let step @ Step::Write(_) = object.step() {
            object.apply(&step, now);
            let status = object.status.clone().unwrap();
            let last = status.last_operation.unwrap();
            if !matches!(asked.as_deref(), Some("reconcile" | "restore")) || last.operation == OperationType::Migrate { return Ok(()); }
            prop_assert_eq!(last.state, State::Succeeded);
            prop_assert_eq!(last.progress, 100);
            prop_assert!(status.last_error.is_none_or(|error| error.is_null()));
            prop_assert_eq!(status.observed_generation, object.meta.generation);
            prop_assert_eq!(annotation(&object.meta, OPERATION_ANNOTATION), None);
            prop_assert!(requested_at(&object.meta).is_none_or(|asked| whole_seconds(asked) <= last.last_update_time.0));
        }
    }
}
