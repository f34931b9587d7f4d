//! `mock-players pause`: stands for a container runtime's pause container, which holds the namespaces of a Pod. It
//! mounts the Pod's volumes in its mount namespace and waits until its standard input ends.
//!
//! The mounts exist in this namespace alone and end with the Pod's last process, also after SIGKILL. Deleting the
//! folder of a Pod never reaches through one of them.

use std::fs::{self, File};
use std::io::{self, BufRead as _, Read as _, Write as _};

use rustix::mount::mount_bind;

use crate::error::Error;
use crate::root::Bind;

/// The line that says that all mounts exist.
pub(crate) const READY: &str = "ready";

/// Reads the mounts from the first line of standard input, as JSON, makes them, and waits for the end of the input.
pub(crate) fn pause() -> Result<(), Error> {
    let mut input = io::stdin().lock();
    let mut line = String::new();
    input.read_line(&mut line).map_err(Error::io("read", "standard input"))?;
    let binds: Vec<Bind> = serde_json::from_str(&line).map_err(|error| {
        Error::Unusable(format!("standard input holds no mounts: {error}; `seed` starts this command"))
    })?;
    for bind in &binds {
        mount(bind)?;
    }
    let mut output = io::stdout().lock();
    writeln!(output, "{READY}").and_then(|()| output.flush()).map_err(Error::io("write to", "standard output"))?;
    let mut rest = Vec::new();
    input.read_to_end(&mut rest).map_err(Error::io("read", "standard input"))?;
    Ok(())
}

/// Makes one mount, and the place for it.
fn mount(bind: &Bind) -> Result<(), Error> {
    let Bind { from, to } = bind;
    if !from.exists() {
        fs::create_dir_all(from).map_err(Error::io("create", from.display()))?;
    }
    if from.is_dir() {
        fs::create_dir_all(to).map_err(Error::io("create", to.display()))?;
    } else if !to.exists() {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent.display()))?;
        }
        File::create(to).map_err(Error::io("create", to.display()))?;
    }
    mount_bind(from, to).map_err(|error| Error::io("mount something at", to.display())(error.into()))
}
