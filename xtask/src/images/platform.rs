//! The platforms of the images, and the static programs for them.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{cargo, kinds::Kind};

/// A platform that images can be built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    /// As the OCI calls it.
    pub(crate) architecture: &'static str,
    /// As Rust and GNU call it.
    machine: &'static str,
}

/// All of them, in the order of their images in an index.
pub(crate) const ALL: &[Platform] =
    &[Platform { architecture: "amd64", machine: "x86_64" }, Platform { architecture: "arm64", machine: "aarch64" }];

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture)
    }
}

impl Platform {
    /// The platform of the machine's own processor.
    pub(crate) fn host() -> Result<Self> {
        let host = ALL.iter().copied().find(|platform| platform.machine == env::consts::ARCH);
        host.with_context(|| format!("no images for {}: name another with --platform", env::consts::ARCH))
    }

    /// For the command line.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        ALL.iter().copied().find(|platform| platform.to_string() == name).ok_or_else(|| {
            let known: Vec<_> = ALL.iter().map(ToString::to_string).collect();
            format!("there are no images for that: known are {}", known.join(", "))
        })
    }

    /// The programs of these kinds, linked statically and optimised for size. Their bytes depend neither on where the
    /// workspace lies nor on where cargo and the toolchain are installed.
    ///
    /// They are built in cargo's own folder, or in `folder`.
    pub(crate) fn build(self, kinds: &[Kind], folder: Option<&Path>) -> Result<Vec<(Kind, PathBuf)>> {
        let target = format!("{}-unknown-linux-gnu", self.machine);
        let rust = Rust::installed()?;
        ensure!(
            rust.sysroot.join("lib/rustlib").join(&target).is_dir(),
            "{self}: Rust's target {target} is not installed: `rustup target add {target}`"
        );
        let mut variables = vec![("CARGO_ENCODED_RUSTFLAGS".to_owned(), rust.flags().join("\u{1f}"))];
        if rust.host != target {
            let compiler = format!("{}-linux-gnu-gcc", self.machine);
            if !on_path(&compiler) {
                let package = format!("gcc-{}-linux-gnu", self.machine.replace('_', "-"));
                bail!("{self}: there is no {compiler} on PATH to link for it: `apt-get install {package}`");
            }
            let target = target.replace('-', "_");
            variables.push((format!("CARGO_TARGET_{}_LINKER", target.to_uppercase()), compiler.clone()));
            variables.push((format!("CC_{target}"), compiler));
        }
        if let Some(folder) = folder {
            variables.push(("CARGO_TARGET_DIR".to_owned(), folder.display().to_string()));
        }
        // Without an explicit target the flags would reach build scripts and procedural macros too.
        cargo::build_with(kinds, &["--locked", "--profile", "dist", "--target", &target], &variables)
    }
}

/// The toolchain that cargo uses.
struct Rust {
    sysroot: PathBuf,
    /// Its own target.
    host: String,
    commit: String,
}

impl Rust {
    fn installed() -> Result<Self> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let ask = |arguments: &[&str]| -> Result<String> {
            let output = Command::new(&rustc).args(arguments).current_dir(cargo::root()).output();
            let output = output.context("cannot start rustc")?;
            ensure!(
                output.status.success(),
                "rustc {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
            Ok(String::from_utf8(output.stdout)?)
        };
        let version = ask(&["--version", "--verbose"])?;
        let field = |name| {
            let value = version.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
            value.with_context(|| format!("rustc --version --verbose says no {name}"))
        };
        Ok(Self {
            sysroot: PathBuf::from(ask(&["--print", "sysroot"])?.trim_end()),
            host: field("host:")?,
            commit: field("commit-hash:")?,
        })
    }

    fn flags(&self) -> Vec<String> {
        let home = env::home_dir().unwrap_or_default().join(".cargo");
        let home = env::var_os("CARGO_HOME").map_or(home, PathBuf::from);
        let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
        vec![
            "-Ctarget-feature=+crt-static".to_owned(),
            // The last one that fits wins: cargo's home may lie in the workspace.
            remap(cargo::root(), "/src"),
            remap(&home, "/cargo"),
            // What rustc writes by itself when the standard library's source is not installed.
            remap(&self.sysroot.join("lib/rustlib/src/rust"), &format!("/rustc/{}", self.commit)),
        ]
    }
}

/// Whether there is a program of this name.
pub(crate) fn on_path(program: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(program).is_file())
}
