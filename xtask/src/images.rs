//! `cargo xtask images`: an image and the packed chart of each controller. It needs neither Docker nor root.

mod checkout;
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
use mock_view::say;

use self::checkout::Checkout;
use self::labels::Workspace;
use self::layout::Reference;
use self::packed::{Packed, size};
use self::platform::Platform;
pub(crate) use self::platform::on_path;
use self::push::Tool;
use crate::chart;

/// The registry of an image whose name has none: `mock-network` is short for `docker.io/library/mock-network`.
const IMPLIED_REGISTRY: &str = "docker.io/library";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build only the images and charts of these kinds, separated by commas
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = Package::parse)]
    only: Vec<Package>,
    /// Tag of the images and of the charts
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"), value_parser = tag)]
    tag: String,
    /// Platforms, separated by commas, such as linux/amd64,linux/arm64 [default: all that this machine can build for]
    #[arg(long, value_name = "PLATFORMS", value_delimiter = ',', value_parser = Platform::parse)]
    platform: Vec<Platform>,
    /// Push images and charts to this registry and prefix, with skopeo, crane or oras
    #[arg(long, value_name = "REGISTRY/PREFIX", value_parser = registry)]
    push: Option<String>,
    /// Flags for the tool that pushes, such as `-- --dest-tls-verify=false` for skopeo
    #[arg(last = true, requires = "push", value_name = "FLAGS")]
    flags: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    // Fail now if there is no tool, because building takes minutes.
    let tool = args.push.as_ref().map(|_| Tool::find()).transpose()?;
    let packages = Package::only(&args.only);
    let (platforms, left_out) = match args.platform.as_slice() {
        [] => platform::buildable()?,
        wanted => (platform::ALL.iter().copied().filter(|platform| wanted.contains(platform)).collect(), Vec::new()),
    };
    let registry = args.push.as_deref().unwrap_or(IMPLIED_REGISTRY);

    let workspace = Workspace::read()?;
    let packed = pack(&workspace, &packages, &platforms, registry, &args.tag, None)?;
    let folder = folder()?;
    write(&packed, &folder)?;
    say!("{}", table(&packages, &packed, &folder));
    for note in left_out {
        say!("{note}");
    }
    for unknown in workspace.unknown() {
        say!("{unknown}");
    }
    if let Some(tool) = tool {
        for packed in &packed {
            tool.push(&folder, packed, &args.flags)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the programs of the images for this machine, without packing them.
pub(crate) fn programs() -> Result<Vec<PathBuf>> {
    let built = Platform::host()?.build(kinds::ALL, None)?;
    Ok(built.into_iter().map(|(_, program)| program).collect())
}

/// Builds all images for this machine. Builds one of them and its chart again from a copy of the sources, and fails if
/// the bytes differ.
pub(crate) fn build_twice() -> Result<()> {
    let workspace = Workspace::read()?;
    let host = Platform::host()?;
    let build =
        |packages, checkout| pack(&workspace, packages, &[host], IMPLIED_REGISTRY, env!("CARGO_PKG_VERSION"), checkout);
    let packed = build(kinds::ALL, None)?;
    let one = kinds::ALL.get(..1).unwrap_or_default();
    for second in build(one, Some(&Checkout::copy(host)?))? {
        let same = packed.iter().any(|first| first.file == second.file && first.tar == second.tar);
        ensure!(same, "{} is not reproducible: a second build in another folder has other bytes", second.file);
    }
    let folder = folder()?;
    write(&packed, &folder)?;
    say!("{}", table(kinds::ALL, &packed, &folder));
    Ok(())
}

/// Builds controllers, here or in another checkout. Packs an image of each, and then the chart of each.
fn pack(
    workspace: &Workspace,
    packages: &[Package],
    platforms: &[Platform],
    registry: &str,
    tag: &str,
    checkout: Option<&Checkout>,
) -> Result<Vec<Packed>> {
    let reference = |name: &str| Reference { repository: format!("{registry}/{name}"), tag: tag.to_owned() };
    let mut programs: Vec<Vec<(Platform, PathBuf)>> = vec![Vec::new(); packages.len()];
    for platform in platforms {
        for (programs, (_, program)) in programs.iter_mut().zip(platform.build(packages, checkout)?) {
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
    let folder = chart::folder();
    for package in packages {
        let metadata = chart::metadata(&folder, *package)?;
        let (reference, labels) = (reference(&chart::repository(*package)), workspace.chart(&metadata));
        let chart = chart::package(&folder, *package)?;
        packed.push(helm::pack(reference, &package.full_name(), &metadata, labels, chart)?);
    }
    Ok(packed)
}

/// The folder of the archives.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(cargo::target()?.join("images"))
}

fn write(packed: &[Packed], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for Packed { file, tar, .. } in packed {
        let file = folder.join(file);
        fs::write(&file, tar).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// A table of all archives: the images, then the charts.
fn table(packages: &[Package], packed: &[Packed], folder: &Path) -> Table {
    let folder = folder.strip_prefix(cargo::root()).unwrap_or(folder);
    let kinds = packages.iter().map(|package| package.name.to_owned());
    let charts = packages.iter().map(|package| format!("{} (chart)", package.name));
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(["kind", "reference", "digest", "compressed", "file"]);
    for (kind, packed) in kinds.chain(charts).zip(packed) {
        let sizes: Vec<_> = packed.sizes.iter().copied().map(size).collect();
        let (reference, digest) = (packed.reference.to_string(), packed.digest.clone());
        let file = folder.join(&packed.file).display().to_string();
        table.add_row([kind, reference, digest, sizes.join(", "), file]);
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
    let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
    if is_host(host) && path.is_none_or(is_path) {
        return Ok(text.to_owned());
    }
    Err("invalid registry: give a host and a path in lower case, without https://, such as registry.example/mock"
        .to_owned())
}

/// Whether the first part of a registry is a host. All tools tell it from a part of a path by its dot or colon.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let is_address = |address: &str| address.parse::<std::net::Ipv6Addr>().is_ok();
    let is_name = name.split('.').all(is_label)
        || name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).is_some_and(is_address);
    let is_told = text == "localhost" || text.contains(['.', ':']);
    is_name && is_told && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_label(text: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(is_known) && text.trim_matches('-') == text
}

/// Whether a text can be the path of an image (`github.com/distribution/reference`).
fn is_path(text: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(is_known) && part.trim_matches(['.', '_', '-']) == part;
    text.split('/').all(is_part)
}
