//! Credential plugins: programs of a kubeconfig that print credentials
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>).
//!
//! kube runs such a program for each use of its credentials, four times for two clients, prints its output when it
//! fails, and never renews a client certificate: since kube-rs/kube#1675 it only tells when the certificate ends. No
//! open issue asks for more.

use std::io::{IsTerminal, stdin};
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::config::{ExecConfig, ExecInteractiveMode};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use crate::start_error::StartError;

/// Time limit of a plugin that cannot ask a person, because there is no terminal.
const ALONE: Duration = Duration::from_secs(60);
/// Time limit of a plugin that may ask a person.
const INTERACTIVE: Duration = Duration::from_secs(300);

const CHECK: &str = "run it by hand, and check the user of the kubeconfig";

/// What a plugin printed. Nothing of it may be in a message.
#[derive(Deserialize)]
struct ExecCredential {
    kind: String,
    #[serde(rename = "apiVersion")]
    api_version: String,
    status: Option<Credentials>,
}

/// Credentials from a plugin.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Credentials {
    /// When to ask the plugin again.
    pub(super) expiration_timestamp: Option<Timestamp>,
    pub(super) token: Option<String>,
    /// PEM.
    pub(super) client_certificate_data: Option<String>,
    /// PEM.
    pub(super) client_key_data: Option<String>,
}

/// Runs the plugin. Its standard error is that of this process, as for kubectl: it may ask or explain there.
pub(super) async fn run(exec: &ExecConfig) -> Result<Credentials, StartError> {
    let program = exec.command.as_deref().unwrap_or_default();
    let failed = |cause: String, remedy: &str| {
        StartError::because(format!("cannot use the credential plugin {program}"), remedy.to_owned())(cause)
    };
    let version = exec.api_version.as_deref().unwrap_or_default();
    for (field, value) in [("command", program), ("apiVersion", version)] {
        if value.trim().is_empty() {
            return Err(failed(format!("exec.{field} is missing"), "correct the user of the kubeconfig"));
        }
    }
    let interactive = match (&exec.interactive_mode, stdin().is_terminal()) {
        (Some(ExecInteractiveMode::Never), _) => false,
        (Some(ExecInteractiveMode::Always), false) => {
            let remedy = "start this program in a terminal, or use other credentials";
            return Err(failed("it has to ask a person".to_owned(), remedy));
        }
        (_, is_terminal) => is_terminal,
    };
    let cluster = exec.cluster.as_ref().filter(|_| exec.provide_cluster_info);
    let mut spec = json!({ "interactive": interactive });
    if let (Some(cluster), Some(fields)) = (cluster, spec.as_object_mut()) {
        fields.insert("cluster".to_owned(), json!(cluster));
    }
    let info = json!({ "kind": "ExecCredential", "apiVersion": version, "spec": spec });
    let variables = exec.env.iter().flatten().filter_map(|variable| {
        Some((variable.get("name")?, variable.get("value").map(String::as_str).unwrap_or_default()))
    });
    let mut command = Command::new(program);
    command
        .args(exec.args.iter().flatten())
        .envs(variables)
        .env("KUBERNETES_EXEC_INFO", info.to_string())
        .stdin(if interactive { Stdio::inherit() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    if !interactive {
        // The terminal lets only its own group ask.
        command.process_group(0);
    }
    tracing::info!(plugin = program, "running the credential plugin of the kubeconfig");
    let hint = exec.install_hint.as_deref().unwrap_or("install it, or correct the path in the kubeconfig");
    let hint = hint.trim().replace('\n', " ");
    let child = command.spawn().map_err(|error| failed(error.to_string(), &hint))?;
    let limit = if interactive { INTERACTIVE } else { ALONE };
    let id = child.id().filter(|_| !interactive).and_then(|id| Pid::from_raw(id.cast_signed()));
    let output = pin!(timeout(limit, child.wait_with_output()));
    let mut group = Group(id);
    let output = output.await;
    if output.is_ok() {
        group.0 = None;
    }
    let output = output.map_err(|_| failed(format!("it did not end within {} s", limit.as_secs()), CHECK))?;
    let output = output.map_err(|error| failed(error.to_string(), CHECK))?;
    if !output.status.success() {
        return Err(failed(format!("it ended with {}, see its own output above", output.status), CHECK));
    }
    read(version, &output.stdout).map_err(|cause| failed(cause, CHECK))
}

/// The processes of a plugin that has not ended. They are killed when this value is dropped: a script leaves its own
/// child running when it is killed alone.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            // They may have ended by themselves.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

/// Reads what a plugin of this version printed. The error holds nothing of it.
fn read(version: &str, output: &[u8]) -> Result<Credentials, String> {
    // client-go takes YAML too.
    let printed: ExecCredential = serde_saphyr::from_slice(output)
        .map_err(|_| format!("it printed something else than an ExecCredential of {version}"))?;
    if printed.kind != "ExecCredential" || printed.api_version != version {
        return Err(format!("it printed something else than an ExecCredential of {version}"));
    }
    let set = |field: Option<String>| field.filter(|value| !value.is_empty());
    let status = printed.status.ok_or("it printed an ExecCredential without status")?;
    let credentials = Credentials {
        expiration_timestamp: status.expiration_timestamp,
        token: set(status.token),
        client_certificate_data: set(status.client_certificate_data),
        client_key_data: set(status.client_key_data),
    };
    match (&credentials.token, &credentials.client_certificate_data, &credentials.client_key_data) {
        (_, Some(_), None) => Err("it printed a client certificate without its key".to_owned()),
        (_, None, Some(_)) => Err("it printed a key without its client certificate".to_owned()),
        (None, None, None) => Err("it printed neither a token nor a client certificate".to_owned()),
        _ => Ok(credentials),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "client.authentication.k8s.io/v1";

    fn shell(script: &str) -> ExecConfig {
        ExecConfig {
            api_version: Some(V1.to_owned()),
            command: Some("sh".to_owned()),
            args: Some(vec!["-c".to_owned(), script.to_owned()]),
            interactive_mode: Some(ExecInteractiveMode::Never),
            ..ExecConfig::default()
        }
    }

    async fn error(exec: ExecConfig) -> String {
        run(&exec).await.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_plugin_gets_its_arguments_variables_and_the_request_and_may_print_yaml() {
        let script = r#"test "$A" = b || exit 3; case "$KUBERNETES_EXEC_INFO" in *'"interactive":false'*) ;; *) exit 4; esac
            printf 'kind: ExecCredential\napiVersion: client.authentication.k8s.io/v1\nstatus: {token: t, expirationTimestamp: "2030-01-01T00:00:00Z"}\n'"#;
        let variable = [("name", "A"), ("value", "b")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let exec = ExecConfig { env: Some(vec![variable.into()]), ..shell(script) };
        let credentials = run(&exec).await.map_err(|error| error.to_string()).unwrap();
        assert_eq!(credentials.token.as_deref(), Some("t"));
        assert_eq!(credentials.expiration_timestamp, Some("2030-01-01T00:00:00Z".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_failing_plugin_is_named_and_its_output_is_not_told() {
        let missing = ExecConfig { command: Some("/nowhere/login".to_owned()), ..shell("") };
        assert!(
            error(missing.clone()).await.starts_with("cannot use the credential plugin /nowhere/login: No such file")
        );
        let hinted = ExecConfig { install_hint: Some("get it from\nexample.org".to_owned()), ..missing };
        assert!(error(hinted).await.ends_with("; get it from example.org"));
        let incomplete = ExecConfig { api_version: None, ..shell("") };
        assert!(error(incomplete).await.contains("exec.apiVersion is missing; correct the user"));
        let always = ExecConfig { interactive_mode: Some(ExecInteractiveMode::Always), ..shell("") };
        if !stdin().is_terminal() {
            assert!(error(always).await.contains("has to ask a person"));
        }
        for (script, cause) in [
            ("echo secret; exit 7", "it ended with exit status: 7"),
            ("echo secret", "something else than an ExecCredential"),
            ("true", "something else than an ExecCredential"),
            ("head -c 100 /dev/zero", "something else than an ExecCredential"),
            (r#"echo '{"kind":"ExecCredential","apiVersion":"secret","status":{"token":"secret"}}'"#, "something else"),
        ] {
            let error = error(shell(script)).await;
            assert!(error.starts_with("cannot use the credential plugin sh: ") && error.contains(cause), "{error}");
            assert!(!error.contains("secret") && !error.contains('\n'), "{error}");
        }
    }

    /// A process that has ended has no command line, even if its parent has not waited for it.
    fn runs(id: &str) -> bool {
        std::fs::read(format!("/proc/{}/cmdline", id.trim())).is_ok_and(|line| !line.is_empty())
    }

    #[tokio::test]
    async fn a_plugin_that_hangs_ends_with_us_and_so_do_its_own_processes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let exec = shell(&format!("sleep 600 & echo $! >'{}'; wait", file.path().display()));
        let mut running = Box::pin(run(&exec));
        let mut id = String::new();
        while !id.ends_with('\n') {
            tokio::select! {
                biased;
                _ = &mut running => panic!("the plugin has ended"),
                () = tokio::task::yield_now() => id = std::fs::read_to_string(file.path()).unwrap(),
            }
        }
        assert!(runs(&id));
        drop(running);
        while runs(&id) {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn incomplete_credentials_are_refused() {
        for (status, cause) in [
            (json!(null), "without status"),
            (json!({ "token": "" }), "neither a token"),
            (json!({ "clientCertificateData": "secret" }), "without its key"),
            (json!({ "clientKeyData": "secret" }), "without its client certificate"),
            (json!({ "token": "secret", "expirationTimestamp": "secret" }), "something else"),
        ] {
            let output = json!({ "kind": "ExecCredential", "apiVersion": V1, "status": status }).to_string();
            let error = read(V1, output.as_bytes()).err().unwrap_or_default();
            assert!(error.contains(cause) && !error.contains("secret"), "{error}");
        }
    }
}
