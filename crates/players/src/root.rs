//! The root of a container: stands for the image and the mounts that a container runtime unpacks. Leaves out /proc, /sys
//! and the files of the image besides its program, which is static.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};
use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

use crate::args::SeedArgs;
use crate::environment::Place;
use crate::error::Error;
use crate::volumes::inside;

/// Devices that static programs open: one with glibc panics without /dev/random.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"];

/// Folders that images have, and programs write to.
const FOLDERS: [&str; 6] = ["bin", "dev", "etc", "run", "tmp", "var/run"];

/// A file or folder that appears at another place, inside of a Pod's mount namespace alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bind {
    /// What appears. A path that does not exist becomes an empty folder.
    pub(crate) from: PathBuf,
    /// Where. The place is created.
    pub(crate) to: PathBuf,
}

/// Writes the files that every container has below a root.
pub(crate) fn prepare(root: &Path, pod: &Pod, place: &Place, args: &SeedArgs) -> Result<(), Error> {
    for folder in FOLDERS {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).map_err(Error::io("create", folder.display()))?;
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let files = [
        ("etc/hosts", hosts(pod, place)),
        ("etc/resolv.conf", resolver(namespace, args)),
        ("etc/passwd", "root:x:0:0::/:/\nnonroot:x:65532:65532::/:/\n".to_owned()),
        ("etc/nsswitch.conf", "hosts: files dns\n".to_owned()),
    ];
    for (name, content) in files {
        let path = root.join(name);
        fs::write(&path, content).map_err(Error::io("write", path.display()))?;
    }
    Ok(())
}

/// What appears in the root of a container: devices, its program, and its volumes. Outer places come before inner ones.
pub(crate) fn binds(
    root: &Path,
    program: &Path,
    container: &Container,
    volumes: &BTreeMap<String, PathBuf>,
) -> Result<Vec<Bind>, Error> {
    let mut binds: Vec<Bind> = DEVICES
        .iter()
        .map(|device| Ok(Bind { from: PathBuf::from(device), to: inside(root, device)? }))
        .collect::<Result<_, Error>>()?;
    binds.push(Bind { from: program.to_owned(), to: root.join("bin").join(&container.name) });
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes.get(&mount.name).ok_or_else(|| {
            Error::Unusable(format!("container {} mounts {}, which is no volume", container.name, mount.name))
        })?;
        let from = inside(volume, mount.sub_path.as_deref().unwrap_or_default())?;
        binds.push(Bind { from, to: inside(root, &mount.mount_path)? });
    }
    binds.sort_by_key(|bind| bind.to.components().count());
    Ok(binds)
}

/// The contents of /etc/hosts.
fn hosts(pod: &Pod, place: &Place) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let mut hosts = format!("127.0.0.1 localhost\n{} {name}\n", place.address);
    for alias in pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten()) {
        hosts.push_str(&alias.ip);
        for name in alias.hostnames.iter().flatten() {
            hosts.push(' ');
            hosts.push_str(name);
        }
        hosts.push('\n');
    }
    hosts
}

/// The contents of /etc/resolv.conf.
fn resolver(namespace: &str, args: &SeedArgs) -> String {
    format!(
        "nameserver {}\nsearch {namespace}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
        args.dns()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(mounts: &serde_json::Value) -> Container {
        serde_json::from_value(json!({ "name": "c", "volumeMounts": mounts })).unwrap()
    }

    #[test]
    fn outer_mounts_come_before_inner_ones() {
        let container = container(&json!([
            { "name": "v", "mountPath": "/srv/a/b/c", "subPath": "tls.crt" },
            { "name": "v", "mountPath": "/srv/a" },
        ]));
        let volumes = BTreeMap::from([("v".to_owned(), PathBuf::from("/volumes/v"))]);
        let binds = binds(Path::new("/root"), Path::new("/programs/c"), &container, &volumes).unwrap();
        let place = |to: &str| binds.iter().position(|bind| bind.to == Path::new(to)).unwrap();
        assert!(place("/root/srv/a") < place("/root/srv/a/b/c"));
        assert_eq!(binds[place("/root/srv/a/b/c")].from, Path::new("/volumes/v/tls.crt"));
        assert_eq!(binds[place("/root/bin/c")].from, Path::new("/programs/c"));
        assert!(binds.iter().any(|bind| bind.to == Path::new("/root/dev/random")));
    }

    #[test]
    fn mount_without_volume_is_an_error_that_names_both() {
        let container = container(&json!([{ "name": "v", "mountPath": "/a" }]));
        let error = binds(Path::new("/root"), Path::new("/p"), &container, &BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "container c mounts v, which is no volume");
    }
}
