//! How a controller gets access: token files, credential plugins and proxies.

use std::fs;
use std::time::{Duration, Instant};

use extension_conformance::{ensure, merged, text};
use libtest_mimic::Failed;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::promise::Promise;
use crate::promises;
use crate::scene::MockScene;

pub(crate) const PROMISES: &[Promise] = promises![
    refused_token_of_a_file_is_read_again,
    credential_plugin_runs_once_and_again_after_a_refusal,
    api_server_is_reached_through_the_proxy_of_the_kubeconfig,
];

/// More than the pause between two readings of credentials and the pause between two watches.
const PROMPT: Duration = Duration::from_secs(20);

async fn refused_token_of_a_file_is_read_again(scene: MockScene) -> Result<(), Failed> {
    let (mut kubeconfig, token) = without_token(&scene)?;
    let file = scene.mock().folder().join(format!("token-{}", scene.namespace()));
    fs::write(&file, "refused\n")?;
    set(&mut kubeconfig, "/users/0/user", json!({ "tokenFile": file }))?;
    serves_once_accepted(&scene, &kubeconfig, || Ok(fs::write(&file, format!("{token}\n"))?)).await
}

async fn credential_plugin_runs_once_and_again_after_a_refusal(scene: MockScene) -> Result<(), Failed> {
    if scene.mock().host().is_image() {
        // Images have no shell.
        return Ok(());
    }
    let (mut kubeconfig, token) = without_token(&scene)?;
    let path = |name: &str| scene.mock().folder().join(format!("{name}-{}", scene.namespace()));
    let (credential, runs) = (path("credential"), path("runs"));
    let version = "client.authentication.k8s.io/v1";
    let prints = |token: &str| {
        let printed = json!({ "kind": "ExecCredential", "apiVersion": version, "status": { "token": token } });
        Ok::<_, Failed>(fs::write(&credential, printed.to_string())?)
    };
    prints("refused-secret")?;
    let script = format!("echo run >>'{}'; cat '{}'", runs.display(), credential.display());
    let exec = json!({ "apiVersion": version, "interactiveMode": "Never", "command": "sh", "args": ["-c", script] });
    set(&mut kubeconfig, "/users/0/user", json!({ "exec": exec }))?;
    serves_once_accepted(&scene, &kubeconfig, || {
        let runs = fs::read_to_string(&runs)?.lines().count();
        ensure(runs == 1, format!("{runs} runs of the plugin at the start"))?;
        prints(&token)
    })
    .await?;
    let runs = fs::read_to_string(&runs)?.lines().count();
    ensure(runs == 2, format!("{runs} runs of the plugin"))
}

/// Starts a controller with two clients, whose credentials are refused. Fails unless it serves soon after `accept`, and
/// names no secret.
async fn serves_once_accepted(
    scene: &MockScene,
    kubeconfig: &Value,
    accept: impl FnOnce() -> Result<(), Failed>,
) -> Result<(), Failed> {
    let path = scene.mock().write_file(&format!("access-{}", scene.namespace()), kubeconfig)?;
    scene.ask_own("a", "reconcile").await?;
    let arguments = ["--kubeconfig", &path, "--type", scene.namespace(), "--leader-elect"];
    let controller = scene.start_bare(&arguments)?;
    let refused = |line: &Value| text(line, "/error").contains("refuses our credentials");
    controller.log().until("the refusal", refused).await?;
    accept()?;
    let accepted = Instant::now();
    scene.until_ready("a").await?;
    ensure(accepted.elapsed() < PROMPT, format!("served {:?} after the token was accepted", accepted.elapsed()))?;
    controller.log().lacks("a token", |line| line.to_string().contains("refused-secret"))
}

async fn api_server_is_reached_through_the_proxy_of_the_kubeconfig(scene: MockScene) -> Result<(), Failed> {
    let proxy = TcpListener::bind("127.0.0.1:0").await?;
    let mut kubeconfig = scene.mock().kubeconfig()?;
    let url = format!("http://{}", proxy.local_addr()?);
    let cluster = kubeconfig.pointer_mut("/clusters/0/cluster").ok_or("the kubeconfig has no cluster")?;
    let server = text(cluster, "/server").trim_start_matches("https://").to_owned();
    cluster.as_object_mut().ok_or("the cluster is no object")?.insert("proxy-url".to_owned(), json!(url));
    let path = scene.mock().write_file(&format!("access-{}", scene.namespace()), &kubeconfig)?;
    let _controller = scene.start_bare(&["--kubeconfig", &path, "--type", scene.namespace()])?;
    scene.ask_own("a", "reconcile").await?;
    tokio::select! {
        ended = tunnels(&proxy, &server) => ended,
        ready = scene.until_ready("a") => ready.map(drop),
    }
}

/// Carries connections to `server`, and fails for another one. Only what comes through here reaches the controller.
async fn tunnels(proxy: &TcpListener, server: &str) -> Result<(), Failed> {
    let mut connections = JoinSet::new();
    loop {
        let mut near = BufStream::new(proxy.accept().await?.0);
        let mut request = String::new();
        near.read_line(&mut request).await?;
        ensure(request.starts_with(&format!("CONNECT {server} ")), request.clone())?;
        while request.trim_end() != "" {
            request.clear();
            near.read_line(&mut request).await?;
        }
        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        near.flush().await?;
        let mut far = TcpStream::connect(server).await?;
        connections.spawn(async move { copy_bidirectional(&mut near, &mut far).await });
    }
}

/// The kubeconfig of the controller, and the token that its user has in it.
fn without_token(scene: &MockScene) -> Result<(Value, String), Failed> {
    let mut kubeconfig = scene.mock().kubeconfig()?;
    let context = kubeconfig.pointer_mut("/contexts/0/context").ok_or("the kubeconfig has no context")?;
    // The Lease of the election is there.
    *context = merged(context.take(), &json!({ "namespace": scene.namespace() }));
    let token = text(&kubeconfig, "/users/0/user/token").to_owned();
    ensure(!token.is_empty(), "the kubeconfig has no token")?;
    Ok((kubeconfig, token))
}

fn set(value: &mut Value, pointer: &str, new: Value) -> Result<(), Failed> {
    *value.pointer_mut(pointer).ok_or_else(|| format!("no {pointer}"))? = new;
    Ok(())
}
