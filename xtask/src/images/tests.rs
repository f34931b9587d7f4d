//! The content of the archives.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use flate2::read::GzDecoder;
use gardener_testbed::manifests;
use mock_fleet::kinds::{self, Package};
use serde_json::{Value, json};

use super::*;
use crate::images::labels::Labels;

type Files = BTreeMap<String, Vec<u8>>;

fn reference() -> Reference {
    Reference { repository: "registry.example/p/mock-x".to_owned(), tag: "1.2".to_owned() }
}

fn labels() -> Labels {
    let label = |number: u8| (format!("org.example.{number}"), number.to_string());
    (0..20).map(label).collect()
}

fn image(platforms: &[Platform]) -> Packed {
    let builds: Vec<_> = platforms.iter().map(|platform| (*platform, platform.to_string().into_bytes())).collect();
    image::pack(reference(), "mock-x", &labels(), &builds).unwrap()
}

fn chart() -> Packed {
    let metadata = chart::metadata(&chart::folder(), Package::find("network").unwrap()).unwrap();
    helm::pack(reference(), "mock-x", &metadata, labels(), vec![1, 2, 3]).unwrap()
}

/// The features of all dependencies of these controllers, without those of the controllers themselves.
fn features(packages: &[Package]) -> BTreeSet<String> {
    let mut tree = cargo::command();
    tree.args(["tree", "--edges", "features,no-dev", "--prefix", "none", "--locked"]);
    for package in packages {
        tree.args(["--package", &package.full_name()]);
    }
    let output = tree.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let is_feature = |line: &&str| line.contains(" feature ") && !line.starts_with("mock-");
    lines.lines().filter(is_feature).map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

#[test]
fn a_controller_that_is_built_alone_has_the_same_features_as_in_a_build_of_all() {
    let together = features(kinds::ALL);
    assert!(together.iter().any(|line| line.starts_with("serde feature")), "{together:#?}");
    for package in kinds::ALL {
        let alone = features(&[*package]);
        let missing: Vec<_> = together.difference(&alone).collect();
        assert!(missing.is_empty(), "its image would depend on what else is built: {} lacks {missing:?}", package.name);
    }
}

fn untar(tar: &[u8]) -> Files {
    let mut files = Files::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert_eq!((entry.header().mtime().unwrap(), entry.header().uid().unwrap()), (0, 0));
        files.insert(entry.path().unwrap().display().to_string(), content);
    }
    files
}

fn document(files: &Files, path: &str) -> Value {
    serde_json::from_slice(&files[path]).unwrap()
}

/// The blob of a descriptor; checks size and digest.
fn blob<'a>(files: &'a Files, descriptor: &Value) -> &'a [u8] {
    let digest = descriptor["digest"].as_str().unwrap();
    let content = &files[&format!("blobs/{}", digest.replace(':', "/"))];
    assert_eq!(descriptor["size"], content.len(), "{descriptor}");
    assert_eq!(layout::digest(content).unwrap().as_ref(), digest);
    content
}

fn described(files: &Files, descriptor: &Value) -> Value {
    serde_json::from_slice(blob(files, descriptor)).unwrap()
}

/// Checks the index, and returns the descriptor of its only entry.
fn root(files: &Files, packed: &Packed) -> Value {
    assert_eq!(document(files, "oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }));
    let index = document(files, "index.json");
    let [root] = index["manifests"].as_array().unwrap().as_slice() else { panic!("{index}") };
    let name = json!({
        "io.containerd.image.name": "registry.example/p/mock-x:1.2",
        "org.opencontainers.image.ref.name": "1.2",
    });
    assert_eq!(root["annotations"], name);
    assert_eq!(root["digest"], packed.digest);
    root.clone()
}

/// Checks the image for one platform, whose program is a text.
fn check_image(files: &Files, descriptor: &Value, architecture: &str) {
    assert_eq!(descriptor["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(descriptor["platform"], json!({ "os": "linux", "architecture": architecture }));
    let manifest = described(files, descriptor);
    assert_eq!(manifest["annotations"], json!(labels()));
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    let config = described(files, &manifest["config"]);
    assert_eq!((&config["os"], &config["architecture"]), (&json!("linux"), &json!(architecture)));
    let process = json!({
        "User": "65532:65532", "Entrypoint": ["/mock-x"], "WorkingDir": "/", "Labels": labels(),
    });
    assert_eq!(config["config"], process);
    assert!(config.get("created").is_none());

    let [layer] = manifest["layers"].as_array().unwrap().as_slice() else { panic!("{manifest}") };
    assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    let mut tar = Vec::new();
    GzDecoder::new(blob(files, layer)).read_to_end(&mut tar).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"], json!([layout::digest(&tar).unwrap().as_ref()]));
    let expected = ("mock-x".to_owned(), format!("linux/{architecture}").into_bytes());
    assert_eq!(untar(&tar), Files::from([expected]));
    assert_eq!(
        tar::Archive::new(tar.as_slice()).entries().unwrap().next().unwrap().unwrap().header().mode().unwrap(),
        0o755
    );
}

#[test]
fn index_names_the_image_of_one_platform() {
    let packed = image(&platform::ALL[..1]);
    let files = untar(&packed.tar);
    check_image(&files, &root(&files, &packed), "amd64");
    // There are three blobs and nothing else.
    assert_eq!(files.keys().filter(|path| path.starts_with("blobs/sha256/") && !path.ends_with('/')).count(), 3);
}

#[test]
fn images_of_several_platforms_have_an_index_of_their_own() {
    let packed = image(platform::ALL);
    let files = untar(&packed.tar);
    let root = root(&files, &packed);
    assert_eq!(root["mediaType"], "application/vnd.oci.image.index.v1+json");
    let index = described(&files, &root);
    let manifests = index["manifests"].as_array().unwrap();
    assert_eq!((manifests.len(), packed.sizes.len()), (2, 2));
    check_image(&files, &manifests[0], "amd64");
    check_image(&files, &manifests[1], "arm64");
}

#[test]
fn docker_finds_the_same_blobs() {
    let packed = image(platform::ALL);
    let files = untar(&packed.tar);
    let docker = document(&files, "manifest.json");
    let [image] = docker.as_array().unwrap().as_slice() else { panic!("{docker}") };
    assert_eq!(image["RepoTags"], json!(["registry.example/p/mock-x:1.2"]));
    let manifest = described(&files, &described(&files, &root(&files, &packed))["manifests"][0]);
    let path = |descriptor: &Value| format!("blobs/{}", descriptor["digest"].as_str().unwrap().replace(':', "/"));
    assert_eq!(image["Config"], path(&manifest["config"]));
    assert_eq!(image["Layers"], json!([path(&manifest["layers"][0])]));
}

#[test]
fn chart_is_as_helm_pushes_it() {
    let packed = chart();
    assert_eq!(packed.file, "mock-x-chart.tar");
    let files = untar(&packed.tar);
    let manifest = described(&files, &root(&files, &packed));
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.cncf.helm.config.v1+json");
    let config = described(&files, &manifest["config"]);
    let mut expected = manifests::read_one(&chart::folder().join("Chart.yaml")).unwrap();
    expected["name"] = json!("mock-network");
    assert_eq!(config, expected);
    let [layer] = manifest["layers"].as_array().unwrap().as_slice() else { panic!("{manifest}") };
    assert_eq!(layer["mediaType"], "application/vnd.cncf.helm.chart.content.v1.tar+gzip");
    assert_eq!(blob(&files, layer), [1, 2, 3]);
}

#[test]
fn same_content_gives_the_same_bytes() {
    assert!(image(platform::ALL).tar == image(platform::ALL).tar);
    assert!(chart().tar == chart().tar);
}

#[test]
fn kit_has_an_image_and_no_chart_and_can_be_named_beside_kinds() {
    let names = |named: &[&str]| -> Vec<_> {
        let named: Vec<_> = named.iter().map(|name| Program::parse(name).unwrap()).collect();
        Program::only(&named).into_iter().map(|program| (program.name(), program.controller().is_some())).collect()
    };
    let [network, kit] = [("mock-network".to_owned(), true), ("extension-conformance".to_owned(), false)];
    assert_eq!(names(&["extension-conformance", "Network"]), [network, kit.clone()]);
    assert_eq!(names(&[]).len(), kinds::ALL.len() + 1);
    assert_eq!(names(&[]).last(), Some(&kit));
    let error = Program::parse("bastille").unwrap_err();
    assert!(error.contains("worker") && error.ends_with("extension-conformance"), "{error}");
}

#[test]
fn image_above_the_limit_is_refused() {
    // Random bytes, which cannot be compressed.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    });
    let builds = [(platform::ALL[0], noise.take(5_100_000).collect())];
    let error = image::pack(reference(), "mock-x", &labels(), &builds).err().unwrap().to_string();
    assert!(error.contains("mock-x:1.2 for linux/amd64 has 5.2 MB compressed, above the limit of 5.0 MB"), "{error}");
}

#[test]
fn invalid_tags_and_registries_are_refused() {
    for good in ["1.2.3", "v1", "_x", "2026-01-01_a.b"] {
        assert_eq!(tag(good).as_deref(), Ok(good));
    }
    for bad in ["", ".x", "-x", "a b", "a:b", "a/b", &"x".repeat(129)] {
        assert!(tag(bad).is_err(), "{bad}");
    }
    for good in ["registry.example:5000/a/b", "localhost", "localhost:1/a", "10.0.0.1/a.b_c", "[fd00::1]:5000/a"] {
        assert_eq!(registry(&format!("{good}/")).as_deref(), Ok(good));
    }
    for bad in [
        "",
        "/",
        "mock",
        "https://registry.example",
        "registry.example/UPPER",
        "registry.example/a b",
        "registry.example//a",
        "registry.example/../a",
        "registry.example/-a",
        "registry.example:99999/a",
        "registry.example:/a",
        "registry..example/a",
        "../a",
        "[fd00::x]/a",
        "registry.example/ä",
    ] {
        assert!(registry(bad).is_err(), "{bad}");
    }
}
