//! The log on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};

use super::args::LogFormat;
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
        LogFormat::Text => builder.with_ansi(terminal).with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_target(false).try_init(),
    };
    result.map_err(StartError::because("cannot set up the log", "report this"))
}
