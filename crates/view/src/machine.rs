//! The machine on which something was measured.

use serde::{Deserialize, Serialize};

use crate::statistics::float;
use crate::words::counted;

/// Where and when something was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Time of the start (RFC 3339, UTC).
    pub date: String,
    /// Model name of the CPU.
    pub cpu: String,
    /// Number of its cores.
    pub cores: usize,
    /// Size of the memory, in bytes.
    pub memory: u64,
    /// Operating system and kernel.
    pub system: String,
    /// Version of kube-apiserver.
    pub kube_apiserver: String,
    /// Version of etcd.
    pub etcd: String,
}

impl Machine {
    /// Describes the machine in one line. Unknown facts are left out.
    #[must_use]
    pub fn describe(&self) -> String {
        let known = |text: &str, prefix: &str| (!text.is_empty()).then(|| format!("{prefix}{text}"));
        let cores = (self.cores > 0).then(|| counted(self.cores, "core"));
        let memory = (self.memory > 0).then(|| format!("{:.1} GiB", float(self.memory) / f64::from(1 << 30)));
        let version = |text: &str| text.trim_start_matches('v').to_owned();
        let facts = [
            cores,
            known(&self.cpu, ""),
            memory,
            known(&self.system, ""),
            known(&version(&self.kube_apiserver), "kube-apiserver "),
            known(&version(&self.etcd), "etcd "),
            known(&self.date, ""),
        ];
        facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_facts_about_the_machine_are_left_out() {
        assert_eq!(Machine::default().describe(), "");
        let machine = Machine { cores: 2, memory: 8 << 30, etcd: "v3.6.5".to_owned(), ..Machine::default() };
        assert_eq!(machine.describe(), "2 cores, 8.0 GiB, etcd 3.6.5");
    }
}
