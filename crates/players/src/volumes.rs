//! Volumes of a Pod: stands for the part of a kubelet that fills them. ConfigMaps, Secrets, projected sources and tokens
//! of ServiceAccounts are filled and kept up to date; a PersistentVolumeClaim is a folder that outlives the Pod. Leaves
//! out file modes, limits of size, and all other types, which are empty folders.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, PersistentVolumeClaim, Pod, Secret, ServiceAccount,
    ServiceAccountTokenProjection, Volume, VolumeProjection,
};
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};

use crate::environment::{Place, field};
use crate::error::Error;
use crate::player::{Seed, name_of};

/// Contents by path.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// What a volume consists of.
#[derive(Debug)]
enum Content<'a> {
    /// The files of all sources.
    Files(Vec<Source<'a>>),
    /// The folder of a claim.
    Claim(&'a str),
    /// An empty folder.
    Empty,
}

/// One source of files.
#[derive(Debug)]
enum Source<'a> {
    Secret { name: &'a str, optional: bool, items: &'a [KeyToPath] },
    ConfigMap { name: &'a str, optional: bool, items: &'a [KeyToPath] },
    Fields(&'a [DownwardAPIVolumeFile]),
    Token(&'a ServiceAccountTokenProjection),
}

/// A token of the Pod's ServiceAccount.
struct Token {
    value: String,
    renew: Instant,
}

/// The volumes of one Pod.
pub(crate) struct Volumes {
    seed: Arc<Seed>,
    pod: Arc<Pod>,
    place: Place,
    folder: PathBuf,
    tokens: HashMap<(String, String), Token>,
}

impl Volumes {
    /// Volumes with a folder each, below `folder`.
    pub(crate) fn new(seed: Arc<Seed>, pod: Arc<Pod>, place: Place, folder: PathBuf) -> Self {
        Self { seed, pod, place, folder, tokens: HashMap::new() }
    }

    /// Fills the volumes, or brings them up to date. Returns the folder of each volume.
    pub(crate) async fn fill(&mut self) -> Result<BTreeMap<String, PathBuf>, Error> {
        let pod = self.pod.clone();
        let mut folders = BTreeMap::new();
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            let mut folder = self.folder.join(&volume.name);
            match content(volume) {
                Content::Files(sources) => {
                    let mut files = Files::new();
                    for source in &sources {
                        files.extend(self.read(source).await?);
                    }
                    write_all(&folder, &files)?;
                }
                Content::Claim(name) => folder = self.claim(name).await?,
                Content::Empty => {}
            }
            fs::create_dir_all(&folder).map_err(Error::io("create", folder.display()))?;
            folders.insert(volume.name.clone(), folder);
        }
        Ok(folders)
    }

    /// The data of a Secret, or nothing if it may be missing.
    pub(crate) async fn secret(&self, name: &str, optional: bool) -> Result<Option<Files>, Error> {
        let namespace = self.pod.namespace().unwrap_or_default();
        let api: Api<Secret> = Api::namespaced(self.seed.client.clone(), &namespace);
        let found = api.get_opt(name).await.map_err(Error::api(format!("read Secret {namespace}/{name}")))?;
        let files =
            |secret: Secret| secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
        needed(found.map(files), optional, || format!("Secret {namespace}/{name} does not exist yet"))
    }

    /// The data of a ConfigMap, or nothing if it may be missing.
    pub(crate) async fn config_map(&self, name: &str, optional: bool) -> Result<Option<Files>, Error> {
        let namespace = self.pod.namespace().unwrap_or_default();
        let api: Api<ConfigMap> = Api::namespaced(self.seed.client.clone(), &namespace);
        let found = api.get_opt(name).await.map_err(Error::api(format!("read ConfigMap {namespace}/{name}")))?;
        let files = |map: ConfigMap| {
            let texts = map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
            texts.chain(map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0))).collect()
        };
        needed(found.map(files), optional, || format!("ConfigMap {namespace}/{name} does not exist yet"))
    }

    async fn read(&mut self, source: &Source<'_>) -> Result<Files, Error> {
        match source {
            Source::Secret { name, optional, items } => {
                let data = self.secret(name, *optional).await?.unwrap_or_default();
                select(data, items, *optional, &format!("Secret {name}"))
            }
            Source::ConfigMap { name, optional, items } => {
                let data = self.config_map(name, *optional).await?.unwrap_or_default();
                select(data, items, *optional, &format!("ConfigMap {name}"))
            }
            Source::Fields(files) => Ok(fields(files, &self.pod, &self.place)),
            Source::Token(token) => Ok(Files::from([(token.path.clone(), self.token(token).await?.into_bytes())])),
        }
    }

    /// A token for the Pod's ServiceAccount. A kubelet renews it after 80 % of its life.
    async fn token(&mut self, wanted: &ServiceAccountTokenProjection) -> Result<String, Error> {
        let key = (wanted.audience.clone().unwrap_or_default(), wanted.path.clone());
        if let Some(token) = self.tokens.get(&key).filter(|token| Instant::now() < token.renew) {
            return Ok(token.value.clone());
        }
        let (namespace, name) = name_of(self.pod.as_ref());
        let account = self.pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        let account = account.unwrap_or_else(|| "default".to_owned());
        let seconds = wanted.expiration_seconds.unwrap_or(3600);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: wanted.audience.iter().cloned().collect(),
                expiration_seconds: Some(seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(name),
                    uid: self.pod.uid(),
                }),
            },
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.seed.client.clone(), &namespace);
        let answer = api.create_token_request(&account, &PostParams::default(), &request).await;
        let answer = answer.map_err(Error::api(format!("get a token of ServiceAccount {namespace}/{account}")))?;
        let value = answer.status.map(|status| status.token).unwrap_or_default();
        let life = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        self.tokens.insert(key, Token { value: value.clone(), renew: Instant::now() + life * 8 / 10 });
        Ok(value)
    }

    /// The folder of a claim. It has the name of the PersistentVolume's claim, so that a new Pod finds its data.
    async fn claim(&self, name: &str) -> Result<PathBuf, Error> {
        let namespace = self.pod.namespace().unwrap_or_default();
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.seed.client.clone(), &namespace);
        let claim = api.get(name).await;
        let claim = claim.map_err(Error::api(format!("read PersistentVolumeClaim {namespace}/{name}")))?;
        Ok(folder_of_claim(&self.seed.args.root, &claim.uid().unwrap_or_default()))
    }
}

/// Where the data of a claim is.
pub(crate) fn folder_of_claim(root: &Path, uid: &str) -> PathBuf {
    root.join("claims").join(uid)
}

/// Nothing is an error unless it is optional.
fn needed(found: Option<Files>, optional: bool, missing: impl FnOnce() -> String) -> Result<Option<Files>, Error> {
    match found {
        None if !optional => Err(Error::Unusable(missing())),
        found => Ok(found),
    }
}

/// What a volume consists of.
fn content(volume: &Volume) -> Content<'_> {
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let items = secret.items.as_deref().unwrap_or_default();
        Content::Files(vec![Source::Secret { name, optional: secret.optional.unwrap_or_default(), items }])
    } else if let Some(map) = &volume.config_map {
        let items = map.items.as_deref().unwrap_or_default();
        Content::Files(vec![Source::ConfigMap { name: &map.name, optional: map.optional.unwrap_or_default(), items }])
    } else if let Some(fields) = &volume.downward_api {
        Content::Files(vec![Source::Fields(fields.items.as_deref().unwrap_or_default())])
    } else if let Some(projected) = &volume.projected {
        Content::Files(projected.sources.iter().flatten().flat_map(projected_sources).collect())
    } else if let Some(claim) = &volume.persistent_volume_claim {
        Content::Claim(&claim.claim_name)
    } else {
        Content::Empty
    }
}

/// The sources of one entry of a projected volume. The API server admits one; several are all taken.
fn projected_sources(projection: &VolumeProjection) -> Vec<Source<'_>> {
    let secret = projection.secret.as_ref().map(|secret| Source::Secret {
        name: &secret.name,
        optional: secret.optional.unwrap_or_default(),
        items: secret.items.as_deref().unwrap_or_default(),
    });
    let map = projection.config_map.as_ref().map(|map| Source::ConfigMap {
        name: &map.name,
        optional: map.optional.unwrap_or_default(),
        items: map.items.as_deref().unwrap_or_default(),
    });
    let fields = projection.downward_api.as_ref();
    let fields = fields.map(|fields| Source::Fields(fields.items.as_deref().unwrap_or_default()));
    let token = projection.service_account_token.as_ref().map(Source::Token);
    [secret, map, fields, token].into_iter().flatten().collect()
}

/// The chosen keys at the chosen paths, or all keys if none is chosen.
fn select(data: Files, items: &[KeyToPath], optional: bool, object: &str) -> Result<Files, Error> {
    if items.is_empty() {
        return Ok(data);
    }
    let mut files = Files::new();
    for item in items {
        match data.get(&item.key) {
            Some(value) => {
                files.insert(item.path.clone(), value.clone());
            }
            None if optional => {}
            None => return Err(Error::Unusable(format!("{object} has no key {} yet", item.key))),
        }
    }
    Ok(files)
}

/// The files of fields of a Pod.
fn fields(files: &[DownwardAPIVolumeFile], pod: &Pod, place: &Place) -> Files {
    let value = |file: &DownwardAPIVolumeFile| Some(field(pod, place, &file.field_ref.as_ref()?.field_path));
    files.iter().filter_map(|file| Some((file.path.clone(), value(file)?.into_bytes()))).collect()
}

/// Makes the files of a folder those that are given. A file that changes is replaced in one step: programs that watch it
/// never read half of it.
fn write_all(folder: &Path, files: &Files) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder.display()))?;
    for (name, content) in files {
        let path = inside(folder, name)?;
        if fs::read(&path).is_ok_and(|old| old == *content) {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent.display()))?;
        }
        let new = folder.join(".new");
        fs::write(&new, content).map_err(Error::io("write", new.display()))?;
        fs::rename(&new, &path).map_err(Error::io("write", path.display()))?;
    }
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder.display()))?.flatten() {
        let name = entry.file_name();
        let wanted = files.keys().any(|path| Path::new(path).iter().next() == Some(&name));
        // A folder of items keeps a file that was taken out of it; no controller relies on its absence.
        if !wanted && entry.path().is_file() {
            fs::remove_file(entry.path()).map_err(Error::io("delete", entry.path().display()))?;
        }
    }
    Ok(())
}

/// A path below a folder. Refuses one that leads out of it.
pub(crate) fn inside(folder: &Path, path: &str) -> Result<PathBuf, Error> {
    let mut inside = folder.to_owned();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Error::Unusable(format!("the path {path} leads out of its volume; leave out `..`")));
            }
        }
    }
    Ok(inside)
}

#[cfg(test)]
mod tests;
