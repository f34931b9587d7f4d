//! `cargo xtask manifests`: what an operator applies to register the controllers, rendered into `deploy`.

mod files;
mod render;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use mock_core::behaviour::Script;
use serde_json::{Map, Value, json};

use self::{
    files::Files,
    render::{Chart, Policy, Release},
};
use crate::{
    cargo, chart, images,
    kinds::{self, Kind},
    script,
};

/// Where the manifests of all kinds are, one file a kind.
const REGISTRATIONS: &str = "controllerregistrations";
const EXTENSIONS: &str = "extensions";
/// What a script may say, for editors and for whoever checks scripts before they are applied.
const SCHEMA: &str = "script.schema.json";

/// What the chart replaces by the list of types in the expressions of an admission policy.
const TYPES: &str = "TYPES";

/// Instead of a registry that nobody named; the domain exists nowhere.
const NO_REGISTRY: &str = "registry.example/gardener-mock";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing, and fail if a file is not as it would be rendered
    #[arg(long)]
    check: bool,
    /// Where images and chart are pulled from, with a prefix if there is one, as given to `images --push` [default: the
    /// images are on the nodes already]
    #[arg(long, value_name = "REGISTRY/PREFIX", value_parser = images::registry)]
    registry: Option<String>,
    /// Tag of the images and of the chart
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"), value_parser = images::tag)]
    tag: String,
    /// Only the files of these kinds, separated by commas
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = Kind::parse)]
    only: Vec<Kind>,
    /// Let each ControllerDeployment name the chart in the registry instead of holding it
    #[arg(long, requires = "registry")]
    oci: bool,
    /// When Gardener installs a controller on a seed
    #[arg(long, value_enum, default_value_t = Policy::OnDemand)]
    policy: Policy,
    /// Type that a kind's controller is registered for and serves, instead of its default; may be repeated
    #[arg(long = "type", value_name = "KIND=TYPE", value_parser = kind_and_type)]
    types: Vec<(Kind, String)>,
    /// Values of the chart for all controllers, such as replicas, heartbeat and probes; see deploy/chart/values.yaml
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
    /// Folder that is written to [default: deploy, in the workspace]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let chart_folder = cargo::root().join("deploy/chart");
    let mut stale = Files::at(chart_folder.join("rbac")).settle(rules()?, args.check)?;
    stale.extend(Files::at(chart_folder.join("admission")).settle(policies()?, args.check)?);

    let archive = chart::package(&chart_folder)?;
    let registry = args.registry.as_deref();
    let reference = render::chart_reference(registry.unwrap_or(NO_REGISTRY), &args.tag);
    let chart = if args.oci { Chart::Oci(reference.clone()) } else { Chart::Raw(archive) };
    let values = args.values.as_deref().map(|path| values(path, &chart_folder)).transpose()?.unwrap_or_default();

    let kinds = if args.only.is_empty() { kinds::ALL } else { &args.only };
    if let Some((kind, _)) = args.types.iter().find(|(kind, _)| !kinds.contains(kind)) {
        bail!("--type is given for {}, which --only leaves out: add it there", kind.name);
    }
    let mut registrations = Vec::new();
    let mut extensions = Vec::new();
    for kind in kinds {
        let release = Release {
            kind: *kind,
            types: types(*kind, &args.types),
            policy: args.policy,
            tag: &args.tag,
            values: &values,
        };
        let file = format!("{}.yaml", kind.package());
        registrations.push((file.clone(), render::registration(&release, registry, &chart)?));
        extensions.push((file, render::extension(&release, registry.unwrap_or(NO_REGISTRY), &reference)?));
    }
    let output = args.output.clone().unwrap_or_else(|| cargo::root().join("deploy"));
    let combined = combined(&registrations, &output.join(REGISTRATIONS));
    let whole = vec![(format!("{REGISTRATIONS}.yaml"), combined), (SCHEMA.to_owned(), script::schema()?)];
    // A part of the kinds is no reason to take the others' files away.
    let all = args.only.is_empty();
    for (folder, files) in [(REGISTRATIONS, registrations), (EXTENSIONS, extensions)] {
        let folder = Files::at(output.join(folder));
        let folder = if all { folder } else { folder.beside_others() };
        stale.extend(folder.settle(files, args.check)?);
    }
    stale.extend(Files::at(output).beside_others().settle(whole, args.check)?);

    if args.check && !stale.is_empty() {
        let stale: Vec<_> = stale.iter().map(|path| path.display().to_string()).collect();
        bail!("not as rendered: {}: run `cargo xtask manifests` with the same flags", stale.join(", "));
    }
    for path in stale {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The registrations of all kinds in one text: those that were rendered, and of the others what is in the folder.
fn combined(rendered: &[(String, String)], folder: &Path) -> String {
    let texts = kinds::ALL.iter().filter_map(|kind| {
        let file = format!("{}.yaml", kind.package());
        let now = rendered.iter().find(|(name, _)| *name == file).map(|(_, text)| text.clone());
        now.or_else(|| fs::read_to_string(folder.join(file)).ok())
    });
    texts.collect::<Vec<_>>().join("---\n")
}

/// The rules of each kind's ClusterRole, which the chart puts in.
fn rules() -> Result<Vec<(String, String)>> {
    kinds::ALL.iter().map(|kind| Ok((format!("{}.yaml", kind.name), render::yaml(&kind.rules())?))).collect()
}

/// The admission policy of each kind that can have one, which the chart puts in with the types that it serves.
fn policies() -> Result<Vec<(String, String)>> {
    let policies = kinds::ALL.iter().filter_map(|kind| Some((kind, kind.admission(TYPES)?)));
    policies
        .map(|(kind, spec)| {
            let policy = json!({ "types": kind.types, "spec": spec });
            Ok((format!("{}.yaml", kind.name), render::yaml(&policy)?))
        })
        .collect()
}

fn types(kind: Kind, given: &[(Kind, String)]) -> Vec<String> {
    let own: Vec<_> = given.iter().filter(|(of, _)| *of == kind).map(|(_, value)| value.clone()).collect();
    if own.is_empty() { kind.types.iter().map(ToString::to_string).collect() } else { own }
}

/// The chart's values that a user gives. Helm checks them against the chart's schema, but only when it installs.
fn values(path: &Path, chart: &Path) -> Result<Map<String, Value>> {
    let read = |path: &Path| -> Result<Value> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read --values {}", path.display()))?;
        serde_saphyr::from_str(&text).with_context(|| format!("--values {}", path.display()))
    };
    let values = read(path)?;
    for (key, instead) in [
        ("/kind", "each controller's own"),
        ("/types", "set by --type"),
        ("/image/repository", "set by --registry"),
        ("/image/tag", "set by --tag"),
    ] {
        let given = values.pointer(key).is_some();
        let key = key.trim_start_matches('/').replace('/', ".");
        ensure!(!given, "--values {}: {key} is {instead}: leave it out", path.display());
    }
    let values = match values {
        Value::Object(values) => values,
        Value::Null => Map::new(),
        _ => bail!("--values {} must be a map of the chart's values, such as `replicas: 2`", path.display()),
    };
    if let Some((unknown, known)) = unknown(&values, &read(&chart.join("values.schema.json"))?, "") {
        bail!("--values {}: {unknown} is no value of the chart, expected one of {known}", path.display());
    }
    // Helm cannot tell, and a controller would not start with it.
    match values.get("script") {
        Some(Value::String(text)) if !text.is_empty() => {
            Script::parse(text).map_err(|invalid| anyhow!("--values {}: in the script: {invalid}", path.display()))?;
        }
        None | Some(Value::String(_)) => {}
        Some(_) => bail!("--values {}: script must be the text of a Script: begin it with `script: |`", path.display()),
    }
    Ok(values)
}

/// The first value that a schema does not have, and those that it has in that place.
fn unknown(values: &Map<String, Value>, schema: &Value, place: &str) -> Option<(String, String)> {
    let properties = schema.get("properties")?.as_object()?;
    let is_open = schema.get("additionalProperties") != Some(&Value::Bool(false));
    values.iter().find_map(|(key, value)| {
        let path = format!("{place}{key}");
        match (properties.get(key), value) {
            (None, _) if is_open => None,
            (None, _) => Some((path, properties.keys().map(String::as_str).collect::<Vec<_>>().join(", "))),
            (Some(schema), Value::Object(values)) => unknown(values, schema, &(path + ".")),
            (Some(_), _) => None,
        }
    })
}

fn kind_and_type(text: &str) -> Result<(Kind, String), String> {
    let (kind, value) = text.split_once('=').ok_or("must be KIND=TYPE, such as worker=local")?;
    if value.is_empty() {
        return Err("the type is empty: give one, such as worker=local".to_owned());
    }
    Ok((Kind::parse(kind)?, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_combined_file_holds_what_is_rendered_now_and_of_the_other_kinds_what_was() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mock-network.yaml"), "old network\n").unwrap();
        fs::write(folder.path().join("mock-worker.yaml"), "old worker\n").unwrap();
        let rendered = [("mock-worker.yaml".to_owned(), "new worker\n".to_owned())];
        assert_eq!(combined(&rendered, folder.path()), "old network\n---\nnew worker\n");
    }

    #[test]
    fn values_are_a_map_whose_script_can_be_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |text: &str| {
            fs::write(file.path(), text).unwrap();
            values(file.path(), &cargo::root().join("deploy/chart"))
                .map(Value::Object)
                .map_err(|error| error.to_string())
        };
        assert_eq!(read("script: ''\nreplicas: 2"), Ok(json!({ "script": "", "replicas": 2 })));
        assert_eq!(read("# nothing"), Ok(json!({})));
        assert!(read("resources: { requests: { cpu: 10m } }\nlivenessProbe: { periodSeconds: 1 }").is_ok());
        for (bad, says) in [
            ("script: 'rules: 7'", "in the script: rules: "),
            ("script: { rules: [] }", "script must be the text"),
            ("- replicas", "must be a map"),
            ("kind: worker", "kind is each controller's own"),
            ("replica: 2", "replica is no value of the chart, expected one of "),
            ("heartbeat: { enabld: true }", "heartbeat.enabld is no value of the chart, expected one of enabled, "),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn types_of_a_kind_replace_its_own_as_they_do_for_its_controller() {
        let given = ["worker=local", "worker=aws", "Network=calico"].map(|text| kind_and_type(text).unwrap());
        let of = |name| types(Kind::find(name).unwrap(), &given);
        assert_eq!(of("worker"), ["local", "aws"]);
        assert_eq!(of("network"), ["calico"]);
        assert_eq!(of("operatingsystemconfig"), ["mockos"]);
        assert!(kind_and_type("worker").is_err() && kind_and_type("worker=").is_err() && kind_and_type("x=y").is_err());
    }
}
