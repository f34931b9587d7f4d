//! Where scripts come from, strongest first: the Shoot's annotation, the object's providerConfig, the process' file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::Value;

use super::Script;
use crate::contract::{MOCK_API_VERSION, SCRIPT_ANNOTATION};
use crate::extension::Invalid;

/// How often the file is looked at. Reading it is cheap, and unlike a watch it works for every editor, file system and
/// mounted `ConfigMap`, which is changed by turning a symbolic link around.
const LOOK: Duration = Duration::from_secs(1);

/// A script that was read, or why it cannot be.
pub type Parsed = Result<Arc<Script>, Invalid>;

/// The script that decides: the strongest that is there, valid or not.
#[must_use]
pub fn strongest(
    annotation: Option<&Parsed>,
    provider_config: Option<&Value>,
    file: Option<Arc<Script>>,
) -> Option<Parsed> {
    annotation.cloned().or_else(|| provider_config.map(of_provider_config)).or_else(|| file.map(Ok))
}

/// The script in the Shoot's annotation.
pub(crate) fn of_annotation(text: &str) -> Parsed {
    Script::parse(text)
        .map(Arc::new)
        .map_err(|invalid| located(&format!("annotation {SCRIPT_ANNOTATION} of the Shoot"), invalid))
}

fn of_provider_config(value: &Value) -> Parsed {
    Script::from_value(value).map(Arc::new).map_err(|invalid| located("spec.providerConfig", invalid))
}

fn located(place: &str, Invalid { field, problem }: Invalid) -> Invalid {
    Invalid { field: format!("{place}, {field}"), problem }
}

/// Keeps of a providerConfig only what is ours: another provider's says nothing to a mock that stands in for it.
#[must_use]
pub(crate) fn ours(provider_config: Value) -> Option<Value> {
    let version = provider_config.get("apiVersion").and_then(Value::as_str);
    (version == Some(MOCK_API_VERSION)).then_some(provider_config)
}

/// The script file of a process, read again when it changes.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    script: RwLock<Arc<Script>>,
}

impl File {
    /// Reads the file. The error is one line with the path, the rule, the field and what was expected.
    pub fn read(path: &Path) -> Result<Self, String> {
        let (script, _) = read(path)?;
        Ok(Self { path: path.to_owned(), script: RwLock::new(Arc::new(script)) })
    }

    /// The last good script.
    #[must_use]
    pub fn script(&self) -> Arc<Script> {
        self.script.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Follows the file for ever; `stale` hears whether the file is now one that cannot be used.
    pub async fn follow(&self, stale: impl Fn(bool)) {
        // Told once for each content: a file that stays broken is not told again.
        let mut told = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let now = read(&self.path);
            let what = now.as_ref().map(|(_, text)| text.clone()).map_err(Clone::clone);
            if told.as_ref() == Some(&what) {
                continue;
            }
            match now {
                Ok((script, _)) => {
                    let mut current = self.script.write().unwrap_or_else(PoisonError::into_inner);
                    if **current != script {
                        tracing::info!(file = %self.path.display(), rules = script.rules.len(), "new script in force");
                        *current = Arc::new(script);
                    }
                    stale(false);
                }
                Err(error) => {
                    tracing::warn!(error, "the last good script stays in force: correct the file");
                    stale(true);
                }
            }
            told = Some(what);
        }
    }
}

fn read(path: &Path) -> Result<(Script, String), String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("--script {}: {error}; give it a readable file", path.display()))?;
    let script = Script::parse(&text).map_err(|invalid| format!("--script {}, {invalid}", path.display()))?;
    Ok((script, text))
}
