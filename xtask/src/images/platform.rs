//! The platforms of the images, and the static programs for them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt};

use anyhow::{Context as _, Result, bail, ensure};
use mock_fleet::cargo;

use super::checkout::Checkout;

/// The profile of the programs in images.
pub(crate) const PROFILE: &str = "dist";

/// A platform that images can be built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    /// The architecture as the OCI names it.
    pub(crate) architecture: &'static str,
    /// The architecture as Rust and GNU name it.
    machine: &'static str,
}

/// All platforms, in the order of their images in an index.
pub(crate) const ALL: &[Platform] =
    &[Platform { architecture: "amd64", machine: "x86_64" }, Platform { architecture: "arm64", machine: "aarch64" }];

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture)
    }
}

impl Platform {
    /// The platform of this machine.
    pub(crate) fn host() -> Result<Self> {
        let host = ALL.iter().copied().find(|platform| platform.machine == env::consts::ARCH);
        host.with_context(|| {
            format!(
                "cannot build images for this machine ({}): name another platform with --platform",
                env::consts::ARCH
            )
        })
    }

    /// Parses a platform on the command line. The error lists all platforms.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        ALL.iter().copied().find(|platform| platform.to_string() == name).ok_or_else(|| {
            let known: Vec<_> = ALL.iter().map(ToString::to_string).collect();
            format!("no images can be built for this platform; use one of {}", known.join(", "))
        })
    }

    /// The platform as Rust names it.
    pub(crate) fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.machine)
    }

    /// Builds the programs of packages, here or in another checkout: linked statically and optimised for size. Their
    /// bytes do not depend on the paths of the workspace, of cargo and of the toolchain.
    pub(crate) fn build(self, packages: &[String], checkout: Option<&Checkout>) -> Result<Vec<PathBuf>> {
        let rust = Rust::installed()?;
        let target = self.target();
        let mut arguments = ["--locked", "--profile", PROFILE, "--target", &target].map(str::to_owned).to_vec();
        let mut variables = self.linker(&rust).with_context(|| format!("cannot build for {self}"))?;
        variables.push(("CARGO_ENCODED_RUSTFLAGS".to_owned(), rust.flags()?.join("\u{1f}")));
        if let Some(checkout) = checkout {
            arguments.extend(checkout.arguments());
        }
        // Without an explicit target, the flags would apply to build scripts and procedural macros too.
        cargo::build_named(packages, &arguments, &variables)
    }

    /// The variables that make cargo link for this platform. Fails if this machine lacks what that needs.
    fn linker(self, rust: &Rust) -> Result<Vec<(String, String)>> {
        let target = self.target();
        ensure!(
            rust.sysroot.join("lib/rustlib").join(&target).is_dir(),
            "Rust's target {target} is not installed: run `rustup target add {target}`"
        );
        let mut variables = Vec::new();
        if rust.host != target {
            let compiler = format!("{}-linux-gnu-gcc", self.machine);
            if !on_path(&compiler) {
                let package = format!("gcc-{}-linux-gnu", self.machine.replace('_', "-"));
                bail!("{compiler} is not on PATH: run `apt-get install {package}`");
            }
            let target = target.replace('-', "_");
            variables.push((format!("CARGO_TARGET_{}_LINKER", target.to_uppercase()), compiler.clone()));
            variables.push((format!("CC_{target}"), compiler));
        }
        Ok(variables)
    }
}

/// The platforms that this machine can build for, and for each of the others the reason with its remedy. Fails if it
/// can build for none.
pub(crate) fn buildable() -> Result<(Vec<Platform>, Vec<String>)> {
    let (platforms, left_out) = buildable_with(&Rust::installed()?);
    ensure!(!platforms.is_empty(), "{}", left_out.join("; "));
    Ok((platforms, left_out))
}

fn buildable_with(rust: &Rust) -> (Vec<Platform>, Vec<String>) {
    let mut left_out = Vec::new();
    let mut can_build = |platform: &Platform| match platform.linker(rust) {
        Ok(_) => true,
        Err(error) => {
            left_out.push(format!("no images for {platform}: {error}"));
            false
        }
    };
    (ALL.iter().copied().filter(|platform| can_build(platform)).collect(), left_out)
}

/// The Rust toolchain that cargo uses.
struct Rust {
    sysroot: PathBuf,
    /// The target of the toolchain itself.
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
                "rustc {} failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
            Ok(String::from_utf8(output.stdout)?)
        };
        let version = ask(&["--version", "--verbose"])?;
        let field = |name| {
            let value = version.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
            value.with_context(|| format!("the output of rustc --version --verbose has no {name}"))
        };
        Ok(Self {
            sysroot: PathBuf::from(ask(&["--print", "sysroot"])?.trim_end()),
            host: field("host:")?,
            commit: field("commit-hash:")?,
        })
    }

    /// The flags for the compiler. They are the same in each checkout, because other flags compile all dependencies
    /// again.
    fn flags(&self) -> Result<Vec<String>> {
        let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
        Ok(vec![
            "-Ctarget-feature=+crt-static".to_owned(),
            // rustc applies the last mapping that matches: cargo's folders may be in the workspace.
            remap(cargo::root(), "/src"),
            remap(&cargo::target()?, "/target"),
            remap(&cargo::home(), "/cargo"),
            // rustc itself writes this path if the standard library's source is not installed.
            remap(&self.sysroot.join("lib/rustlib/src/rust"), &format!("/rustc/{}", self.commit)),
        ])
    }
}

/// Whether a program with this name is on PATH.
pub(crate) fn on_path(program: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn platform_without_its_target_is_left_out_with_the_remedy() {
        let sysroot = tempfile::tempdir().unwrap();
        let host = "x86_64-unknown-linux-gnu";
        fs::create_dir_all(sysroot.path().join("lib/rustlib").join(host)).unwrap();
        let rust = Rust { sysroot: sysroot.path().to_owned(), host: host.to_owned(), commit: String::new() };
        let (platforms, left_out) = buildable_with(&rust);
        assert_eq!(platforms, ALL[..1]);
        let expected = "no images for linux/arm64: Rust's target aarch64-unknown-linux-gnu is not installed: run \
                        `rustup target add aarch64-unknown-linux-gnu`";
        assert_eq!(left_out, [expected]);
    }
}
