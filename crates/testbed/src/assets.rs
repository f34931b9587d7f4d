//! Where etcd, kube-apiserver and Gardener's custom resource definitions come from: a folder the user names, the
//! cache, or, once, Go's module proxy.

mod go;

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use self::go::{COLD_BUILD_GIB, GO_MINOR, Go};

const ETCD_VERSION: &str = "v3.6.8";
const KUBERNETES_VERSION: &str = "v1.36.3";
const GARDENER_VERSION: &str = "v1.149.0";

/// k8s.io/kubernetes needs its staging modules of the same minor and patch, published as v0.
const STAGING_VERSION: &str = "v0.36.3";

/// The programs and manifests a [`TestBed`](crate::bed::TestBed) is made of.
#[derive(Clone, Debug)]
pub struct Assets {
    /// The etcd server.
    pub etcd: PathBuf,
    /// The Kubernetes API server.
    pub kube_apiserver: PathBuf,
    /// A folder whose `*.yaml` files are Gardener's extension `CustomResourceDefinition`s.
    pub crds: PathBuf,
}

/// Why the assets cannot be had; every text is one line that ends with the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssetsError {
    /// `KUBEBUILDER_ASSETS` names a folder that lacks a server.
    #[error("KUBEBUILDER_ASSETS={} holds no {missing}: fill it (`setup-envtest use -p path`) or unset it", .folder.display())]
    Incomplete {
        /// The value of the variable.
        folder: PathBuf,
        /// The name of the program that is not there.
        missing: &'static str,
    },
    /// `GARDENER_CRDS` names a folder without manifests.
    #[error("GARDENER_CRDS={} holds no *.yaml file: point it to pkg/component/extensions/crds/assets of Gardener, or unset it", .folder.display())]
    NoCrds {
        /// The value of the variable.
        folder: PathBuf,
    },
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("no cache folder for etcd and kube-apiserver: set HOME or XDG_CACHE_HOME")]
    NoCache,
    /// The cache folder cannot be written.
    #[error("cannot write the cache folder {}: {source}: make it writable, or set XDG_CACHE_HOME to a folder that is", .folder.display())]
    CacheNotWritable {
        /// The folder that was to be written.
        folder: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is no Go toolchain.
    #[error(
        "Go 1.{GO_MINOR} or newer is needed once, to get {wanted}: install it (https://go.dev/dl), or set {variable}"
    )]
    NoGo {
        /// What was to be got with Go.
        wanted: &'static str,
        /// The variable that makes Go unnecessary.
        variable: &'static str,
    },
    /// The Go toolchain is too old for Kubernetes.
    #[error(
        "Kubernetes {KUBERNETES_VERSION} needs Go 1.{GO_MINOR} or newer to build, this is {found}: update it (https://go.dev/dl), or set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver"
    )]
    GoTooOld {
        /// What `go env GOVERSION` answered.
        found: String,
    },
    /// There is too little room to build.
    #[error("building etcd and kube-apiserver needs {COLD_BUILD_GIB} GiB at {}, {free_mib} MiB are free: make room, set GOCACHE to a larger disk, or set KUBEBUILDER_ASSETS", .folder.display())]
    NoRoom {
        /// Where Go keeps what it has built.
        folder: PathBuf,
        /// The free room there.
        free_mib: u64,
    },
    /// The room was used up on the way.
    #[error(
        "{reason}: make room (building needs {COLD_BUILD_GIB} GiB), set GOCACHE, GOMODCACHE and GOTMPDIR to a larger disk, or set KUBEBUILDER_ASSETS"
    )]
    DiskFull {
        /// What Go could not write.
        reason: String,
    },
    /// A Go command failed.
    #[error("`go {command}` failed: {reason}: check the network and GOPROXY, or set {variable}")]
    Go {
        /// The arguments of the command, shortened.
        command: String,
        /// The last line of what it said.
        reason: String,
        /// The variable that makes the command unnecessary.
        variable: &'static str,
    },
}

impl Assets {
    /// Finds the assets, and gets what is missing into the cache, which takes minutes when Go's own cache is empty.
    ///
    /// The servers come from the folder `KUBEBUILDER_ASSETS` (envtest's convention) if that is set, the manifests from
    /// the folder `GARDENER_CRDS`. The cache is `gardener-mock-testbed` below `XDG_CACHE_HOME` or `~/.cache`; deleting
    /// it is always safe. `progress` gets one line for each step that takes long.
    ///
    /// Blocks the calling thread.
    pub fn locate(progress: &dyn Fn(&str)) -> Result<Self, AssetsError> {
        let folder = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self::locate_with(&folder, progress)
    }

    fn locate_with(variable: &dyn Fn(&str) -> Option<PathBuf>, progress: &dyn Fn(&str)) -> Result<Self, AssetsError> {
        let crds = match variable("GARDENER_CRDS") {
            Some(folder) if manifests(&folder).is_ok_and(|files| !files.is_empty()) => folder,
            Some(folder) => return Err(AssetsError::NoCrds { folder }),
            None => Cache::open(variable)?
                .entry(&format!("crds-{GARDENER_VERSION}"), progress, |folder| copy_crds(folder, progress))?,
        };
        if let Some(folder) = variable("KUBEBUILDER_ASSETS") {
            let program = |missing| {
                let path = folder.join(missing);
                if path.is_file() { Ok(path) } else { Err(AssetsError::Incomplete { folder: folder.clone(), missing }) }
            };
            return Ok(Self { etcd: program("etcd")?, kube_apiserver: program("kube-apiserver")?, crds });
        }
        let cache = Cache::open(variable)?;
        let etcd =
            cache.entry(&format!("etcd-{ETCD_VERSION}"), progress, |folder| build_etcd(folder, progress))?.join("etcd");
        let kube_apiserver = cache
            .entry(&format!("kube-apiserver-{KUBERNETES_VERSION}"), progress, |folder| {
                build_kube_apiserver(folder, progress)
            })?
            .join("kube-apiserver");
        Ok(Self { etcd, kube_apiserver, crds })
    }
}

/// The `*.yaml` files of a folder, sorted.
pub(crate) fn manifests(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The cache: one folder an entry, named after what it holds and its version, and therefore never changed.
struct Cache(PathBuf);

impl Cache {
    fn open(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Self, AssetsError> {
        let caches = variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .ok_or(AssetsError::NoCache)?;
        Ok(Self(caches.join("gardener-mock-testbed")))
    }

    /// The folder of an entry, filled by `fill` if it is not there yet, by one process at a time.
    fn entry(
        &self,
        name: &str,
        progress: &dyn Fn(&str),
        fill: impl FnOnce(&Path) -> Result<(), AssetsError>,
    ) -> Result<PathBuf, AssetsError> {
        let entry = self.0.join(name);
        if entry.is_dir() {
            return Ok(entry);
        }
        let not_writable = |source| AssetsError::CacheNotWritable { folder: self.0.clone(), source };
        fs::create_dir_all(&self.0).map_err(not_writable)?;
        let lock = File::create(self.0.join("lock")).map_err(not_writable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress(&format!("waiting for another process that fills {}", self.0.display()));
                lock.lock().map_err(not_writable)?;
            }
            Err(TryLockError::Error(source)) => return Err(not_writable(source)),
        }
        if entry.is_dir() {
            return Ok(entry);
        }
        // Under the lock a fixed name cannot collide, and what a killed process left is taken away by the next one.
        let unfinished = self.0.join("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(not_writable)?;
        }
        fs::create_dir(&unfinished).map_err(not_writable)?;
        let filled = fill(&unfinished).and_then(|()| fs::rename(&unfinished, &entry).map_err(not_writable));
        if filled.is_err() {
            // Best effort: the error to report is that of filling, and the next process tries again.
            let _ = fs::remove_dir_all(&unfinished);
        }
        filled.map(|()| entry)
    }
}

fn copy_crds(folder: &Path, progress: &dyn Fn(&str)) -> Result<(), AssetsError> {
    progress(&format!("downloading Gardener {GARDENER_VERSION} for its CRDs, once, about 1 min"));
    let go = Go::new(folder, "Gardener's CRDs", "GARDENER_CRDS");
    let module = go.download(&format!("github.com/gardener/gardener@{GARDENER_VERSION}"))?;
    let unreadable = |error: io::Error| AssetsError::Go {
        command: "mod download".to_owned(),
        reason: format!("{}: {error}", module.dir.display()),
        variable: "GARDENER_CRDS",
    };
    for file in manifests(&module.dir.join("pkg/component/extensions/crds/assets")).map_err(unreadable)? {
        if let Some(name) = file.file_name() {
            // Not fs::copy: it would also copy the module cache's read-only mode.
            let text = fs::read(&file).map_err(unreadable)?;
            fs::write(folder.join(name), text)
                .map_err(|source| AssetsError::CacheNotWritable { folder: folder.to_owned(), source })?;
        }
    }
    Ok(())
}

fn build_etcd(folder: &Path, progress: &dyn Fn(&str)) -> Result<(), AssetsError> {
    let go = Go::new(folder, "etcd and kube-apiserver", "KUBEBUILDER_ASSETS");
    go.check()?;
    progress(&format!("building etcd {ETCD_VERSION} with Go, once, about 1 min on 2 cores"));
    go.build("etcd", "go.etcd.io/etcd/server/v3", &format!("require go.etcd.io/etcd/server/v3 {ETCD_VERSION}"), "-s -w")
}

/// Kubernetes' own go.mod replaces its staging modules by folders that the published module does not hold.
fn build_kube_apiserver(folder: &Path, progress: &dyn Fn(&str)) -> Result<(), AssetsError> {
    let go = Go::new(folder, "etcd and kube-apiserver", "KUBEBUILDER_ASSETS");
    go.check()?;
    progress(&format!("building kube-apiserver {KUBERNETES_VERSION} with Go, once, about 4 min on 2 cores"));
    let module = go.download(&format!("k8s.io/kubernetes@{KUBERNETES_VERSION}"))?;
    let mut directives = vec![format!("require k8s.io/kubernetes {KUBERNETES_VERSION}")];
    for replace in go.requirements(&module.go_mod)?.replace {
        if replace.new.path.starts_with("./staging/") {
            let staging = replace.old.path;
            directives.push(format!("replace {staging} => {staging} {STAGING_VERSION}"));
        }
    }
    let mut version = KUBERNETES_VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (version.next().unwrap_or_default(), version.next().unwrap_or_default());
    let package = "k8s.io/component-base/version";
    let linker_flags = format!(
        "-s -w -X {package}.gitVersion={KUBERNETES_VERSION} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    );
    go.build("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", &directives.join("\n"), &linker_flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks for the assets in an environment of these variables only.
    fn locate(environment: &[(&str, &Path)]) -> Result<Assets, AssetsError> {
        let variable =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, folder)| folder.to_path_buf());
        Assets::locate_with(&variable, &|step| panic!("this would take long: {step}"))
    }

    #[test]
    fn folders_that_the_user_names_are_taken_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let named = [("GARDENER_CRDS", folder), ("KUBEBUILDER_ASSETS", folder)];
        assert!(matches!(locate(&named), Err(AssetsError::NoCrds { .. })));
        fs::write(folder.join("crd.yaml"), "").unwrap();
        fs::write(folder.join("etcd"), "").unwrap();
        let error = locate(&named).unwrap_err();
        assert!(matches!(error, AssetsError::Incomplete { missing: "kube-apiserver", .. }));
        assert!(!error.to_string().contains('\n'));
        fs::write(folder.join("kube-apiserver"), "").unwrap();
        let assets = locate(&named).unwrap();
        assert_eq!((assets.etcd, assets.crds), (folder.join("etcd"), folder.to_owned()));
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_told_before_anything_is_built() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(locate(&[("XDG_CACHE_HOME", &file)]), Err(AssetsError::CacheNotWritable { .. })));
        assert!(matches!(locate(&[]), Err(AssetsError::NoCache)));
    }

    #[test]
    fn an_entry_is_filled_once_and_never_seen_half() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache(folder.path().join("cache"));
        let failing = |unfinished: &Path| {
            fs::write(unfinished.join("half"), "").unwrap();
            Err(AssetsError::NoCache)
        };
        cache.entry("a-v1", &|_| {}, failing).unwrap_err();
        let filling = |unfinished: &Path| {
            fs::write(unfinished.join("whole"), "").unwrap();
            Ok(())
        };
        let entry = cache.entry("a-v1", &|_| {}, filling).unwrap();
        assert!(entry.join("whole").is_file() && !entry.join("half").exists());
        cache.entry("a-v1", &|_| {}, |_| panic!("it is there already")).unwrap();
    }
}
