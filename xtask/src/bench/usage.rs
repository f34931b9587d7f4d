//! CPU time and memory of processes, as the kernel counts them.

use anyhow::{Context as _, Result};
use procfs::{
    Current as _,
    process::{Process, all_processes},
};

/// The processes of a group that was made for them.
pub(super) fn of_group(group: i32) -> Result<Vec<i32>> {
    let processes = all_processes().context("cannot list the processes")?;
    // One that ends meanwhile is none of them.
    let members = processes.filter_map(|process| process.ok()?.stat().ok()).filter(|stat| stat.pgrp == group);
    Ok(members.map(|stat| stat.pid).collect())
}

/// CPU time so far, in seconds; of a process that is gone none.
pub(super) fn cpu(process: i32) -> f64 {
    let tasks = Process::new(process).and_then(|process| process.tasks());
    let nanoseconds: u64 = tasks
        .into_iter()
        .flatten()
        .filter_map(|task| task.ok()?.schedstat().ok())
        .map(|statistics| statistics.sum_exec_runtime)
        .sum();
    // Threads that ended are only in the coarser sum, which counts in hundredths of a second.
    let all = Process::new(process).and_then(|process| process.stat()).map_or(0, |stat| stat.utime + stat.stime);
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let (fine, coarse) = (nanoseconds as f64 / 1e9, all as f64 / procfs::ticks_per_second() as f64);
    if coarse - fine > 0.05 { coarse } else { fine }
}

/// CPU time of several processes.
pub(super) fn cpu_of(processes: &[i32]) -> f64 {
    processes.iter().copied().map(cpu).sum()
}

/// Resident memory now and at most so far, in bytes.
pub(super) fn memory(process: i32) -> (u64, u64) {
    let status = Process::new(process).and_then(|process| process.status()).ok();
    let bytes = |kilobytes: Option<u64>| kilobytes.unwrap_or_default() * 1024;
    status.map_or((0, 0), |status| (bytes(status.vmrss), bytes(status.vmhwm)))
}

/// Model of the CPU, cores, memory in bytes, and kernel.
pub(super) fn machine() -> Result<(String, usize, u64, String)> {
    let cpu = procfs::CpuInfo::current().context("cannot read what CPU this is")?;
    let model = cpu.model_name(0).unwrap_or("unknown").to_owned();
    let memory = procfs::Meminfo::current().context("cannot read how much memory there is")?.mem_total;
    let kernel = procfs::sys::kernel::Version::current().context("cannot read the kernel's version")?;
    let system = format!("Linux {}.{}", kernel.major, kernel.minor);
    Ok((model, std::thread::available_parallelism()?.get(), memory, system))
}
