//! A web server in an awake Shoot, as a user tries one out with kubectl: it answers through a port forwarding, and its log
//! shows the request.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use gardener_testbed::manifests;
use kube::Client;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::Stage;
use crate::error::GardenError;
use crate::{objects, wait};

/// The manifest of the web server, below the examples, and what its page says.
const MANIFEST: &str = "shoot/hello.yaml";
const PAGE: &str = "Hello from hello";

const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Runs a web server in a Shoot, and asks it for its page. `kubeconfig` is a file.
pub(super) async fn answers(stage: &Stage<'_>, client: &Client, kubeconfig: &Path) -> Result<(), GardenError> {
    objects::apply_all(client, &manifests::read(&stage.examples().join(MANIFEST))?).await?;
    let kubectl = |arguments: &[&str]| {
        let mut kubectl = Command::new(stage.layout.programs().join("kubectl"));
        kubectl.arg("--kubeconfig").arg(kubeconfig).args(arguments);
        // A proxy of this machine cannot be reached.
        kubectl.env_clear().env("HOME", stage.layout.run()).stdin(Stdio::null()).kill_on_drop(true);
        kubectl
    };
    let check = async || {
        let page = forwarded(kubectl(&["port-forward", "service/hello", ":80"])).await?;
        if page.contains(PAGE) { Ok(()) } else { Err(format!("its answer is {page:?}")) }
    };
    wait::until(ANSWERS_WITHIN, "the web server does not answer", check).await?;
    let check = async || {
        let output = kubectl(&["logs", "hello"]).output().await.map_err(|error| error.to_string())?;
        let log = String::from_utf8_lossy(&output.stdout);
        if log.contains("GET / HTTP/1.1") { Ok(()) } else { Err(format!("kubectl says {output:?}")) }
    };
    wait::until(ANSWERS_WITHIN, "the web server's log does not show the request", check).await
}

/// The page behind a port that kubectl forwards.
async fn forwarded(mut kubectl: Command) -> Result<String, String> {
    let asked = async {
        let mut forwarding = kubectl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut line = String::new();
        // kubectl ends if it cannot write any more.
        let mut output = forwarding.stdout.take().map(BufReader::new);
        if let Some(output) = &mut output {
            output.read_line(&mut line).await?;
        }
        let Some(address) = address(&line) else {
            let _ = forwarding.start_kill();
            let said = forwarding.wait_with_output().await?.stderr;
            return Err(std::io::Error::other(format!("kubectl says {}", String::from_utf8_lossy(&said))));
        };
        let mut server = TcpStream::connect(address).await?;
        server.write_all(b"GET / HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n").await?;
        let mut page = String::new();
        server.read_to_string(&mut page).await?;
        Ok(page)
    };
    match timeout(ATTEMPT, asked).await {
        Ok(page) => page.map_err(|error| error.to_string()),
        Err(_) => Err(format!("there is no answer after {} s", ATTEMPT.as_secs())),
    }
}

/// The address in kubectl's line `Forwarding from 127.0.0.1:33333 -> 8080`.
fn address(line: &str) -> Option<&str> {
    line.strip_prefix("Forwarding from ")?.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_that_of_the_line_about_the_forwarding() {
        assert_eq!(address("Forwarding from 127.0.0.1:4711 -> 8080\n"), Some("127.0.0.1:4711"));
        assert_eq!(address("error: unable to forward port"), None);
    }
}
