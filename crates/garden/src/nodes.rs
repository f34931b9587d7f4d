//! Nodes of awake Shoots: the controller of Workers keeps them, as on any seed whose operator asks for them.

use extension_contract::json::text;
use serde_json::{Value, json};

/// The registration of that controller.
const REGISTRATION: &str = "mock-worker";

/// A registration or its deployment, with nodes if it serves Workers.
pub(crate) fn kept(mut object: Value) -> Value {
    let is_of = text(&object, "metadata.name") == Some(REGISTRATION);
    if is_of && text(&object, "kind") == Some("ControllerDeployment") {
        json_patch::merge(&mut object, &json!({"helm": {"values": {"hollowNodes": true}}}));
    }
    object
}

#[cfg(test)]
mod tests {
    use extension_contract::json::get;
    use gardener_testbed::{manifests, workspace};

    use super::*;

    #[test]
    fn controller_of_workers_alone_keeps_nodes() {
        let file = workspace::root().join("deploy/controllerregistrations.yaml");
        let objects: Vec<_> = manifests::read(&file).unwrap().into_iter().map(kept).collect();
        let keep = |object: &&Value| get(object, "helm.values.hollowNodes") == Some(&json!(true));
        let names: Vec<_> = objects.iter().filter(keep).filter_map(|object| text(object, "metadata.name")).collect();
        assert_eq!(names, [REGISTRATION]);
    }
}
