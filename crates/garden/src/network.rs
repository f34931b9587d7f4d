//! The network inside: a loopback with an address for the machine, and the addresses of all Services.

use std::fs;
use std::path::Path;

use tokio::process::Command;

use crate::error::GardenError;

/// The address of the machine inside, from which API servers are reached. It is in none of the networks of the examples.
pub(crate) const HOST: &str = "172.23.0.1";
/// The Services of the garden cluster. Those of a seed cluster are in the Seed's manifest.
pub(crate) const GARDEN_SERVICES: &str = "172.22.0.0/16";

/// Sets up the network of this process's namespaces, with the Services of all clusters, and makes its names be resolved as
/// the file `resolver` says.
pub(crate) async fn set_up(services: impl Iterator<Item = &str>, resolver: &Path) -> Result<(), GardenError> {
    run("ip", &["link", "set", "lo", "up"]).await?;
    run("ip", &["address", "add", &format!("{HOST}/32"), "dev", "lo"]).await?;
    for services in services {
        // A process can listen at each of these addresses, as kube-proxy makes a node answer for them.
        run("ip", &["route", "add", "local", services, "dev", "lo"]).await?;
    }
    let forward = "/proc/sys/net/ipv4/ip_forward";
    fs::write(forward, "1").map_err(GardenError::system(format!("write {forward}")))?;
    resolve_names_with(resolver).await
}

/// Writes a file that can take the place of `/etc/resolv.conf`.
pub(crate) fn write_resolver(file: &Path, name_server: &str) -> Result<(), GardenError> {
    // gardenlet and gardener-resource-manager use names such as `gardener-resource-manager.garden.svc`.
    let text = format!("nameserver {name_server}\nsearch cluster.local\noptions ndots:5 timeout:2\n");
    fs::write(file, text).map_err(GardenError::system(format!("write {}", file.display())))
}

/// Hides `/run`, so that no name is resolved through a socket of this machine's resolver and no file is left there, and
/// replaces `/etc/resolv.conf`.
async fn resolve_names_with(file: &Path) -> Result<(), GardenError> {
    let link = "/etc/resolv.conf";
    let target = fs::canonicalize(link).map_err(GardenError::system(format!("find {link}")))?;
    run("mount", &["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"]).await?;
    if target.starts_with("/run") {
        let parent = target.parent().unwrap_or(&target);
        fs::create_dir_all(parent)
            .and_then(|()| fs::copy(file, &target))
            .map(drop)
            .map_err(GardenError::system(format!("write {}", target.display())))
    } else {
        run("mount", &["--bind", &file.display().to_string(), &target.display().to_string()]).await
    }
}

/// Runs a program to its end.
async fn run(program: &str, arguments: &[&str]) -> Result<(), GardenError> {
    let command = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output().await;
    let output = output.map_err(GardenError::system(format!("run {program}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(GardenError::Unusable(format!("`{command}` failed: {said}")))
}

/// The address with this number in a network such as `172.20.0.0/16`.
pub(crate) fn address(network: &str, number: u32) -> Result<String, GardenError> {
    let first = network.split_once('/').and_then(|(first, _)| first.parse::<std::net::Ipv4Addr>().ok());
    let first = first.ok_or_else(|| GardenError::Unusable(format!("{network} is not an IPv4 network: use one")))?;
    Ok(std::net::Ipv4Addr::from(u32::from(first).wrapping_add(number)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_from_the_first_one() {
        assert_eq!(address("172.20.0.0/16", 10).unwrap(), "172.20.0.10");
        assert!(address("fd00::/64", 1).unwrap_err().to_string().starts_with("fd00::/64 is not an IPv4 network"));
    }
}
