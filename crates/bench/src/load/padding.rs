//! A `CloudProfile` as large as those of real landscapes. Every Cluster holds a copy of it.

use extension_contract::json::{list, set};
use mock_gardenlet::shoot::Landscape;
use serde_json::{Value, json};

/// Adds versions of Kubernetes and of machine images, and machine types, to the `CloudProfile` until a Cluster has
/// about this many bytes. Entries that a Shoot refers to do not change.
pub(crate) fn padded(landscape: &Landscape, cluster_bytes: usize) -> Landscape {
    let missing = cluster_bytes.saturating_sub(landscape.plan(Some(0)).cluster().to_string().len());
    let (mut kubernetes, mut images, mut machines) = (Vec::new(), Vec::new(), Vec::new());
    let mut added = 0_usize;
    for number in 0_u32.. {
        if added >= missing {
            break;
        }
        let (line, patch) = (number.div_euclid(16), number.rem_euclid(16));
        let mut parts = vec![(
            &mut machines,
            json!({
                "name": format!("family{line}.{}xlarge", 2_u32.saturating_mul(patch.saturating_add(1))),
                "cpu": 8_u32.saturating_mul(patch.saturating_add(1)).to_string(),
                "gpu": "0",
                "memory": format!("{}Gi", 32_u32.saturating_mul(patch.saturating_add(1))),
                "architecture": "amd64",
                "usable": true,
                "storage": {"class": "standard", "type": "default", "size": "64Gi", "minSize": "20Gi"},
            }),
        )];
        if number.rem_euclid(3) == 0 {
            parts.push((
                &mut images,
                json!({
                    "version": format!("{}.{patch}.0", line.saturating_add(2)),
                    "classification": "deprecated",
                    "expirationDate": "2035-01-01T00:00:00Z",
                    "architectures": ["amd64", "arm64"],
                    "cri": [{"name": "containerd", "containerRuntimes": [{"type": "gvisor"}]}],
                }),
            ));
        }
        if number.rem_euclid(10) == 0 {
            let version = format!("1.{}.{patch}", line.saturating_add(10));
            parts.push((&mut kubernetes, json!({"version": version, "classification": "deprecated"})));
        }
        for (place, part) in parts {
            added = added.saturating_add(part.to_string().len()).saturating_add(1);
            place.push(part);
        }
    }
    landscape.with_cloudprofile(|cloudprofile| {
        append(cloudprofile, "spec.kubernetes.versions", kubernetes);
        append(cloudprofile, "spec.machineTypes", machines);
        if let Some(versions) = cloudprofile.pointer_mut("/spec/machineImages/0/versions").and_then(Value::as_array_mut)
        {
            versions.append(&mut images);
        }
    })
}

fn append(object: &mut Value, path: &str, more: Vec<Value>) {
    let all: Vec<Value> = list(object, path).iter().cloned().chain(more).collect();
    set(object, path, all);
}

#[cfg(test)]
mod tests {
    use mock_fleet::cargo::root;

    use super::*;

    #[test]
    fn cluster_gets_the_requested_size_and_objects_do_not_change() {
        let shoot = root().join("example/55-shoot.yaml");
        let landscape = Landscape::example(&shoot).unwrap();
        let padded = padded(&landscape, 100_000);
        let bytes = padded.plan(Some(0)).cluster().to_string().len();
        assert!((100_000..101_000).contains(&bytes), "{bytes}");
        let objects = |landscape: &Landscape| -> Vec<Value> {
            landscape.plan(Some(0)).objects().into_iter().map(|planned| planned.object).collect()
        };
        assert_eq!(objects(&landscape), objects(&padded));
    }
}
