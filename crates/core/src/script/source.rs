//! Sources of scripts, highest precedence first: the Shoot's annotation, the object's providerConfig, the process's
//! file.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::language::{MOCK_API_VERSION, SCRIPT_ANNOTATION, Script};
use crate::invalid::Invalid;
use crate::start_error::StartError;

/// Interval between two reads of the file. Reading is cheap and, unlike a file watch, works for every editor, every
/// file system and a mounted `ConfigMap`, whose update swaps a symbolic link.
const LOOK: Duration = Duration::from_secs(1);

/// A parsed script, or what is wrong with it.
pub type Parsed = Result<Arc<Script>, Invalid>;

/// The script with the highest precedence, valid or not.
#[must_use]
pub fn strongest(
    annotation: Option<&Parsed>,
    provider_config: Option<&Parsed>,
    file: Option<Arc<Script>>,
) -> Option<Parsed> {
    annotation.or(provider_config).cloned().or_else(|| file.map(Ok))
}

/// Parses the script in the Shoot's annotation.
pub(crate) fn of_annotation(text: &str) -> Parsed {
    Script::parse(text)
        .map(Arc::new)
        .map_err(|invalid| located(&format!("annotation {SCRIPT_ANNOTATION} of the Shoot"), invalid))
}

/// Parses the script in a providerConfig. Returns `None` for the config of another provider: a mock that stands in for
/// that provider ignores it, and it may be nested deeper than a parser of values accepts.
pub(crate) fn of_provider_config(config: &RawValue) -> Option<Parsed> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned<'a> {
        #[serde(borrow)]
        api_version: Option<Cow<'a, str>>,
    }
    let versioned: Versioned<'_> = serde_json::from_str(config.get()).ok()?;
    (versioned.api_version.as_deref() == Some(MOCK_API_VERSION)).then(|| {
        let value = serde_json::from_str::<Value>(config.get())
            .map_err(|error| Invalid { field: "the whole script".to_owned(), problem: error.to_string() });
        let script = value.and_then(|value| Script::from_value(&value));
        script.map(Arc::new).map_err(|invalid| located("spec.providerConfig", invalid))
    })
}

fn located(place: &str, Invalid { field, problem }: Invalid) -> Invalid {
    Invalid { field: format!("{place}, {field}"), problem }
}

/// The script file of a process. It is read again when it changes.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    script: RwLock<Arc<Script>>,
}

impl File {
    /// Reads the file. The error is one line that names the path, the rule, the field and what was expected.
    pub fn read(path: &Path) -> Result<Self, StartError> {
        let (script, _) = read(path)?;
        Ok(Self { path: path.to_owned(), script: RwLock::new(Arc::new(script)) })
    }

    /// The last valid script.
    #[must_use]
    pub fn script(&self) -> Arc<Script> {
        self.script.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Follows the file for ever. After each change, calls `stale` with whether the file is unusable now.
    pub async fn follow(&self, stale: impl Fn(bool)) {
        // One log line per content: a file that stays broken is reported once.
        let mut seen = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let now = read(&self.path);
            let what = now.as_ref().map(|(_, text)| text.clone()).map_err(ToString::to_string);
            if seen.as_ref() == Some(&what) {
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
                    tracing::warn!(%error, "the script file is unusable, the last valid script stays in force: correct the file");
                    stale(true);
                }
            }
            seen = Some(what);
        }
    }
}

fn read(path: &Path) -> Result<(Script, String), StartError> {
    let attempt = format!("cannot use --script {}", path.display());
    let text = std::fs::read_to_string(path).map_err(StartError::because(attempt.clone(), "name a readable file"))?;
    let script = Script::parse(&text).map_err(StartError::because(attempt, "correct the script"))?;
    Ok((script, text))
}
