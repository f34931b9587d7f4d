//! The image of the conformance kit, as `crates/conformance/job.yaml` runs it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::container::{Container, ContainerOptions, Image, Mount};
use gardener_testbed::{manifests, workspace};
use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::{DEADLINE, controllers, programs, runtime};

/// The name of the kit's program and image.
pub(super) const NAME: &str = "extension-conformance";
/// The user with the permissions of the Job's ServiceAccount.
const USER: &str = "kit";
/// A few rules. One of them needs a namespace that is not a Shoot's, and one restores an object.
const RULES: &str = "--run=foreign_type_*,timestamp_stays_*,deletion_removes_only_*,restored_object_becomes_ready";
/// Where a Pod finds its token.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The kit finds all that it needs in its image and in what the Job mounts, and may do what it needs.
pub(super) fn judges_as_its_job_does(files: &[PathBuf]) {
    runtime().block_on(async {
        let assets = Assets::locate(&|_| {}).unwrap();
        let options = Options { users: vec![USER.to_owned()], ..Options::default() };
        let bed = TestBed::start(&assets, options).await.unwrap();
        let network = controllers(files).find(|(_, name)| *name == "mock-network").unwrap().0;
        let admin = folder(&bed, "admin", &[("kubeconfig", &fs::read(bed.kubeconfig()).unwrap())]);
        let options = ContainerOptions {
            env: vec![("KUBECONFIG".to_owned(), "/admin/kubeconfig".to_owned())],
            mounts: vec![Mount { source: admin, destination: "/admin".into() }],
            ..ContainerOptions::default()
        };
        let _controller = start(&bed, network, "controller", &options);

        let job = manifests::read(&workspace::root().join("crates/conformance/job.yaml")).unwrap();
        let role: ClusterRole = object(&job, "ClusterRole");
        bed.grant(USER, role.rules.unwrap()).await.unwrap();
        let image = programs(files).find(|(_, name)| *name == NAME).unwrap().0;
        let (mut kit, output) = start(&bed, image, "kit", &as_the_job(&bed, &job));
        let status = timeout(DEADLINE, kit.wait()).await.unwrap().unwrap();
        let output = fs::read_to_string(output).unwrap();
        assert!(status.success(), "{output}");
        assert!(output.ends_with("Network of type mock: 4 passed\n"), "{output}");
    });
}

/// Starts a container. The returned file gets its output.
fn start(bed: &TestBed, archive: &Path, name: &str, options: &ContainerOptions) -> (Container, PathBuf) {
    let output = bed.dir().join(format!("{name}.log"));
    let file = File::create(&output).unwrap();
    let image = Image::open(archive, &bed.dir().join(format!("image-of-{name}"))).unwrap();
    let mut command = image.command(options).unwrap();
    command.stdout(file.try_clone().unwrap()).stderr(file);
    (Container::new(bed.supervisor().spawn(command).unwrap()), output)
}

/// The Job's arguments and files. The address of the API server is that of the test bed.
fn as_the_job(bed: &TestBed, objects: &[Value]) -> ContainerOptions {
    let pod = object::<Job>(objects, "Job").spec.unwrap().template.spec.unwrap();
    let container = pod.containers.into_iter().next().unwrap();
    let kubeconfig = fs::read(bed.kubeconfig_for(USER).unwrap()).unwrap();
    let kubeconfig: Value = serde_json::from_slice(&kubeconfig).unwrap();
    let server = kubeconfig["clusters"][0]["cluster"]["server"].as_str().unwrap();
    let authority = kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"].clone();
    let ByteString(authority) = serde_json::from_value(authority).unwrap();
    let token = kubeconfig["users"][0]["user"]["token"].as_str().unwrap();

    let files = object::<ConfigMap>(objects, "ConfigMap").data.unwrap();
    let files: Vec<_> = files
        .into_iter()
        .map(|(name, content)| (name, content.replace("https://kubernetes.default.svc", server)))
        .collect();
    let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), content.as_bytes())).collect();
    let account = folder(bed, "account", &[("ca.crt", &authority), ("token", token.as_bytes())]);
    let mount = container.volume_mounts.unwrap().into_iter().next().unwrap();
    ContainerOptions {
        args: container.args.unwrap().into_iter().chain([RULES.to_owned()]).collect(),
        mounts: vec![
            Mount { source: folder(bed, "files", &files), destination: mount.mount_path.into() },
            Mount { source: account, destination: SERVICE_ACCOUNT.into() },
        ],
        ..ContainerOptions::default()
    }
}

/// The only object of a kind.
fn object<T: DeserializeOwned>(objects: &[Value], kind: &str) -> T {
    let found = objects.iter().find(|object| object["kind"] == kind).unwrap();
    serde_json::from_value(found.clone()).unwrap()
}

/// A folder with files that the image's user can read.
fn folder(bed: &TestBed, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let folder = bed.dir().join(format!("mounted-{name}"));
    fs::create_dir(&folder).unwrap();
    for (name, content) in files {
        fs::write(folder.join(name), content).unwrap();
    }
    folder
}
