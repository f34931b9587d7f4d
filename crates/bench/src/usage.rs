//! CPU time and memory of processes, as the kernel counts them.

use anyhow::{Context as _, Result};
use mock_fleet::{Fleet, Processes};
use procfs::Current as _;
use procfs::process::{Process, all_processes};

/// The members of a fleet by name, with the IDs of their processes.
pub(crate) fn members(fleet: &Fleet) -> Result<Vec<(String, Vec<i32>)>> {
    let ids = |processes| match processes {
        Processes::One(id) => Ok(vec![id]),
        Processes::Group(group) => of_group(group),
    };
    fleet.members().map(|(name, processes)| Ok((name.to_owned(), ids(processes)?))).collect()
}

/// The processes of a process group.
fn of_group(group: i32) -> Result<Vec<i32>> {
    let processes = all_processes().context("cannot list the processes")?;
    // Processes that end meanwhile are skipped.
    let members = processes.filter_map(|process| process.ok()?.stat().ok()).filter(|stat| stat.pgrp == group);
    Ok(members.map(|stat| stat.pid).collect())
}

/// CPU time of a process so far, in seconds; zero if the process has ended.
pub(crate) fn cpu(process: i32) -> f64 {
    let tasks = Process::new(process).and_then(|process| process.tasks());
    let nanoseconds: u64 = tasks
        .into_iter()
        .flatten()
        .filter_map(|task| task.ok()?.schedstat().ok())
        .map(|statistics| statistics.sum_exec_runtime)
        .sum();
    // Only this sum includes threads that have ended. Its resolution is a hundredth of a second.
    let all = Process::new(process).and_then(|process| process.stat()).map_or(0, |stat| stat.utime + stat.stime);
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let (fine, coarse) = (nanoseconds as f64 / 1e9, all as f64 / procfs::ticks_per_second() as f64);
    if coarse - fine > 0.05 { coarse } else { fine }
}

/// CPU time of several processes so far, in seconds.
pub(crate) fn cpu_of(processes: &[i32]) -> f64 {
    processes.iter().copied().map(cpu).sum()
}

/// Resident memory of a process now, and its peak, in bytes.
pub(crate) fn memory(process: i32) -> (u64, u64) {
    let status = Process::new(process).and_then(|process| process.status()).ok();
    let bytes = |kilobytes: Option<u64>| kilobytes.unwrap_or_default() * 1024;
    status.map_or((0, 0), |status| (bytes(status.vmrss), bytes(status.vmhwm)))
}

/// Model of the CPU, number of cores, memory in bytes, and kernel.
pub(crate) fn machine() -> Result<(String, usize, u64, String)> {
    let cpu = procfs::CpuInfo::current().context("cannot read the model of the CPU")?;
    let model = cpu.model_name(0).unwrap_or("unknown").to_owned();
    let memory = procfs::Meminfo::current().context("cannot read the size of the memory")?.mem_total;
    let kernel = procfs::sys::kernel::Version::current().context("cannot read the version of the kernel")?;
    let system = format!("Linux {}.{}", kernel.major, kernel.minor);
    Ok((model, std::thread::available_parallelism()?.get(), memory, system))
}
