use clap::Parser;
use mock_core::process::args::Args;
use serde_json::{Value, json};

use super::*;

fn choice(shoot: &Value, seed: &Value, reported: &Value) -> Result<Value, Invalid> {
    let mut shoot: Shoot = serde_json::from_value(shoot.clone()).unwrap();
    shoot.add_seed(Undecoded::of(&seed.to_string())).unwrap();
    let options = Args::<Options>::try_parse_from(["mock"]).unwrap().kind;
    networks(&shoot, &serde_json::from_value(reported.clone()).unwrap(), &options).map(|networks| json!(networks))
}

/// A Shoot with these `spec.networking` and `status.networking`.
fn shoot(spec: &Value, status: &Value) -> Value {
    json!({ "spec": { "networking": spec }, "status": { "networking": status } })
}

fn seed(networks: &Value) -> Value {
    json!({ "spec": { "networks": networks } })
}

#[test]
fn networks_come_from_the_shoot_else_from_its_status_else_from_our_report_else_from_the_default() {
    let spec = json!({ "nodes": "10.1.0.0/16" });
    let (status, reported) = (json!({ "nodes": ["10.2.0.0/16"] }), json!({ "nodes": ["10.3.0.0/16"] }));
    for (shoot, reported, expected) in [
        (shoot(&spec, &status), &reported, "10.1.0.0/16"),
        (shoot(&Value::Null, &status), &reported, "10.2.0.0/16"),
        (json!({}), &reported, "10.3.0.0/16"),
        (json!({}), &json!({ "nodes": ["10.3.0.1/16"] }), "10.250.0.0/16"),
        (json!({}), &json!({}), "10.250.0.0/16"),
    ] {
        assert_eq!(choice(&shoot, &json!({}), reported).unwrap()["nodes"], json!([expected]), "{shoot}");
    }
}

#[test]
fn each_ip_family_has_networks_of_nodes_pods_and_services_in_the_order_of_the_shoot() {
    let six = ["fd00:10:250::/48", "fd00:10:96::/48", "fd00:10:64::/112"];
    let four = ["10.250.0.0/16", "100.96.0.0/11", "100.64.0.0/13"];
    let ours = ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"];
    let [nodes, pods, services] = ours;
    for (families, named, expected) in [
        (json!(null), false, vec![four]),
        (json!([]), false, vec![four]),
        (json!(["IPv4"]), true, vec![ours]),
        (json!(["IPv6"]), false, vec![six]),
        (json!(["IPv4", "IPv6"]), true, vec![ours, six]),
        (json!(["IPv6", "IPv4"]), true, vec![six, ours]),
        (json!(["IPv6", "IPv4"]), false, vec![six, four]),
        (json!(["IPv6", "IPv6"]), false, vec![six]),
    ] {
        let mut spec = json!({ "ipFamilies": families });
        if named {
            spec = json!({ "ipFamilies": families, "nodes": nodes, "pods": pods, "services": services });
        }
        let column = |index: usize| expected.iter().map(|row| row[index]).collect::<Vec<_>>();
        let expected = json!({ "nodes": column(0), "pods": column(1), "services": column(2) });
        assert_eq!(choice(&shoot(&spec, &Value::Null), &json!({}), &json!({})).unwrap(), expected, "{spec}");
    }
}

#[test]
fn chosen_networks_overlap_neither_the_shoot_nor_its_seed_nor_each_other() {
    let spec = json!({ "ipFamilies": ["IPv4", "IPv6"], "pods": "10.240.0.0/12", "services": "100.64.0.0/13" });
    let seed = seed(&json!({ "nodes": "10.0.0.0/15", "pods": "fd00:10::/32", "services": "fd00::/48" }));
    let expected = json!({
        "nodes": ["10.2.0.0/16", "fd00:0:1::/48"],
        "pods": ["10.240.0.0/12", "fd00:0:2::/48"],
        "services": ["100.64.0.0/13", "fd00:0:3::/112"],
    });
    let shoot = shoot(&spec, &Value::Null);
    let chosen = choice(&shoot, &seed, &json!({})).unwrap();
    assert_eq!(chosen, expected);
    assert_eq!(chosen["pods"], expected["pods"]);
    assert_eq!(choice(&shoot, &seed, &chosen).unwrap(), chosen, "what was reported is kept");
    let reported = json!({ "nodes": ["10.241.0.0/16"] });
    assert_eq!(choice(&shoot, &seed, &reported).unwrap()["nodes"], expected["nodes"], "gardener-apiserver refused it");
}

#[test]
fn a_shoot_without_room_for_a_network_is_an_error_that_names_the_field() {
    let full = shoot(&json!({ "pods": "10.0.0.0/8", "services": "100.64.0.0/13" }), &Value::Null);
    let error = choice(&full, &json!({}), &json!({})).unwrap_err();
    assert_eq!(error.field, "spec.shoot.spec.networking.nodes of the Cluster");
    assert!(error.problem.ends_with("name one"), "{error}");
}

#[test]
fn a_network_that_gardener_refuses_is_an_error_that_names_the_field() {
    for (spec, field, problem) in [
        (json!({ "pods": "10.0.0.0" }), "pods", "is no CIDR"),
        (json!({ "services": "10.0.0.1/16" }), "services", "write 10.0.0.0/16"),
        (json!({ "nodes": "2001:db8::/48" }), "nodes", "is IPv6, expected one of IPv4"),
        (json!({ "nodes": "10.1.0.0/16", "ipFamilies": ["IPv6"] }), "nodes", "is IPv4, expected one of IPv6"),
    ] {
        let error = choice(&shoot(&spec, &Value::Null), &json!({}), &json!({ "nodes": ["10.2.0.0/16"] })).unwrap_err();
        assert_eq!(error.field, format!("spec.shoot.spec.networking.{field} of the Cluster"));
        assert!(error.problem.contains(problem), "{error}");
    }
}

#[test]
fn networks_are_written_as_go_prints_them() {
    let spec = json!({ "ipFamilies": ["IPv6"], "nodes": "FD00:1:0:0:0::/48" });
    assert_eq!(choice(&shoot(&spec, &Value::Null), &json!({}), &json!({})).unwrap()["nodes"], json!(["fd00:1::/48"]));
}
