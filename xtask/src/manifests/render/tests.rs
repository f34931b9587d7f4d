use gardener_testbed::manifests;

use super::*;

fn release(values: &Map<String, Value>) -> Release<'_> {
    let package = Package::find("network").unwrap();
    Release { package, types: vec!["a".to_owned(), "b".to_owned()], policy: Policy::Always, tag: "1.2.3", values }
}

fn documents(text: &str) -> Vec<Value> {
    manifests::parse(text, "the rendered text").unwrap()
}

#[test]
fn registration_has_the_name_of_the_binary_and_holds_the_chart() {
    let values =
        Map::from_iter([("replicas".to_owned(), json!(2)), ("image".to_owned(), json!({ "pullPolicy": "Always" }))]);
    let text = registration(&release(&values), Some("r.example/p"), &Chart::Raw(vec![0, 255])).unwrap();
    assert_eq!(
        documents(&text),
        [
            json!({
                "apiVersion": "core.gardener.cloud/v1",
                "kind": "ControllerDeployment",
                "metadata": { "name": "mock-network" },
                "helm": { "rawChart": "AP8=", "values": {
                    "kind": "network",
                    "types": ["a", "b"],
                    "image": { "repository": "r.example/p/mock-network", "tag": "1.2.3", "pullPolicy": "Always" },
                    "replicas": 2,
                } },
            }),
            json!({
                "apiVersion": "core.gardener.cloud/v1beta1",
                "kind": "ControllerRegistration",
                "metadata": {
                    "name": "mock-network",
                    "annotations": { "security.gardener.cloud/pod-security-enforce": "restricted" },
                },
                "spec": {
                    "resources": [{ "kind": "Network", "type": "a" }, { "kind": "Network", "type": "b" }],
                    "deployment": { "policy": "Always", "deploymentRefs": [{ "name": "mock-network" }] },
                },
            }),
        ]
    );
}

#[test]
fn chart_in_a_registry_is_the_one_that_was_pushed_with_the_given_secrets() {
    let values = Map::new();
    let release = release(&values);
    for (pull_secret, ca_bundle_secret, expected) in [
        (None, None, json!({ "ref": "r.example/p/charts/mock-network:1.2.3" })),
        (
            Some("pull"),
            Some("ca"),
            json!({
                "ref": "r.example/p/charts/mock-network:1.2.3",
                "pullSecretRef": { "name": "pull" },
                "caBundleSecretRef": { "name": "ca" },
            }),
        ),
    ] {
        let chart = OciRepository::of(release.package, "r.example/p", "1.2.3", pull_secret, ca_bundle_secret);
        let extension = documents(&extension(&release, "r.example/p", &chart).unwrap()).remove(0);
        let repository = extension.pointer("/spec/deployment/extension/helm/ociRepository");
        assert_eq!(repository, Some(&expected));
        let registration = registration(&release, Some("r.example/p"), &Chart::Oci(chart)).unwrap();
        let helm = documents(&registration).remove(0).get("helm").cloned().unwrap();
        assert_eq!(helm.get("ociRepository"), Some(&expected));
        assert!(helm.get("rawChart").is_none());
    }
}

#[test]
fn extension_has_the_same_content_as_the_registration() {
    let values = Map::new();
    let registration = registration(&release(&values), Some("r"), &Chart::Raw(Vec::new())).unwrap();
    let chart = OciRepository::of(Package::find("network").unwrap(), "r", "1", None, None);
    let extension = documents(&extension(&release(&values), "r", &chart).unwrap()).remove(0);
    let [deployment, registration] = documents(&registration).try_into().unwrap();
    let same = [
        (registration.pointer("/metadata/name"), extension.pointer("/metadata/name")),
        (registration.pointer("/spec/resources"), extension.pointer("/spec/resources")),
        (registration.pointer("/metadata/annotations"), extension.pointer("/metadata/annotations")),
        (registration.pointer("/spec/deployment/policy"), extension.pointer("/spec/deployment/extension/policy")),
        (deployment.pointer("/helm/values"), extension.pointer("/spec/deployment/extension/values")),
    ];
    for (one, other) in same {
        assert!(one.is_some() && one == other, "{one:?}\n{other:?}");
    }
}

#[test]
fn only_extensions_of_the_operator_are_compatible_with_the_garden() {
    let values = Map::new();
    let package = Package::find("extension").unwrap();
    let release = Release { package, types: vec!["mock-after-worker".to_owned()], ..release(&values) };
    let registration = registration(&release, None, &Chart::Raw(Vec::new())).unwrap();
    let oci = OciRepository::of(package, "r", "1", None, None);
    let extension = documents(&extension(&release, "r", &oci).unwrap()).remove(0);
    let registration = documents(&registration).remove(1);
    for (object, clusters) in
        [(&registration, json!(["shoot", "seed"])), (&extension, json!(["shoot", "seed", "garden"]))]
    {
        assert_eq!(
            object.pointer("/spec/resources/0"),
            Some(&json!({
                "kind": "Extension",
                "type": "mock-after-worker",
                "reconcileTimeout": "3m0s",
                "lifecycle": {
                    "reconcile": "AfterWorker",
                    "delete": "BeforeKubeAPIServer",
                    "migrate": "BeforeKubeAPIServer",
                },
                "workerlessSupported": true,
                "clusterCompatibility": clusters,
            }))
        );
    }
    let deployment = extension.pointer("/spec/deployment/extension").unwrap();
    assert_eq!(deployment.get("runtimeClusterValues"), deployment.get("values"));
}

#[test]
fn kind_without_objects_in_the_garden_has_no_values_for_it() {
    let values = Map::new();
    let chart = OciRepository::of(Package::find("network").unwrap(), "r", "1", None, None);
    let extension = documents(&extension(&release(&values), "r", &chart).unwrap()).remove(0);
    assert_eq!(extension.pointer("/spec/deployment/extension/runtimeClusterValues"), None);
}
