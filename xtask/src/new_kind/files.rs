//! The files of a new kind's crate.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use extension_contract::{Class, HasCluster, Kind, Reader};
use serde_json::{Value, json};

use super::Row;
use super::definition::{Definition, Field};

/// Path below the crate's folder, and text.
type File = (&'static str, String);

const CARGO_TOML: &str = r#"[package]
name = "mock-NAME"
description = "Succeeds every mock KIND and creates nothing"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
repository.workspace = true
publish.workspace = true

[lints]
workspace = true

[dependencies]
mock-core.workspace = true
serde.workspace = true
serde_json.workspace = true

[dev-dependencies]
libtest-mimic.workspace = true
mock-promises.workspace = true

[[test]]
name = "conformance"
harness = false
"#;

const MAIN: &str = "//! The controller of mock `KIND` objects.

fn main() -> std::process::ExitCode {
    mock_core::main::<mock_NAME::KIND>()
}
";

const LIB: &str = r#"//! `KIND`: say here what a real provider would do.

IMPORTS
/// What an outcome reads of the spec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KIND {
    // Add those fields that an outcome reads, each optional, as crates/network does:
SPEC_FIELDS}

impl MockKind for KIND {
    type Reported = NoReport;
    type Shoot = NoShoot;
    type Options = NoOptions;
    const KIND: &'static Kind = ROW;
    const TYPES: &'static [&'static str] = &["TYPE"];

    fn outcome(_: &Object<Self>, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        // Report what a provider would have reported, with `outcome.report("field", json!(…))`, as crates/network does:
STATUS_FIELDS        Ok(Outcome::default())
    }
}
"#;

const CONFORMANCE: &str = "//! `KIND` keeps the extension contract, and what our controllers promise beyond it.

use std::process::ExitCode;

use mock_NAME::KIND;
use mock_promises::{PROMISES};
use serde_json::json;

fn main() -> ExitCode {
    mock_promises::main::<KIND>(CANDIDATE)
}
";

const CANDIDATE: &str = r#"Candidate::new(
        env!("CARGO_BIN_EXE_mock-NAME"),
        // What the CustomResourceDefinition requires. The suite sets the type.
        || json!(SPEC),
        // What this kind alone promises: async functions of a scene, as in crates/network/tests/conformance.rs.
        mock_promises::promises![],
    )"#;

/// The crate of a kind in the contract's table.
pub(super) fn of_gardeners_kind(definition: &Definition, kind: &Kind, provider: &str) -> Result<Vec<File>> {
    ensure!(
        (kind.plural, kind.namespaced) == (definition.plural.as_str(), definition.namespaced),
        "the CustomResourceDefinition has another plural or scope than the row of {} in crates/contract/src/kinds.rs: \
         correct the row",
        kind.name
    );
    let imports = "use mock_core::contract::kinds;
use mock_core::kind::{Input, Invalid, Kind, MockKind, NoOptions, NoReport, NoShoot, Object, Outcome};
use serde::Deserialize;
";
    Ok(files(definition, provider, imports, &format!("&kinds::{}", constant(kind.name))))
}

/// The crate of a kind that is not in the contract's table. Its row is in the crate.
pub(super) fn of_another_kind(definition: &Definition, row: &Row, provider: &str) -> Result<Vec<File>> {
    let Definition { kind, plural, namespaced, .. } = definition;
    let default = if *namespaced { HasCluster::Always } else { HasCluster::Never };
    let has_cluster = row.cluster.map_or(default, HasCluster::from);
    ensure!(
        *namespaced || has_cluster == HasCluster::Never,
        "objects without a namespace have no Cluster: leave out --cluster"
    );
    let imports = "use std::time::Duration;

use mock_core::contract::kinds;
use mock_core::kind::{
    Class, Force, HasCluster, Input, Invalid, Kind, MockKind, NoOptions, NoReport, NoShoot, Object, Outcome, Reader,
};
use serde::Deserialize;
";
    let reads_shoot = has_cluster != HasCluster::Never;
    let classes = if row.classes.is_empty() { &[Class::Shoot] } else { row.classes.as_slice() };
    let classes: Vec<_> = classes.iter().map(|class| format!("Class::{class:?}")).collect();
    let default = format!("extensions.gardener.cloud/{}", kind.to_lowercase());
    let finalizer = row.finalizer.as_ref().unwrap_or(&default);
    let reader = row.reader.map_or(Reader::Polls, Reader::from);
    let (timeout, severe) = (row.timeout().as_secs(), row.severe().as_secs());
    let row = format!(
        "&Kind {{
        name: {kind:?},
        plural: {plural:?},
        namespaced: {namespaced},
        classes: &[{classes}],
        has_cluster: HasCluster::{has_cluster:?},
        // Compare these two with the kind's reconciler in Gardener's extension library.
        skips_failed_shoots: {reads_shoot},
        force: Force::{force},
        finalizer: Some({finalizer:?}),
        reader: Reader::{reader:?},
        severe: Duration::from_secs({severe}),
        timeout: Duration::from_secs({timeout}),
        ..kinds::USUAL
    }}",
        classes = classes.join(", "),
        force = if reads_shoot { "OfShoot" } else { "Never" },
    );
    Ok(files(definition, provider, imports, &row))
}

fn files(definition: &Definition, provider: &str, imports: &str, row: &str) -> Vec<File> {
    let fill = |text: &str| text.replace("NAME", &definition.kind.to_lowercase()).replace("KIND", &definition.kind);
    let lib = LIB.replace("const KIND", "const ROW_OF").replace("ROW;", "ROW_ITSELF;");
    let lib = fill(&lib)
        .replace("ROW_OF", "KIND")
        .replace("ROW_ITSELF", row)
        .replace("TYPE\"", &format!("{provider}\""))
        .replace("IMPORTS", imports)
        .replace("SPEC_FIELDS", &comments(&definition.spec_fields, "    //"))
        .replace("STATUS_FIELDS", &comments(&definition.status_fields, "        //"));
    // The suite creates the Secret.
    let mut spec = definition.spec.clone();
    let secret = spec.get_mut("secretRef");
    let has_secret = secret.is_some();
    if let Some(secret) = secret {
        *secret = json!({ "name": "given", "namespace": "garden" });
    }
    let candidate = if has_secret {
        let given = r#"given: || vec![credentials("garden", "given")],"#;
        format!("Candidate {{\n        {given}\n        ..{CANDIDATE}\n    }}")
    } else {
        CANDIDATE.to_owned()
    };
    let conformance = CONFORMANCE
        .replace("CANDIDATE", &candidate)
        .replace("{PROMISES}", if has_secret { "{Candidate, credentials}" } else { "Candidate" });
    let conformance = fill(&conformance).replace("SPEC", &rust(&spec));
    vec![
        ("Cargo.toml", fill(CARGO_TOML)),
        ("src/main.rs", fill(MAIN)),
        ("src/lib.rs", lib),
        ("tests/conformance.rs", conformance),
    ]
}

/// One comment for each field, as far as a line reaches.
fn comments(fields: &[Field], start: &str) -> String {
    let mut lines = String::new();
    for Field { name, description } in fields {
        let line: String = format!("{start} - `{name}`: {description}").chars().take(118).collect();
        let _ = writeln!(lines, "{}", line.trim_end_matches([' ', ':']));
    }
    lines
}

/// The name of a kind's row in the contract's table.
fn constant(kind: &str) -> String {
    let letters: Vec<char> = kind.chars().collect();
    let mut name = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let is_lower = |at: Option<usize>| at.and_then(|at| letters.get(at)).is_some_and(char::is_ascii_lowercase);
        if index > 0
            && letter.is_ascii_uppercase()
            && (is_lower(index.checked_sub(1)) || is_lower(index.checked_add(1)))
        {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// A value as the argument of `json!`.
fn rust(value: &Value) -> String {
    match value {
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name:?}: {}", rust(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(rust).collect::<Vec<_>>().join(", ")),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_of_gardeners_table_is_found_by_name() {
        for (kind, name) in [
            ("Bastion", "BASTION"),
            ("DNSRecord", "DNS_RECORD"),
            ("OperatingSystemConfig", "OPERATING_SYSTEM_CONFIG"),
            ("SelfHostedShootExposure", "SELF_HOSTED_SHOOT_EXPOSURE"),
        ] {
            assert_eq!(constant(kind), name);
        }
    }

    #[test]
    fn spec_is_the_argument_of_a_macro() {
        let spec = json!({ "a": { "b": [1, "x"] }, "c": {}, "d": [] });
        assert_eq!(rust(&spec), r#"{ "a": { "b": [1, "x"] }, "c": {}, "d": [] }"#);
    }
}
