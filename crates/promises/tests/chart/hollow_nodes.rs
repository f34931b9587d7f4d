//! The nodes without machines that the controller of Workers can keep.

use gardener_testbed::manifests;
use serde_json::{Value, json};

use crate::{arguments, chart, kinds, pod, render, rules};

/// Lets a Pod connect to the API servers of Shoots (`docs/operations/network_policies.md`).
const REACHES_SHOOTS: &str = "networking.resources.gardener.cloud/to-all-shoots-kube-apiserver-tcp-443";

/// What the rules allow is proven by a test of the kind.
#[test]
fn only_the_worker_has_hollow_nodes_and_only_then_their_rights() {
    let further = manifests::read_one(&chart().join("rbac-hollow-nodes/worker.yaml")).unwrap();
    for kind in kinds() {
        let [off, on] = [false, true].map(|on| render(&kind, &json!({ "hollowNodes": on })).unwrap());
        if kind != "worker" {
            assert_eq!(off, on, "{kind}");
            continue;
        }
        let mut expected = rules(&off).as_array().unwrap().clone();
        expected.extend(further.as_array().unwrap().iter().cloned());
        assert_eq!(rules(&on), Value::Array(expected));
        for (objects, is_on) in [(&off, false), (&on, true)] {
            assert_eq!(arguments(objects).contains(&"--hollow-nodes".to_owned()), is_on);
            assert_eq!(pod(objects)["metadata"]["labels"].get(REACHES_SHOOTS).is_some(), is_on);
        }
    }
}
