//! The sandbox of a Pod: stands for the network and mount namespaces that a container runtime makes, and for the network
//! plugin that connects them with a bridge. Leaves out users, cgroups, capabilities, seccomp and network policies.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use std::{io, thread};

use ipnet::Ipv4Net;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::Error;
use crate::pause::READY;
use crate::player::Seed;
use crate::root::Bind;
use crate::tools::Tools;

/// How long the namespaces and mounts of a Pod may take.
const START: Duration = Duration::from_secs(20);

/// What the network of a Pod is connected with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Network {
    /// The bridge of all Pods, with this number, which is unique among the Pods that run.
    Bridge(u32),
    /// Nothing. The Pod has its address for itself, so that Pods of different clusters may have the same one.
    Alone,
}

/// The namespaces of a Pod. They end when this is dropped and no process is left in them.
#[derive(Debug)]
pub(crate) struct Sandbox {
    // Dropping it kills the process.
    _pause: Child,
    process: u32,
}

impl Sandbox {
    /// Makes the namespaces, the mounts and the network.
    pub(crate) async fn start(seed: &Seed, binds: &[Bind], address: Ipv4Addr, network: Network) -> Result<Self, Error> {
        let binds = serde_json::to_string(binds).map_err(|error| Error::Unusable(error.to_string()))?;
        let mut pause = Command::new(&seed.tools.unshare)
            .args(["--mount", "--net", "--"])
            // The program that this process runs, even if another one has replaced its file.
            .arg(format!("/proc/{}/exe", std::process::id()))
            .arg("pause")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::io("start", seed.tools.unshare.display()))?;
        let process = pause.id().unwrap_or_default();
        timeout(START, ready(&mut pause, &binds)).await.unwrap_or_else(|_| {
            Err(Error::Tool { tool: "pause".to_owned(), message: format!("not ready within {} s", START.as_secs()) })
        })?;
        match network {
            Network::Bridge(number) => connect(&seed.tools, seed.args.pod_net, address, process, number).await?,
            Network::Alone => {
                let lines = format!("link set lo up\naddr add {address}/32 dev lo\n");
                seed.tools.ip(&lines, Some(process), false).await?;
            }
        }
        Ok(Self { _pause: pause, process })
    }

    /// Connects with a port of the Pod's loopback, as container runtimes do to forward ports.
    pub(crate) async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let namespace = File::open(format!("/proc/{}/ns/net", self.process))?;
        let (sender, receiver) = oneshot::channel();
        // A thread of its own, because it stays in the namespace. The connection stays there, too.
        thread::spawn(move || {
            let connected = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(io::Error::from)
                .and_then(|()| std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
            // Fails if the client has gone already.
            let _ = sender.send(connected);
        });
        let connection = receiver.await.map_err(io::Error::other)??;
        connection.set_nonblocking(true)?;
        TcpStream::from_std(connection)
    }

    /// A command that runs a program of the Pod in a root, with arguments and exactly these variables.
    pub(crate) fn command(
        &self,
        tools: &Tools,
        root: &Path,
        program: &str,
        arguments: &[String],
        variables: &BTreeMap<String, String>,
    ) -> Command {
        let mut command = Command::new(&tools.setpriv);
        command
            // Programs do not outlive this process, even if it is killed.
            .args(["--pdeathsig", "KILL"])
            .arg(&tools.nsenter)
            .arg(format!("--mount=/proc/{}/ns/mnt", self.process))
            .arg(format!("--net=/proc/{}/ns/net", self.process))
            .arg(&tools.chroot)
            .arg(root)
            .arg(format!("/bin/{program}"))
            .args(arguments)
            .env_clear()
            .envs(variables)
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// Sends the mounts to the pause process, and waits until they exist. Its input stays open as long as the process.
async fn ready(pause: &mut Child, binds: &str) -> Result<(), Error> {
    let failed = || Error::io("talk to", "the pause process");
    if let Some(input) = pause.stdin.as_mut() {
        input.write_all(binds.as_bytes()).await.map_err(failed())?;
        input.write_all(b"\n").await.map_err(failed())?;
        input.flush().await.map_err(failed())?;
    }
    let mut line = String::new();
    if let Some(output) = pause.stdout.as_mut() {
        BufReader::new(output).read_line(&mut line).await.map_err(failed())?;
    }
    if line.trim() == READY {
        return Ok(());
    }
    let mut message = String::new();
    if let Some(errors) = pause.stderr.as_mut() {
        errors.read_to_string(&mut message).await.map_err(failed())?;
    }
    Err(Error::Tool { tool: "unshare --mount --net".to_owned(), message: message.trim().to_owned() })
}

/// Makes the bridge and the routes that all Pods share, and the routes of Services and nodes. Does nothing for what exists.
pub(crate) async fn share_network(seed: &Seed, gateway: Ipv4Addr, reported: Ipv4Net) -> Result<(), Error> {
    let args = &seed.args;
    let bridge = bridge(args.pod_net);
    // Fails if it exists.
    seed.tools.ip(&new_bridge(&bridge, gateway), None, true).await?;
    let prefix = args.pod_net.prefix_len();
    let lines = format!(
        "addr replace {gateway}/{prefix} dev {bridge}\nlink set {bridge} up\n\
         route replace local {reported} dev lo\nroute replace local {} dev lo\n\
         route replace local {} dev lo\n",
        args.service_net, args.node_net
    );
    seed.tools.ip(&lines, None, false).await
}

/// Connects the network namespace of a process with the bridge.
async fn connect(tools: &Tools, net: Ipv4Net, address: Ipv4Addr, process: u32, number: u32) -> Result<(), Error> {
    let bridge = bridge(net);
    let link = format!("{bridge}x{number:x}");
    let outside =
        format!("link add {link} type veth peer name eth0 netns {process}\nlink set {link} master {bridge} up\n");
    tools.ip(&outside, None, false).await?;
    let gateway = Ipv4Addr::from_bits(net.network().to_bits() | 1);
    let prefix = net.prefix_len();
    let inside = format!(
        "link set lo up\naddr add {address}/{prefix} dev eth0\nlink set eth0 up\nroute add default via {gateway}\n"
    );
    tools.ip(&inside, Some(process), false).await
}

/// Makes a bridge with a fixed hardware address. Otherwise, a bridge takes the lowest one of its ports. A new Pod may change
/// that, and all other Pods reach nothing until they have asked for the address again, which takes up to a minute.
fn new_bridge(bridge: &str, gateway: Ipv4Addr) -> String {
    let [a, b, c, d] = gateway.octets();
    format!("link add name {bridge} address 02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x} type bridge\n")
}

/// Name of the bridge of a Pod network. A second seed beside this one has another.
fn bridge(net: Ipv4Net) -> String {
    let [a, b, ..] = net.network().octets();
    format!("p{a:02x}{b:02x}")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process;

    use super::*;

    #[test]
    #[expect(clippy::print_stderr, reason = "not every machine can prove it")]
    fn bridge_keeps_its_address_when_a_port_with_a_lower_one_comes() {
        let mut lines = new_bridge("bridge", "10.0.0.1".parse().unwrap());
        lines +=
            "link add name port address 02:00:00:00:00:01 type veth peer name other\nlink set port master bridge\n";
        let unshare = || {
            let mut unshare = process::Command::new("unshare");
            unshare.args(["--user", "--map-root-user", "--net"]).stdin(Stdio::piped()).stdout(Stdio::piped());
            unshare
        };
        if !unshare().arg("true").status().is_ok_and(|status| status.success()) {
            eprintln!("not proven: this machine does not let users create namespaces");
            return;
        }
        let mut child = unshare().args(["sh", "-c", "ip -batch - && ip -oneline link show bridge"]).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(shown.contains("link/ether 02:00:0a:00:00:01 "), "{output:?}");
    }

    #[test]
    fn names_of_links_are_short_enough_for_linux() {
        let link = format!("{}x{:x}", bridge("255.255.0.0/16".parse().unwrap()), u32::MAX);
        assert!(link.len() < 16, "{link}");
    }
}
