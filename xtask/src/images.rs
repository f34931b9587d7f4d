//! `cargo xtask images`: an image of each controller, and the packed chart. It needs neither Docker nor root.

mod helm;
mod image;
mod labels;
mod layout;
mod packed;
mod platform;
mod push;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use mock_fleet::kinds::Package;
use mock_fleet::{cargo, kinds};

use self::labels::Workspace;
use self::layout::Reference;
use self::packed::{Packed, size};
use self::platform::Platform;
pub(crate) use self::platform::on_path;
use self::push::Tool;
use crate::chart;

/// The registry of an image whose name has none: `mock-network` is short for `docker.io/library/mock-network`.
const IMPLIED_REGISTRY: &str = "docker.io/library";

/// The folder of the archives, below the root of the workspace.
const FOLDER: &str = "target/images";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build only the images of these kinds, separated by commas
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = Package::parse)]
    only: Vec<Package>,
    /// Tag of the images and of the chart
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"), value_parser = tag)]
    tag: String,
    /// Platforms, separated by commas, such as linux/amd64,linux/arm64 [default: that of this machine]
    #[arg(long, value_name = "PLATFORMS", value_delimiter = ',', value_parser = Platform::parse)]
    platform: Vec<Platform>,
    /// Push images and chart to this registry and prefix, with skopeo, crane or oras
    #[arg(long, value_name = "REGISTRY/PREFIX", value_parser = registry)]
    push: Option<String>,
    /// Flags for the tool that pushes, such as `-- --dest-tls-verify=false` for skopeo
    #[arg(last = true, requires = "push", value_name = "FLAGS")]
    flags: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    // Fail now if there is no tool, because building takes minutes.
    let tool = args.push.as_ref().map(|_| Tool::find()).transpose()?;
    let packages = if args.only.is_empty() { kinds::ALL } else { &args.only };
    let platforms = match args.platform.as_slice() {
        [] => vec![Platform::host()?],
        wanted => platform::ALL.iter().copied().filter(|platform| wanted.contains(platform)).collect(),
    };
    let registry = args.push.as_deref().unwrap_or(IMPLIED_REGISTRY);

    let workspace = Workspace::read()?;
    let packed = pack(&workspace, packages, &platforms, registry, &args.tag, None)?;
    write(&packed)?;
    println!("{}", table(packages, &packed));
    for unknown in workspace.unknown() {
        println!("{unknown}");
    }
    if let Some(tool) = tool {
        for packed in &packed {
            tool.push(&folder(), packed, &args.flags)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds all images for this machine. Builds one of them and the chart again in an empty folder, and fails if the
/// bytes differ.
pub(crate) fn build_twice() -> Result<()> {
    let workspace = Workspace::read()?;
    let build = |packages, folder| {
        pack(&workspace, packages, &[Platform::host()?], IMPLIED_REGISTRY, env!("CARGO_PKG_VERSION"), folder)
    };
    let packed = build(kinds::ALL, None)?;
    // It does not exist in a fresh clone with CARGO_TARGET_DIR.
    let target = cargo::root().join("target");
    let again = fs::create_dir_all(&target).and_then(|()| tempfile::tempdir_in(target));
    let again = again.context("cannot create a folder for the second build")?;
    let one = kinds::ALL.get(..1).unwrap_or_default();
    for second in build(one, Some(again.path()))? {
        let same = packed.iter().any(|first| first.file == second.file && first.tar == second.tar);
        ensure!(same, "{} is not reproducible: a second build in another folder has other bytes", second.file);
    }
    write(&packed)?;
    println!("{}", table(kinds::ALL, &packed));
    Ok(())
}

/// Builds controllers, in cargo's own folder or in `target`. Packs an image of each, and then the chart.
fn pack(
    workspace: &Workspace,
    packages: &[Package],
    platforms: &[Platform],
    registry: &str,
    tag: &str,
    target: Option<&Path>,
) -> Result<Vec<Packed>> {
    let reference = |name: &str| Reference { repository: format!("{registry}/{name}"), tag: tag.to_owned() };
    let mut programs: Vec<Vec<(Platform, PathBuf)>> = vec![Vec::new(); packages.len()];
    for platform in platforms {
        for (programs, (_, program)) in programs.iter_mut().zip(platform.build(packages, target)?) {
            programs.push((*platform, program));
        }
    }
    let mut packed = Vec::new();
    for (package, programs) in packages.iter().zip(programs) {
        let read = |(platform, program): (Platform, PathBuf)| -> Result<_> {
            Ok((platform, fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?))
        };
        let builds = programs.into_iter().map(read).collect::<Result<Vec<_>>>()?;
        let program = package.full_name();
        packed.push(image::pack(reference(&program), &program, &workspace.image(*package)?, &builds)?);
    }
    let folder = cargo::root().join("deploy/chart");
    let metadata = chart::metadata(&folder)?;
    let labels = workspace.chart(&metadata);
    packed.push(helm::pack(reference(chart::REPOSITORY), &metadata, labels, chart::package(&folder)?)?);
    Ok(packed)
}

/// The folder of the archives.
pub(crate) fn folder() -> PathBuf {
    cargo::root().join(FOLDER)
}

fn write(packed: &[Packed]) -> Result<()> {
    let folder = folder();
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for Packed { file, tar, .. } in packed {
        let file = folder.join(file);
        fs::write(&file, tar).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// A table of all archives. The chart comes last.
fn table(packages: &[Package], packed: &[Packed]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(["kind", "reference", "digest", "compressed", "file"]);
    for (kind, packed) in packages.iter().map(|package| package.name).chain(["(chart)"]).zip(packed) {
        let sizes: Vec<_> = packed.sizes.iter().copied().map(size).collect();
        let (reference, digest) = (packed.reference.to_string(), packed.digest.clone());
        table.add_row([kind.to_owned(), reference, digest, sizes.join(", "), format!("{FOLDER}/{}", packed.file)]);
    }
    if let Some(column) = table.column_mut(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Parses a tag, by the rules of the OCI.
pub(crate) fn tag(text: &str) -> Result<String, String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = text.bytes().next().is_some_and(word);
    let rest = text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    if first && rest && text.len() <= 128 {
        return Ok(text.to_owned());
    }
    Err("invalid tag: use 1-128 of [A-Za-z0-9_.-], not starting with '.' or '-'".to_owned())
}

/// Parses a registry with a prefix.
pub(crate) fn registry(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-:/[]".contains(&byte);
    // All tools tell a host from the first part of a path by this rule.
    let host = text.split('/').next().is_some_and(|host| host == "localhost" || host.contains(['.', ':']));
    if host && !text.contains("//") && text.bytes().all(known) {
        return Ok(text.to_owned());
    }
    Err("invalid registry: give a host and a path in lower case, without https://, such as registry.example/mock"
        .to_owned())
}
