use super::*;

fn deployments(pool: Value) -> Vec<(String, i64, i64)> {
    let pool: Pool = serde_json::from_value(pool).unwrap();
    pool.machine_deployments("shoot--dev--a")
        .map(|d| {
            (d["name"].as_str().unwrap().to_owned(), d["minimum"].as_i64().unwrap(), d["maximum"].as_i64().unwrap())
        })
        .collect()
}

#[test]
fn minimum_and_maximum_are_split_over_zones_and_the_first_zones_take_the_remainder() {
    let pool = json!({ "name": "w", "minimum": 1, "maximum": 5, "zones": ["a", "b", "c"] });
    let expected = [("shoot--dev--a-w-z1", 1, 2), ("shoot--dev--a-w-z2", 0, 2), ("shoot--dev--a-w-z3", 0, 1)];
    assert_eq!(deployments(pool), expected.map(|(name, min, max)| (name.to_owned(), min, max)));
}

#[test]
fn a_pool_without_zones_has_one_machine_deployment() {
    let pool = json!({ "name": "w", "minimum": 2, "maximum": 3 });
    assert_eq!(deployments(pool), [("shoot--dev--a-w-z1".to_owned(), 2, 3)]);
}

#[test]
fn the_time_of_machine_deployments_increases_even_within_a_second() {
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let mut reported = Reported::default();
    assert_eq!(reported.next_time(time("2026-01-01T00:00:00Z"), false), time("2026-01-01T00:00:00Z"));
    reported.machine_deployments_last_update_time = Some(Time(time("2026-01-01T00:00:00Z")));
    assert_eq!(reported.next_time(time("2026-01-01T00:00:00Z"), false), time("2026-01-01T00:00:01Z"));
    assert_eq!(reported.next_time(time("2026-01-01T00:00:09Z"), false), time("2026-01-01T00:00:09Z"));
    assert_eq!(reported.next_time(time("2026-01-01T00:00:09Z"), true), time("2026-01-01T00:00:00Z"));
}

#[test]
fn a_time_that_an_api_server_accepts_and_we_cannot_read_counts_as_absent() {
    for odd in ["9999-12-31T23:59:59Z", "2026-01-01T00:00:00+99:99", "2026-01-01T00:00:00x5Z"] {
        let status = json!({ "machineDeploymentsLastUpdateTime": odd });
        let reported: Reported = serde_json::from_value(status).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!([true, false].map(|repeat| reported.next_time(now, repeat)), [now, now], "{odd}");
    }
}

#[test]
fn a_failed_pool_keeps_its_reported_hash() {
    let pool = |name| json!({ "name": name, "updateStrategy": "ManualInPlaceUpdate", "kubernetesVersion": "1.35.4" });
    let worker: Object<Worker> = serde_json::from_value(json!({
        "apiVersion": "extensions.gardener.cloud/v1alpha1",
        "kind": "Worker",
        "metadata": { "name": "w" },
        "spec": { "type": "mock", "pools": [pool("good"), pool("bad")] },
        "status": { "inPlaceUpdates": { "workerPoolToHashMap": { "good": "old", "bad": "old", "gone": "old" } } },
    }))
    .unwrap();
    let (shoot, failed_pools) = (in_place::Shoot::default(), ["bad".to_owned()]);
    let input = Input {
        options: &Options::default(),
        time: Timestamp::UNIX_EPOCH,
        technical_id: "shoot--dev--a",
        repeat_time: false,
        failed_pools: &failed_pools,
        shoot: &shoot,
        secret: None,
    };
    let hashes = worker.spec.hashes(&worker.reported, &input).unwrap();
    assert_eq!(hashes.keys().collect::<Vec<_>>(), ["gone", "good"]);
    assert!(hashes["good"].as_ref().is_some_and(|hash| hash != "old") && hashes["gone"].is_none());
}
