//! `cargo xtask images`: an image of each controller, and the chart beside them, without Docker and without root.

mod helm;
mod image;
mod labels;
mod layout;
mod platform;
mod push;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use comfy_table::{CellAlignment, Table, presets};

pub(crate) use self::platform::on_path;
use self::{labels::Workspace, layout::Reference, platform::Platform, push::Tool};
use crate::{
    cargo, chart,
    kinds::{self, Kind},
};

/// Where an image is that names no registry: `mock-network` is short for `docker.io/library/mock-network`.
const NO_REGISTRY: &str = "docker.io/library";

/// Where the archives lie, below the root of the workspace.
const FOLDER: &str = "target/images";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these kinds, separated by commas
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = Kind::parse)]
    only: Vec<Kind>,
    /// Tag of the images and of the chart
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"), value_parser = tag)]
    tag: String,
    /// Platforms, separated by commas, such as linux/amd64,linux/arm64 [default: this machine's]
    #[arg(long, value_name = "PLATFORMS", value_delimiter = ',', value_parser = Platform::parse)]
    platform: Vec<Platform>,
    /// Name images and chart below this registry and prefix, and push them there with skopeo, crane or oras
    #[arg(long, value_name = "REGISTRY/PREFIX", value_parser = registry)]
    push: Option<String>,
    /// Flags for the tool that pushes, such as `-- --dest-tls-verify=false` for skopeo
    #[arg(last = true, requires = "push", value_name = "FLAGS")]
    flags: Vec<String>,
}

/// An image or a chart in its archive.
pub(crate) struct Packed {
    /// The archive's name, which depends neither on the registry nor on the tag.
    file: String,
    reference: Reference,
    /// Of what the reference names in a registry.
    digest: String,
    /// Bytes, compressed, of each platform's image.
    sizes: Vec<u64>,
    tar: Vec<u8>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    // Building takes minutes: better to know before.
    let tool = args.push.as_ref().map(|_| Tool::find()).transpose()?;
    let kinds = if args.only.is_empty() { kinds::ALL } else { &args.only };
    let platforms = match args.platform.as_slice() {
        [] => vec![Platform::host()?],
        wanted => platform::ALL.iter().copied().filter(|platform| wanted.contains(platform)).collect(),
    };
    let registry = args.push.as_deref().unwrap_or(NO_REGISTRY);

    let workspace = Workspace::read()?;
    let packed = pack(&workspace, kinds, &platforms, registry, &args.tag, None)?;
    write(&packed)?;
    println!("{}", table(kinds, &packed));
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

/// Builds all images for this machine, and one of them and the chart from nothing in another folder as well: fails if
/// that gives other bytes.
pub(crate) fn build_twice() -> Result<()> {
    let workspace = Workspace::read()?;
    let build =
        |kinds, folder| pack(&workspace, kinds, &[Platform::host()?], NO_REGISTRY, env!("CARGO_PKG_VERSION"), folder);
    let packed = build(kinds::ALL, None)?;
    let again = tempfile::tempdir_in(cargo::root().join("target")).context("cannot make a folder to build in")?;
    let one = kinds::ALL.get(..1).unwrap_or_default();
    for second in build(one, Some(again.path()))? {
        let same = packed.iter().any(|first| first.file == second.file && first.tar == second.tar);
        ensure!(same, "{}: built again in another folder, it has other bytes", second.file);
    }
    write(&packed)?;
    println!("{}", table(kinds::ALL, &packed));
    Ok(())
}

/// Builds the controllers of these kinds, in cargo's folder or in `target`, and packs an image of each, and the chart.
fn pack(
    workspace: &Workspace,
    kinds: &[Kind],
    platforms: &[Platform],
    registry: &str,
    tag: &str,
    target: Option<&Path>,
) -> Result<Vec<Packed>> {
    let reference = |name: &str| Reference { repository: format!("{registry}/{name}"), tag: tag.to_owned() };
    let mut programs: Vec<Vec<(Platform, PathBuf)>> = vec![Vec::new(); kinds.len()];
    for platform in platforms {
        for (programs, (_, program)) in programs.iter_mut().zip(platform.build(kinds, target)?) {
            programs.push((*platform, program));
        }
    }
    let mut packed = Vec::new();
    for (kind, programs) in kinds.iter().zip(programs) {
        let read = |(platform, program): (Platform, PathBuf)| -> Result<_> {
            Ok((platform, fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?))
        };
        let builds = programs.into_iter().map(read).collect::<Result<Vec<_>>>()?;
        let program = kind.package();
        packed.push(image::pack(reference(&program), &program, &workspace.image(*kind)?, &builds)?);
    }
    let folder = cargo::root().join("deploy/chart");
    let metadata = chart::metadata(&folder)?;
    let labels = workspace.chart(&metadata);
    packed.push(helm::pack(reference(chart::REPOSITORY), &metadata, labels, chart::package(&folder)?)?);
    Ok(packed)
}

/// Where the archives are.
pub(crate) fn folder() -> PathBuf {
    cargo::root().join(FOLDER)
}

fn write(packed: &[Packed]) -> Result<()> {
    let folder = folder();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for Packed { file, tar, .. } in packed {
        let file = folder.join(file);
        fs::write(&file, tar).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// The chart comes behind the kinds.
fn table(kinds: &[Kind], packed: &[Packed]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(["kind", "reference", "digest", "compressed", "file"]);
    for (kind, packed) in kinds.iter().map(|kind| kind.name).chain(["(chart)"]).zip(packed) {
        let sizes: Vec<_> = packed.sizes.iter().copied().map(size).collect();
        let (reference, digest) = (packed.reference.to_string(), packed.digest.clone());
        table.add_row([kind.to_owned(), reference, digest, sizes.join(", "), format!("{FOLDER}/{}", packed.file)]);
    }
    if let Some(column) = table.column_mut(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A number of bytes for people, as registries tell it: rounded up, a thousand to the next unit.
fn size(bytes: u64) -> String {
    if bytes < 1_000_000 {
        return format!("{} kB", bytes.div_ceil(1_000));
    }
    let tenths = bytes.div_ceil(100_000);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

/// A tag as the OCI allows it.
pub(crate) fn tag(text: &str) -> Result<String, String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = text.bytes().next().is_some_and(word);
    let rest = text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    if first && rest && text.len() <= 128 {
        return Ok(text.to_owned());
    }
    Err("a tag is made of up to 128 letters, digits, _, . and -, and begins with none of the last two".to_owned())
}

/// A registry and a prefix that names can be put behind.
pub(crate) fn registry(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-:/[]".contains(&byte);
    // By this rule everybody tells a host from the first part of a path.
    let host = text.split('/').next().is_some_and(|host| host == "localhost" || host.contains(['.', ':']));
    if host && !text.contains("//") && text.bytes().all(known) {
        return Ok(text.to_owned());
    }
    Err("give a host and a path in lower case without https://, such as registry.example/mock".to_owned())
}
