use serde_json::{Value, json};

use super::*;

fn volume(value: Value) -> Volume {
    let mut value = value;
    value["name"] = json!("v");
    serde_json::from_value(value).unwrap()
}

fn data(pairs: &[(&str, &str)]) -> Files {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
}

fn items(pairs: &[(&str, &str)]) -> Vec<KeyToPath> {
    pairs.iter().map(|(key, path)| KeyToPath { key: (*key).to_owned(), path: (*path).to_owned(), mode: None }).collect()
}

#[test]
fn every_source_of_a_projected_volume_is_found() {
    let volume = volume(json!({ "projected": { "sources": [
        { "secret": { "name": "s", "items": [{ "key": "tls.crt", "path": "a/tls.crt" }] } },
        { "configMap": { "name": "m", "optional": true } },
        { "downwardAPI": { "items": [{ "path": "name", "fieldRef": { "fieldPath": "metadata.name" } }] } },
        { "serviceAccountToken": { "path": "token", "audience": "x", "expirationSeconds": 600 } },
    ] } }));
    let Content::Files(sources) = content(&volume) else { panic!("not files") };
    assert!(matches!(&sources[0], Source::Secret { name: "s", optional: false, items } if items.len() == 1));
    assert!(matches!(sources[1], Source::ConfigMap { name: "m", optional: true, items: [] }));
    assert!(matches!(sources[2], Source::Fields(files) if files.len() == 1));
    assert!(matches!(sources[3], Source::Token(token) if token.path == "token"));
}

#[test]
fn volume_of_another_type_is_an_empty_folder() {
    assert!(matches!(content(&volume(json!({ "emptyDir": {} }))), Content::Empty));
    assert!(matches!(content(&volume(json!({ "hostPath": { "path": "/etc" } }))), Content::Empty));
    let claim = volume(json!({ "persistentVolumeClaim": { "claimName": "c" } }));
    assert!(matches!(content(&claim), Content::Claim("c")));
}

#[test]
fn items_choose_keys_and_paths() {
    let all = data(&[("a", "1"), ("b", "2")]);
    assert_eq!(select(all.clone(), &[], false, "Secret s").unwrap(), all);
    let chosen = select(all, &items(&[("b", "x/b")]), false, "Secret s").unwrap();
    assert_eq!(chosen, data(&[("x/b", "2")]));
}

#[test]
fn missing_key_is_an_error_unless_it_is_optional() {
    let wanted = items(&[("token", "token")]);
    let error = select(data(&[]), &wanted, false, "Secret s").unwrap_err().to_string();
    assert_eq!(error, "Secret s has no key token yet");
    assert_eq!(select(data(&[]), &wanted, true, "Secret s").unwrap(), data(&[]));
}

#[test]
fn files_are_replaced_and_those_that_vanished_deleted() {
    let folder = tempfile::tempdir().unwrap();
    write_all(folder.path(), &data(&[("a", "1"), ("x/b", "2"), ("c", "3")])).unwrap();
    write_all(folder.path(), &data(&[("a", "4"), ("x/b", "2")])).unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
    assert_eq!((read("a").as_deref(), read("x/b").as_deref(), read("c")), (Some("4"), Some("2"), None));
    assert_eq!(read(".new"), None);
}

#[test]
fn path_never_leads_out_of_its_folder() {
    let folder = Path::new("/root");
    assert_eq!(inside(folder, "/etc/./ssl").unwrap(), Path::new("/root/etc/ssl"));
    assert!(inside(folder, "a/../../etc").unwrap_err().to_string().contains("leave out `..`"));
}
