//! The environment and the arguments of a container: stands for this part of a kubelet. Leaves out `resourceFieldRef`,
//! and the variables of Services other than the API server's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::api::core::v1::{Container, Pod};

/// Where a Pod is, for fields of its status that may not be written yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Address of the Pod.
    pub(crate) address: Ipv4Addr,
    /// Address of its node.
    pub(crate) host: Ipv4Addr,
    /// Address at which it finds the API server.
    pub(crate) api_host: IpAddr,
}

/// The value of a field of a Pod, as `fieldRef` names it. Returns an empty text for an unknown field.
pub(crate) fn field(pod: &Pod, place: &Place, path: &str) -> String {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let entry = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default()
    };
    match path {
        "metadata.name" => metadata.name.clone().unwrap_or_default(),
        "metadata.namespace" => metadata.namespace.clone().unwrap_or_default(),
        "metadata.uid" => metadata.uid.clone().unwrap_or_default(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        "status.podIP" | "status.podIPs" => place.address.to_string(),
        "status.hostIP" | "status.hostIPs" => place.host.to_string(),
        _ => {
            let key = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']");
            if let Some(key) = key("metadata.labels['") {
                entry(&metadata.labels, key)
            } else if let Some(key) = key("metadata.annotations['") {
                entry(&metadata.annotations, key)
            } else {
                String::new()
            }
        }
    }
}

/// The variables that each container has, before its own.
pub(crate) fn given(pod: &Pod, place: &Place) -> BTreeMap<String, String> {
    let pairs = [
        ("KUBERNETES_SERVICE_HOST", place.api_host.to_string()),
        ("KUBERNETES_SERVICE_PORT", "443".to_owned()),
        ("PATH", "/bin".to_owned()),
        ("HOME", "/".to_owned()),
        ("HOSTNAME", pod.metadata.name.clone().unwrap_or_default()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The arguments of a container's program. Its command's first word is the program itself.
pub(crate) fn arguments(container: &Container, variables: &BTreeMap<String, String>) -> Vec<String> {
    let command = container.command.iter().flatten().skip(1);
    command.chain(container.args.iter().flatten()).map(|word| expand(word, variables)).collect()
}

/// Replaces `$(NAME)` by the variable's value. An unknown name stays as it is, and `$$` stands for `$`.
pub(crate) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, dollar) = rest.split_at(at);
        expanded.push_str(before);
        let name = dollar.strip_prefix("$(").and_then(|after| after.split_once(')'));
        if let Some(after) = dollar.strip_prefix("$$") {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = name {
            match variables.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = dollar.strip_prefix('$').unwrap_or_default();
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLACE: Place = Place {
        address: Ipv4Addr::new(10, 243, 0, 3),
        host: Ipv4Addr::new(10, 98, 1, 1),
        api_host: IpAddr::V4(Ipv4Addr::new(10, 97, 0, 1)),
    };

    #[test]
    fn known_names_are_replaced_and_unknown_ones_stay() {
        let variables = BTreeMap::from([("A".to_owned(), "1$(A)".to_owned())]);
        let cases = [
            ("--x=$(A)/$(A)", "--x=1$(A)/1$(A)"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$(A", "$(A"),
            ("a$", "a$"),
            ("$A $", "$A $"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }

    #[test]
    fn field_is_read_from_metadata_and_place() {
        let pod = json!({
            "metadata": { "name": "a", "namespace": "n", "uid": "1", "labels": { "x/y": "z" } },
            "spec": { "nodeName": "node-0", "containers": [] },
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let cases = [
            ("metadata.namespace", "n"),
            ("metadata.labels['x/y']", "z"),
            ("metadata.labels['other']", ""),
            ("spec.nodeName", "node-0"),
            ("status.podIP", "10.243.0.3"),
            ("status.hostIP", "10.98.1.1"),
        ];
        for (path, expected) in cases {
            assert_eq!(field(&pod, &PLACE, path), expected, "{path}");
        }
    }

    #[test]
    fn first_word_of_the_command_is_the_program() {
        let container = json!({ "name": "c", "command": ["/usr/bin/x", "--a=$(A)"], "args": ["--b"] });
        let container: Container = serde_json::from_value(container).unwrap();
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        assert_eq!(arguments(&container, &variables), ["--a=1", "--b"]);
    }
}
