//! Types for looking up environment variables and for reporting progress.

use std::ffi::OsString;
use std::path::PathBuf;

/// Looks up an environment variable that contains the path of a folder.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<PathBuf>;

/// Receives one line for each step that takes long.
pub(super) type Progress<'a> = &'a dyn Fn(&str);

/// Looks up a variable of this process. An empty variable counts as unset. A relative path, which `setup-envtest` prints,
/// becomes absolute: the servers run in another folder.
pub(super) fn of_process(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(absolute)
}

fn absolute(path: OsString) -> PathBuf {
    let path = PathBuf::from(path);
    std::path::absolute(&path).unwrap_or(path)
}
