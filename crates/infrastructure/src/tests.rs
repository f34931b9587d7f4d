use super::*;

fn nodes(shoot: &Value, reported: &[&str]) -> Result<Vec<String>, Invalid> {
    let shoot: Shoot = serde_json::from_value(shoot.clone()).unwrap();
    let reported: Vec<String> = reported.iter().map(ToString::to_string).collect();
    let defaults = ["10.250.0.0/16".parse().unwrap(), "fd00:10:250::/48".parse().unwrap()];
    networks(&shoot, &reported, &defaults).map(|networks| networks.nodes)
}

#[test]
fn nodes_come_from_the_shoot_else_from_our_own_report_else_from_the_default() {
    let shoot = json!({ "spec": { "networking": { "nodes": "10.1.0.0/16" } } });
    assert_eq!(nodes(&shoot, &["10.2.0.0/16"]).unwrap(), ["10.1.0.0/16"]);
    assert_eq!(nodes(&json!({}), &["10.2.0.0/16"]).unwrap(), ["10.2.0.0/16"]);
    assert_eq!(nodes(&json!({}), &[]).unwrap(), ["10.250.0.0/16"]);
}

#[test]
fn each_ip_family_has_a_network_of_machines() {
    let dual = json!({ "spec": { "networking": { "nodes": "10.1.0.0/16", "ipFamilies": ["IPv4", "IPv6"] } } });
    assert_eq!(nodes(&dual, &[]).unwrap(), ["10.1.0.0/16", "fd00:10:250::/48"]);
    let known = json!({
        "spec": { "networking": { "ipFamilies": ["IPv6", "IPv4"] } },
        "status": { "networking": { "nodes": ["10.1.0.0/16", "fd00:1::/48"] } },
    });
    assert_eq!(nodes(&known, &[]).unwrap(), ["fd00:1::/48", "10.1.0.0/16"]);
}

#[test]
fn a_network_that_is_no_cidr_is_an_error_that_names_the_field() {
    let error = nodes(&json!({ "spec": { "networking": { "pods": "10.0.0.0" } } }), &[]).unwrap_err();
    assert_eq!(error.field, "spec.shoot.spec.networking.pods of the Cluster");
}

#[test]
fn a_network_of_an_ip_family_that_the_shoot_lacks_is_an_error_that_names_the_field() {
    for families in [json!(null), json!(["IPv4"])] {
        let shoot = json!({ "spec": { "networking": { "nodes": "2001:db8::/48", "ipFamilies": families } } });
        let error = nodes(&shoot, &["10.2.0.0/16"]).unwrap_err();
        assert_eq!(error.field, "spec.shoot.spec.networking.nodes of the Cluster");
        assert!(error.problem.contains("is IPv6, expected one of IPv4"), "{error}");
    }
}
