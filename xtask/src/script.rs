//! `cargo xtask script`: describes a script, or simulates it.

mod explain;
mod simulate;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use mock_core::script::{Operation, Script};
use mock_view::say;
use serde_json::Value;

pub(crate) use self::story::Story;

/// Check or simulate a script of delays and failures
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Describe in words what a script does, or report the first mistake
    Check {
        /// File with a script or with a Shoot that has a script in its annotation, or the name of a story in example/
        #[arg(value_name = "FILE|NAME")]
        script: String,
    },
    /// Print a table of the outcomes of a script, without running a controller
    Simulate {
        /// File with a script or with a Shoot that has a script in its annotation, or the name of a story in example/
        #[arg(value_name = "FILE|NAME")]
        script: String,
        /// Manifest of the Shoot [default: the Shoot with the script, or example/58-shoot-extensions.yaml]
        #[arg(long, value_name = "FILE")]
        shoot: Option<PathBuf>,
        /// How many Shoots
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        shoots: u32,
        /// The operation: Create, Reconcile, Delete, Migrate or Restore
        #[arg(long, default_value = "Create", value_parser = operation)]
        operation: Operation,
        /// Seed of the random choices, for a script without one [default: 1]
        #[arg(long)]
        seed: Option<u64>,
    },
}

pub(crate) async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Check { script } => {
            let story = Story::find(&script)?;
            say!("{}", explain::script(&story.script).trim_end());
        }
        Command::Simulate { script, shoot, shoots, operation, seed } => {
            let story = Story::find(&script)?;
            let (landscape, file) = simulate::landscape(&story, shoot).await?;
            say!("{}", simulate::table(&story, &landscape, &file, shoots, operation, seed)?.trim_end());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The JSON schema of scripts, as `cargo xtask manifests` writes it.
pub(crate) fn schema() -> Result<String> {
    Ok(serde_json::to_string_pretty(&Script::schema())? + "\n")
}

fn operation(name: &str) -> Result<Operation, String> {
    serde_json::from_value(Value::from(name)).map_err(|error| error.to_string())
}
