//! The log on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::args::LogFormat;
use super::quota::Quota;
use crate::start_error::StartError;

const REMEDY: &str = "use a level such as info or debug";

/// Sets up the log.
pub(crate) fn init(level: &str, format: Option<LogFormat>) -> Result<(), StartError> {
    let invalid = || format!("invalid --log-level {level}");
    // The filter accepts any word as the name of a target.
    let misspelt = |word: &&str| !word.contains(['=', '[', ':']) && word.parse::<LevelFilter>().is_err();
    if let Some(word) = level.split(',').map(str::trim).find(misspelt) {
        return Err(StartError::because(invalid(), REMEDY)(format!("{word:?} is not a level")));
    }
    let default: Directive = LevelFilter::INFO.into();
    let filter = EnvFilter::builder().with_default_directive(default).parse(level);
    let filter = filter.map_err(StartError::because(invalid(), REMEDY))?;
    let terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    // If stderr is closed, reporting that on stderr would panic.
    let builder = tracing_subscriber::fmt().log_internal_errors(false);
    let builder = builder.with_env_filter(filter).with_writer(std::io::stderr);
    let result = match format {
        LogFormat::Text => builder.with_ansi(terminal).with_target(false).finish().with(Quota::default()).try_init(),
        LogFormat::Json => {
            builder.json().flatten_event(true).with_target(false).finish().with(Quota::default()).try_init()
        }
    };
    result.map_err(StartError::because("cannot set up the log", "report this"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// All source files below a folder.
    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let of = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![path] };
        entries.flat_map(of).filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
    }

    /// Names that the formatter gives to its own values at the top of a line.
    const OWN: [&str; 5] = ["timestamp", "level", "message", "span", "spans"];

    #[test]
    fn no_field_of_a_log_line_has_the_key_of_the_formatter() {
        let mut calls = 0;
        for file in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
            let text = fs::read_to_string(&file).unwrap();
            for call in ["error!(", "warn!(", "info!(", "debug!(", "trace!("].map(|level| format!("tracing::{level}")) {
                for call in text.split(&call).skip(1) {
                    calls += 1;
                    let fields = call.split('"').next().unwrap_or_default().split(',').map(str::trim);
                    let mut names =
                        fields.map(|field| field.split(" =").next().unwrap_or(field).trim_start_matches(['%', '?']));
                    let collides = names.find(|name| OWN.contains(name));
                    assert_eq!(collides, None, "in a log call of {}", file.display());
                }
            }
        }
        assert!(calls > 20, "found {calls} calls only");
    }
}
