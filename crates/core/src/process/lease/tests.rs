//! Decisions about the Lease.

use super::*;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const EARLIER: Timestamp = Timestamp::constant(1_700_000_000, 0);

fn lease(holder: &str, seconds: i32, at: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(seconds),
        acquire_time: Some(MicroTime(at)),
        renew_time: Some(MicroTime(at)),
        lease_transitions: Some(7),
        ..LeaseSpec::default()
    }
}

fn decided(lease: Option<&LeaseSpec>, unchanged: u64) -> LeaseAction {
    next("me", lease, Duration::from_secs(unchanged), NOW)
}

fn acquired(transitions: i32) -> LeaseSpec {
    LeaseSpec { lease_transitions: Some(transitions), ..lease("me", 15, NOW) }
}

fn held(seconds: u64) -> LeaseAction {
    LeaseAction::Held { holder: "other".to_owned(), pause: Duration::from_secs(seconds) }
}

#[test]
fn a_lease_that_is_missing_or_free_is_acquired() {
    assert_eq!(decided(None, 0), LeaseAction::Create(acquired(0)));
    assert_eq!(decided(Some(&LeaseSpec::default()), 0), LeaseAction::Update(acquired(1)));
    assert_eq!(decided(Some(&lease("", 1, NOW)), 0), LeaseAction::Update(acquired(8)));
}

#[test]
fn our_own_lease_is_renewed_and_keeps_its_acquire_time() {
    let renewed = LeaseSpec { renew_time: Some(MicroTime(NOW)), ..lease("me", 15, EARLIER) };
    for (seconds, unchanged) in [(15, 0), (15, 1000), (60, 1)] {
        assert_eq!(decided(Some(&lease("me", seconds, EARLIER)), unchanged), LeaseAction::Update(renewed.clone()));
    }
}

#[test]
fn a_lease_of_another_process_is_taken_over_once_it_has_expired() {
    for (unchanged, expected) in [
        (0, held(2)),
        (13, held(2)),
        // The pause ends when the Lease expires, not later.
        (14, held(1)),
        (15, LeaseAction::Update(acquired(8))),
        (1000, LeaseAction::Update(acquired(8))),
    ] {
        assert_eq!(decided(Some(&lease("other", 15, NOW)), unchanged), expected, "{unchanged} s");
    }
}

#[test]
fn the_clock_of_the_holder_does_not_matter() {
    let ahead = Timestamp::constant(1_900_000_000, 0);
    for theirs in [EARLIER, NOW, ahead] {
        assert_eq!(decided(Some(&lease("other", 15, theirs)), 3), held(2), "{theirs}");
        assert_eq!(decided(Some(&lease("other", 15, theirs)), 15), LeaseAction::Update(acquired(8)), "{theirs}");
    }
}

#[test]
fn the_duration_is_the_one_that_the_holder_wrote() {
    assert_eq!(decided(Some(&lease("other", 60, NOW)), 59), held(1));
    assert_eq!(decided(Some(&lease("other", i32::MAX, NOW)), 1000), held(2));
    let unlimited = LeaseSpec { lease_duration_seconds: None, ..lease("other", 0, NOW) };
    assert_eq!(decided(Some(&unlimited), 0), LeaseAction::Update(acquired(8)));
    assert_eq!(decided(Some(&lease("other", -1, NOW)), 0), LeaseAction::Update(acquired(8)));
}

#[test]
fn a_leader_gives_up_before_another_process_may_lead() {
    let duration = Duration::from_secs(LEASE_DURATION.unsigned_abs().into());
    assert!(RENEW_DEADLINE + REQUEST < duration);
    assert!(RETRY_PERIOD + REQUEST + REQUEST < RENEW_DEADLINE);
}

#[test]
fn a_field_that_cannot_be_read_is_ignored_and_named() {
    let readable = lease("other", 15, NOW);
    for (name, value, expected) in [
        ("renewTime", json!("10000-01-01T00:00:00.000000Z"), LeaseSpec { renew_time: None, ..readable.clone() }),
        ("acquireTime", json!(7), LeaseSpec { acquire_time: None, ..readable.clone() }),
        ("leaseTransitions", json!(1_u64 << 40), LeaseSpec { lease_transitions: None, ..readable.clone() }),
        ("leaseDurationSeconds", json!(1_u64 << 40), readable.clone()),
        ("leaseDurationSeconds", json!("15s"), readable.clone()),
        ("strategy", json!({}), readable.clone()),
    ] {
        let mut spec = json!(readable);
        spec[name] = value;
        assert_eq!(read(&spec), (expected.clone(), vec![name.to_owned()]));
        assert_eq!(decided(Some(&expected), 0), held(2), "{name}");
        let LeaseAction::Update(taken) = decided(Some(&expected), 15) else { panic!("{name} keeps the Lease") };
        assert_eq!(taken.holder_identity.as_deref(), Some("me"));
    }
    // Somebody may hold it.
    let (unknown, _) = read(&json!({ "holderIdentity": {}, "leaseDurationSeconds": 15 }));
    assert!(matches!(decided(Some(&unknown), 0), LeaseAction::Held { .. }));
    let nulls = json!({ "holderIdentity": null, "renewTime": null, "leaseDurationSeconds": null });
    assert_eq!(read(&nulls), (LeaseSpec::default(), vec![]));
    assert_eq!(read(&json!(null)), (LeaseSpec::default(), vec![]));
}
