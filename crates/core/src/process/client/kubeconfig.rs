//! Which kubeconfig applies, and what it says: as for kubectl (client-go's `tools/clientcmd`).

use std::env::split_paths;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kube::config::{Cluster, Kubeconfig, KubeconfigError};
use serde_json::Value;

use crate::start_error::StartError;

const GIVE: &str = "give --kubeconfig FILE or set KUBECONFIG";
const CORRECT: &str = "correct the file";
const CHOOSE: &str = "choose one with `kubectl config use-context NAME`";

/// Reads the file of `--kubeconfig`, else the files of the variable `KUBECONFIG`, else `.kube/config` in `home`.
///
/// Returns `None` if no file is named and the default file is missing or empty: then a Pod's service account applies.
/// As for kubectl, files of the variable may be missing. Unlike kubectl, one of them must exist: to serve the cluster of
/// the Pod instead would be a surprise.
///
/// kube fails at a missing file, takes an empty `current-context` for one and falls back to the Pod's cluster after any
/// error. There is no issue upstream that would end this function.
pub(super) fn read(
    flag: Option<&Path>,
    variable: Option<&OsStr>,
    home: Option<&Path>,
) -> Result<Option<Kubeconfig>, StartError> {
    let variable = variable.filter(|list| !list.is_empty());
    let (name, files) = match (flag, variable) {
        (Some(file), _) => (format!("kubeconfig {}", file.display()), vec![file.to_owned()]),
        (None, Some(list)) => {
            let files = split_paths(list).filter(|file| !file.as_os_str().is_empty());
            (format!("KUBECONFIG={}", list.display()), files.collect())
        }
        (None, None) => {
            let file = home.map(|home| home.join(".kube/config"));
            let name = file.as_deref().unwrap_or(Path::new("~/.kube/config")).display().to_string();
            (format!("kubeconfig {name}"), file.into_iter().collect())
        }
    };
    let (required, named) = (flag.is_some(), flag.is_some() || variable.is_some());
    let attempt = format!("cannot use {name}");
    let merged =
        merge(&files, required).map_err(|(cause, remedy)| StartError::because(attempt.clone(), remedy)(cause))?;
    let unusable = |cause: &str, remedy| Err(StartError::because(attempt, remedy)(cause.to_owned()));
    match merged {
        None if named => unusable("no such file", GIVE),
        None => Ok(None),
        Some(merged) if merged.current_context.is_some() => Ok(Some(merged)),
        Some(merged) if merged.contexts.is_empty() && !named => Ok(None),
        Some(merged) if merged.contexts.is_empty() => unusable("it names no context", GIVE),
        Some(_) => unusable("it has no current-context", CHOOSE),
    }
}

/// Merges the files: the first one to say something wins. Returns `None` if no file exists, and cause and remedy if a
/// file cannot be used.
fn merge(files: &[PathBuf], required: bool) -> Result<Option<Kubeconfig>, (String, &'static str)> {
    let mut merged: Option<Kubeconfig> = None;
    for file in files {
        let name = if files.len() > 1 { format!("{}: ", file.display()) } else { String::new() };
        match Kubeconfig::read_from(file) {
            Err(KubeconfigError::ReadConfig(error, _)) if error.kind() == ErrorKind::NotFound && !required => {}
            Err(KubeconfigError::ReadConfig(error, _)) => return Err((format!("{name}{error}"), GIVE)),
            Err(KubeconfigError::Parse(error)) => return Err((name + &first_line(&error), CORRECT)),
            Err(error) => return Err((format!("{name}{error}"), CORRECT)),
            Ok(read) => {
                let all = merged.unwrap_or_default().merge(as_go_reads(read));
                merged = Some(all.map_err(|error| (format!("{name}{error}"), CORRECT))?);
            }
        }
    }
    Ok(merged)
}

/// One line for people. The parser's own message shows lines of the file, which may hold a token.
fn first_line(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter);
    text.lines().next().unwrap_or_default().to_owned()
}

/// Go takes an empty string for an absent field, and skips line breaks in base64. kube does neither.
fn as_go_reads(kubeconfig: Kubeconfig) -> Kubeconfig {
    let Ok(mut value) = serde_json::to_value(&kubeconfig) else { return kubeconfig };
    without_empty(&mut value);
    serde_json::from_value(value).unwrap_or(kubeconfig)
}

fn without_empty(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // These are required where they occur. A variable of a plugin may well be empty.
            let kept = ["name", "cluster", "value"];
            fields.retain(|key, value| kept.contains(&key.as_str()) || value.as_str() != Some(""));
            for (key, value) in fields {
                match value {
                    Value::String(text) if key.ends_with("-data") => text.retain(|c| !matches!(c, '\r' | '\n')),
                    _ => without_empty(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_empty),
        _ => {}
    }
}

/// The cluster of the current context.
pub(super) fn cluster(kubeconfig: &Kubeconfig) -> Option<&Cluster> {
    let name = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|context| &context.name == name)?.context.as_ref()?;
    kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster)?.cluster.as_ref()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder with a kubeconfig, an empty one, and one without a current context.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let one = |name: &str, server: &str, current: &str| {
            let text = format!(
                "kind: Config\ncurrent-context: {current}\ncontexts: [{{name: c, context: {{cluster: {name}}}}}]\n\
                 clusters: [{{name: {name}, cluster: {{server: '{server}', proxy-url: ''}}}}]\nusers:\n"
            );
            fs::write(folder.path().join(name), text).unwrap();
        };
        one("good", "https://good.example", "c");
        one("other", "https://other.example", "c");
        one("unset", "https://unset.example", "''");
        fs::write(folder.path().join("empty"), "current-context: ''\nkind: ''\n").unwrap();
        fs::write(folder.path().join("broken"), "contexts: 7\n").unwrap();
        fs::write(folder.path().join("tabs"), "users: [{name: u, user: {token: secret}}]\n\tkind: Config\n").unwrap();
        folder
    }

    /// The server that the variable leads to. In the list, `@` stands for the folder.
    fn server(list: &str) -> Result<String, String> {
        let folder = folder();
        let list = list.replace('@', folder.path().to_str().unwrap());
        let kubeconfig = read(None, Some(OsStr::new(&list)), None).map_err(|error| error.to_string())?;
        Ok(cluster(&kubeconfig.ok_or("none")?).and_then(|cluster| cluster.server.clone()).unwrap_or_default())
    }

    #[test]
    fn missing_and_empty_files_of_a_list_are_skipped() {
        for list in ["@/good", "/nowhere/a:@/good", "@/good:/nowhere/a", "@/empty:@/good", "@/good:", ":@/good"] {
            assert_eq!(server(list).as_deref(), Ok("https://good.example"), "{list}");
        }
        assert_eq!(server("@/good:@/other").as_deref(), Ok("https://good.example"));
        // The first file has the context, the second one says that it is the current one.
        assert_eq!(server("@/unset:@/good").as_deref(), Ok("https://unset.example"));
        assert_eq!(server("/dev/null:@/good").as_deref(), Ok("https://good.example"));
    }

    #[test]
    fn a_list_that_leads_nowhere_is_an_error_and_not_the_cluster_of_the_pod() {
        for (list, cause) in [
            ("/nowhere/a", "no such file; give --kubeconfig"),
            ("/nowhere/a:/nowhere/b", "no such file"),
            (":", "no such file"),
            ("@/empty", "names no context"),
            ("@/unset", "no current-context; choose one"),
            ("@/broken:@/good", "@/broken"),
        ] {
            let error = server(list).unwrap_err();
            assert!(error.starts_with("cannot use KUBECONFIG="), "{list}: {error}");
            assert!(cause.starts_with('@') || error.contains(cause), "{list}: {error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_parsed_is_named_in_one_line_without_what_it_holds() {
        for list in ["@/tabs", "@/good:@/tabs", "@/tabs:@/good"] {
            let error = server(list).unwrap_err();
            assert!(error.contains("/tabs: ") && error.ends_with("; correct the file"), "{error}");
            assert!(!error.contains("secret") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn an_unset_variable_leads_to_the_default_file_and_then_to_the_pod() {
        let home = folder();
        for variable in [None, Some(OsStr::new(""))] {
            assert!(read(None, variable, Some(home.path())).unwrap().is_none());
        }
        fs::create_dir(home.path().join(".kube")).unwrap();
        let default = home.path().join(".kube/config");
        fs::copy(home.path().join("empty"), &default).unwrap();
        assert!(read(None, None, Some(home.path())).unwrap().is_none());
        fs::copy(home.path().join("good"), &default).unwrap();
        assert!(read(None, None, Some(home.path())).unwrap().is_some());
        fs::copy(home.path().join("broken"), &default).unwrap();
        assert!(read(None, None, Some(home.path())).unwrap_err().to_string().contains(".kube/config"));
    }

    #[test]
    fn the_flag_wins_and_its_file_must_exist() {
        let folder = folder();
        let variable = Some(OsStr::new("/nowhere/a"));
        assert!(read(Some(&folder.path().join("good")), variable, None).unwrap().is_some());
        let error = read(Some(Path::new("/nowhere/b")), variable, None).unwrap_err().to_string();
        assert!(error.starts_with("cannot use kubeconfig /nowhere/b: "), "{error}");
    }

    #[test]
    fn empty_fields_count_as_absent_and_base64_may_have_line_breaks() {
        let text = "current-context: c\ncontexts: [{name: c, context: {cluster: c, user: '', namespace: ''}}]\n\
                    clusters: [{name: c, cluster: {server: s, tls-server-name: '', certificate-authority-data: \"QQ\n  \
                    \\n==\"}}]\nusers: [{name: c, user: {token: '', exec: {env: [{name: A, value: ''}]}}}]";
        let kubeconfig = as_go_reads(Kubeconfig::from_yaml(text).unwrap());
        let read = cluster(&kubeconfig).unwrap();
        assert_eq!((read.tls_server_name.as_ref(), read.proxy_url.as_ref()), (None, None));
        assert!(!read.certificate_authority_data.as_ref().unwrap().contains('\n'));
        let user = kubeconfig.auth_infos[0].auth_info.as_ref().unwrap();
        assert!(user.token.is_none());
        assert_eq!(user.exec.as_ref().unwrap().env.as_ref().unwrap()[0]["value"], "");
        assert_eq!(kubeconfig.contexts[0].context.as_ref().unwrap().namespace, None);
    }
}
