//! Types for looking up environment variables and for reporting progress.

use std::path::PathBuf;

/// Looks up an environment variable that contains the path of a folder.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<PathBuf>;

/// Receives one line for each step that takes long.
pub(super) type Progress<'a> = &'a dyn Fn(&str);

/// Looks up a variable of this process. An empty variable counts as unset.
pub(super) fn of_process(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
