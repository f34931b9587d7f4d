//! `cargo xtask images`: an image and the packed chart of each controller, and an image of the conformance kit. It needs
//! neither Docker nor root.

mod checkout;
mod helm;
mod image;
mod labels;
mod layout;
mod packed;
mod platform;
mod program;
mod push;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use mock_fleet::cargo;
use mock_view::say;

use self::checkout::Checkout;
use self::labels::Workspace;
use self::layout::Reference;
use self::packed::{Packed, size};
use self::platform::Platform;
pub(crate) use self::platform::on_path;
use self::program::Program;
use self::push::Tool;
use crate::chart;

/// The registry of an image whose name has none: `mock-network` is short for `docker.io/library/mock-network`.
const IMPLIED_REGISTRY: &str = "docker.io/library";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build only the images and charts of these kinds, separated by commas; `extension-conformance` is the kit's image
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = Program::parse)]
    only: Vec<Program>,
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
    let programs = Program::only(&args.only);
    let (platforms, left_out) = match args.platform.as_slice() {
        [] => platform::buildable()?,
        wanted => (platform::ALL.iter().copied().filter(|platform| wanted.contains(platform)).collect(), Vec::new()),
    };
    let registry = args.push.as_deref().unwrap_or(IMPLIED_REGISTRY);

    let workspace = Workspace::read()?;
    let packed = pack(&workspace, &programs, &platforms, registry, &args.tag, None)?;
    let folder = folder()?;
    write(&packed, &folder)?;
    say!("{}", table(&packed, &folder));
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

/// Builds the controllers of the images for this machine, without packing them, and further packages in the same way.
pub(crate) fn controllers(further: &[&str]) -> Result<Vec<PathBuf>> {
    let controllers = Program::all().into_iter().filter(|program| program.controller().is_some());
    let names = controllers.map(Program::name).chain(further.iter().map(|&name| name.to_owned()));
    Platform::host()?.build(&names.collect::<Vec<_>>(), None)
}

/// Builds all images for this machine. Builds one of them and its chart again from a copy of the sources, and fails if
/// the bytes differ.
pub(crate) fn build_twice() -> Result<()> {
    let workspace = Workspace::read()?;
    let host = Platform::host()?;
    let build =
        |programs, checkout| pack(&workspace, programs, &[host], IMPLIED_REGISTRY, env!("CARGO_PKG_VERSION"), checkout);
    let programs = Program::all();
    let packed = build(&programs, None)?;
    let one = programs.get(..1).unwrap_or_default();
    for second in build(one, Some(&Checkout::copy(host)?))? {
        let same = packed.iter().any(|first| first.file == second.file && first.tar == second.tar);
        ensure!(same, "{} is not reproducible: a second build in another folder has other bytes", second.file);
    }
    let folder = folder()?;
    write(&packed, &folder)?;
    say!("{}", table(&packed, &folder));
    Ok(())
}

/// Builds programs, here or in another checkout. Packs an image of each, and then the chart of each controller.
fn pack(
    workspace: &Workspace,
    programs: &[Program],
    platforms: &[Platform],
    registry: &str,
    tag: &str,
    checkout: Option<&Checkout>,
) -> Result<Vec<Packed>> {
    let reference = |name: &str| Reference { repository: format!("{registry}/{name}"), tag: tag.to_owned() };
    let mut builds: Vec<Vec<(Platform, Vec<u8>)>> = vec![Vec::new(); programs.len()];
    for platform in platforms {
        for (builds, file) in builds.iter_mut().zip(Program::build(programs, *platform, checkout)?) {
            builds.push((*platform, fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?));
        }
    }
    let mut packed = Vec::new();
    for (name, builds) in programs.iter().map(|program| program.name()).zip(builds) {
        packed.push(image::pack(reference(&name), &name, &workspace.image(&name)?, &builds)?);
    }
    let folder = chart::folder();
    for package in programs.iter().filter_map(|program| program.controller()) {
        let metadata = chart::metadata(&folder, package)?;
        let (reference, labels) = (reference(&chart::repository(package)), workspace.chart(&metadata));
        let chart = chart::package(&folder, package)?;
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
fn table(packed: &[Packed], folder: &Path) -> Table {
    let folder = folder.strip_prefix(cargo::root()).unwrap_or(folder);
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(["reference", "digest", "compressed", "file"]);
    for packed in packed {
        let sizes: Vec<_> = packed.sizes.iter().copied().map(size).collect();
        let (reference, digest) = (packed.reference.to_string(), packed.digest.clone());
        table.add_row([reference, digest, sizes.join(", "), folder.join(&packed.file).display().to_string()]);
    }
    if let Some(column) = table.column_mut(2) {
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
