//! `cargo xtask manifests`: renders into `deploy` what an operator applies to register the controllers.

mod files;
mod render;
mod values;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use mock_fleet::kinds::Package;
use mock_fleet::{cargo, kinds};
use mock_view::say;
use serde::Serialize;
use serde_json::json;

use self::files::Files;
use self::render::{Chart, OciRepository, Policy, Release};
use crate::{chart, images, script};

/// Folders with a file for each kind.
const REGISTRATIONS: &str = "controllerregistrations";
const EXTENSIONS: &str = "extensions";
/// The JSON schema of scripts, for editors and other checks.
const SCHEMA: &str = "script.schema.json";

/// The placeholders for the lists of types and classes in the expressions of an admission policy. The chart replaces them.
const TYPES: &str = "TYPES";
const CLASSES: &str = "CLASSES";

/// The placeholder for the controller's user in the expressions of a policy. The chart replaces it.
const USER: &str = "USER";

/// Stands for the registry if none is given. The domain does not exist.
const PLACEHOLDER_REGISTRY: &str = "registry.example/gardener-mock";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if a file differs from what would be rendered
    #[arg(long)]
    check: bool,
    /// Registry of images and charts, as given to `images --push` [default: none, the images are on the nodes already]
    #[arg(long, value_name = "REGISTRY/PREFIX", value_parser = images::registry)]
    registry: Option<String>,
    /// Tag of the images and of the charts
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"), value_parser = images::tag)]
    tag: String,
    /// Render only the files of these kinds, separated by commas
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = Package::parse)]
    only: Vec<Package>,
    /// Refer to the chart in the registry instead of including it in each ControllerDeployment
    #[arg(long, requires = "registry")]
    oci: bool,
    /// Secret of type `kubernetes.io/dockerconfigjson` with which Gardener pulls the chart, in the namespace `garden`
    #[arg(long, requires = "registry", value_name = "NAME", value_parser = secret)]
    pull_secret: Option<String>,
    /// Secret with the registry's certificate authority in its key `bundle.crt`, in the namespace `garden`
    #[arg(long, requires = "registry", value_name = "NAME", value_parser = secret)]
    ca_bundle_secret: Option<String>,
    /// When Gardener installs a controller on a seed
    #[arg(long, value_enum, default_value_t = Policy::OnDemand)]
    policy: Policy,
    /// Type that the controller of a kind serves, instead of its default; may be repeated
    #[arg(long = "type", value_name = "KIND=TYPE", value_parser = kind_and_type)]
    types: Vec<(Package, String)>,
    /// File with values of the chart for all controllers; deploy/chart/values.yaml lists them
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
    /// Folder for the manifests [default: deploy in the workspace]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let chart_folder = chart::folder();
    let registry = args.registry.as_deref();
    let values = args.values.as_deref().map(|path| values::read(path, &chart_folder)).transpose()?.unwrap_or_default();

    let packages = Package::only(&args.only);
    if let Some((package, _)) = args.types.iter().find(|(package, _)| !packages.contains(package)) {
        bail!("--type names the kind {0}, but --only does not: add {0} to --only", package.name);
    }
    let mut stale = Files::at(chart_folder.join(chart::RBAC)).update(rules()?, args.check)?;
    stale.extend(Files::at(chart_folder.join(chart::RBAC_IN_GARDEN)).update(rules_in_garden()?, args.check)?);
    stale.extend(Files::at(chart_folder.join(chart::RBAC_HOLLOW_NODES)).update(rules_of_companions()?, args.check)?);
    stale.extend(Files::at(chart_folder.join(chart::ADMISSION)).update(policies()?, args.check)?);
    stale.extend(Files::at(chart_folder.join(chart::SECRETS)).update(limits()?, args.check)?);

    let mut registrations = Vec::new();
    let mut extensions = Vec::new();
    for package in &packages {
        let release = Release {
            package: *package,
            types: types(*package, &args.types),
            policy: args.policy,
            tag: &args.tag,
            values: &values,
        };
        let file = format!("{}.yaml", package.full_name());
        let oci = OciRepository::of(
            *package,
            registry.unwrap_or(PLACEHOLDER_REGISTRY),
            &args.tag,
            args.pull_secret.as_deref(),
            args.ca_bundle_secret.as_deref(),
        );
        let chart =
            if args.oci { Chart::Oci(oci.clone()) } else { Chart::Raw(chart::package(&chart_folder, *package)?) };
        registrations.push((file.clone(), render::registration(&release, registry, &chart)?));
        extensions.push((file, render::extension(&release, registry.unwrap_or(PLACEHOLDER_REGISTRY), &oci)?));
    }
    let output = args.output.clone().unwrap_or_else(|| cargo::root().join("deploy"));
    let combined = combined(&registrations, &output.join(REGISTRATIONS));
    let whole = vec![(format!("{REGISTRATIONS}.yaml"), combined), (SCHEMA.to_owned(), script::schema()?)];
    // With --only, files of other kinds stay.
    let all = args.only.is_empty();
    for (folder, files) in [(REGISTRATIONS, registrations), (EXTENSIONS, extensions)] {
        let folder = Files::at(output.join(folder));
        let folder = if all { folder } else { folder.shared() };
        stale.extend(folder.update(files, args.check)?);
    }
    stale.extend(Files::at(output).shared().update(whole, args.check)?);

    if args.check && !stale.is_empty() {
        let stale: Vec<_> = stale.iter().map(|path| path.display().to_string()).collect();
        bail!("these files are stale: {}: run `cargo xtask manifests` with the same flags", stale.join(", "));
    }
    for path in stale {
        say!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The registrations of all kinds in one text. Those of kinds that are not rendered now are read from the folder.
fn combined(rendered: &[(String, String)], folder: &Path) -> String {
    let texts = kinds::ALL.iter().filter_map(|package| {
        let file = format!("{}.yaml", package.full_name());
        let now = rendered.iter().find(|(name, _)| *name == file).map(|(_, text)| text.clone());
        now.or_else(|| fs::read_to_string(folder.join(file)).ok())
    });
    texts.collect::<Vec<_>>().join("---\n")
}

/// The rules of the ClusterRole of each kind on a seed. The chart includes them.
fn rules() -> Result<Vec<(String, String)>> {
    kinds::ALL.iter().map(|package| of_kind(*package, &package.rules())).collect()
}

/// The rules of the ClusterRole of each kind that has objects in the garden's runtime cluster.
fn rules_in_garden() -> Result<Vec<(String, String)>> {
    let rules = kinds::ALL.iter().filter_map(|package| Some((*package, package.rules_in_garden()?)));
    rules.map(|(package, rules)| of_kind(package, &rules)).collect()
}

/// The further rules of the ClusterRole of each kind that has a companion. The chart includes them if the companion is
/// switched on.
fn rules_of_companions() -> Result<Vec<(String, String)>> {
    let rules = kinds::ALL.iter().filter_map(|package| Some((*package, package.companion_rules()?)));
    rules.map(|(package, rules)| of_kind(package, &rules)).collect()
}

/// The admission policy of each kind that can have one, and the kind's default types and classes. The chart includes them.
fn policies() -> Result<Vec<(String, String)>> {
    let policies = kinds::ALL.iter().filter_map(|package| Some((*package, package.admission(TYPES, CLASSES)?)));
    policies
        .map(|(package, spec)| {
            of_kind(package, &json!({ "types": package.types, "classes": package.classes(), "spec": spec }))
        })
        .collect()
}

/// The policy that limits the Secrets of each kind that writes some. The chart includes them.
fn limits() -> Result<Vec<(String, String)>> {
    let limits = kinds::ALL.iter().filter_map(|package| Some((*package, package.secrets(USER)?)));
    limits.map(|(package, spec)| of_kind(package, &spec)).collect()
}

/// A file of one kind in a folder of the chart.
fn of_kind(package: Package, content: &impl Serialize) -> Result<(String, String)> {
    Ok((format!("{}.yaml", package.name), render::yaml(content)?))
}

/// The types that a controller serves: those that were given for its kind, or its default types.
fn types(package: Package, given: &[(Package, String)]) -> Vec<String> {
    let own: Vec<_> = given.iter().filter(|(of, _)| *of == package).map(|(_, value)| value.clone()).collect();
    if own.is_empty() { package.types.iter().map(ToString::to_string).collect() } else { own }
}

fn kind_and_type(text: &str) -> Result<(Package, String), String> {
    let (kind, value) = text.split_once('=').ok_or("expected KIND=TYPE, such as worker=local")?;
    if value.is_empty() {
        return Err("the type is empty; expected KIND=TYPE, such as worker=local".to_owned());
    }
    Ok((Package::parse(kind)?, value.to_owned()))
}

/// Parses the name of a Secret, by the rules of Kubernetes.
fn secret(text: &str) -> Result<String, String> {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        part.bytes().all(|byte| word(byte) || byte == b'-') && !part.is_empty() && part.trim_matches('-') == part
    };
    if text.len() <= 253 && text.split('.').all(is_part) {
        return Ok(text.to_owned());
    }
    Err("invalid name of a Secret: use lower case, digits, `-` and `.`, such as registry-pull".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combined_file_has_the_rendered_kinds_and_keeps_the_others() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mock-network.yaml"), "old network\n").unwrap();
        fs::write(folder.path().join("mock-worker.yaml"), "old worker\n").unwrap();
        let rendered = [("mock-worker.yaml".to_owned(), "new worker\n".to_owned())];
        assert_eq!(combined(&rendered, folder.path()), "old network\n---\nnew worker\n");
    }

    #[test]
    fn secret_has_a_name_that_kubernetes_accepts() {
        for good in ["pull", "a.b-c.1"] {
            assert_eq!(secret(good).as_deref(), Ok(good));
        }
        for bad in ["", "Pull", "a_b", "-a", "a-", "a..b", "garden/pull", &"a".repeat(254)] {
            assert!(secret(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn given_types_replace_the_default_types() {
        let given = ["worker=local", "worker=aws", "Network=calico"].map(|text| kind_and_type(text).unwrap());
        let of = |name| types(Package::find(name).unwrap(), &given);
        assert_eq!(of("worker"), ["local", "aws"]);
        assert_eq!(of("network"), ["calico"]);
        assert_eq!(of("operatingsystemconfig"), ["mockos"]);
        assert!(kind_and_type("worker").is_err() && kind_and_type("worker=").is_err() && kind_and_type("x=y").is_err());
    }
}
