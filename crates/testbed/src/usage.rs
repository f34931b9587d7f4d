//! CPU time and memory of processes and of the machine, as the kernel counts them.

use std::io;

use procfs::process::{Process, all_processes};
use procfs::{Current as _, CurrentSI as _};

/// CPU time of a process so far, in seconds; zero if the process has ended.
#[must_use]
pub fn cpu(process: i32) -> f64 {
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
#[must_use]
pub fn cpu_of(processes: &[i32]) -> f64 {
    processes.iter().copied().map(cpu).sum()
}

/// Resident memory of a process now, and its peak, in bytes; zero if the process has ended.
#[must_use]
pub fn memory(process: i32) -> (u64, u64) {
    let status = Process::new(process).and_then(|process| process.status()).ok();
    let bytes = |kilobytes: Option<u64>| kilobytes.unwrap_or_default() * 1024;
    status.map_or((0, 0), |status| (bytes(status.vmrss), bytes(status.vmhwm)))
}

/// Model of the CPU, number of cores, memory in bytes, and kernel.
///
/// Fails if a file of `/proc` cannot be read.
pub fn machine() -> io::Result<(String, usize, u64, String)> {
    let cpu = procfs::CpuInfo::current().map_err(io::Error::other)?;
    let model = cpu.model_name(0).unwrap_or("unknown").to_owned();
    let memory = procfs::Meminfo::current().map_err(io::Error::other)?.mem_total;
    let kernel = procfs::sys::kernel::Version::current().map_err(io::Error::other)?;
    let system = format!("Linux {}.{}", kernel.major, kernel.minor);
    Ok((model, std::thread::available_parallelism()?.get(), memory, system))
}

/// The proportional set size of a process, in bytes: its memory, with pages shared by several processes divided among
/// them. Zero if the process has ended. This costs about a millisecond for each GB.
#[must_use]
pub fn proportional(process: i32) -> u64 {
    let rollup = Process::new(process).and_then(|process| process.smaps_rollup()).ok();
    let sizes = rollup.into_iter().flat_map(|rollup| rollup.memory_map_rollup.into_iter());
    sizes.filter_map(|map| map.extension.map.get("Pss").copied()).sum()
}

/// All processes that this process sees, with the names of their programs.
pub fn all() -> io::Result<Vec<(i32, String)>> {
    let name = |process: Process| {
        let program = process.exe().ok().and_then(|file| Some(file.file_name()?.display().to_string()));
        // A thread of the kernel has no program.
        Some((process.pid, program?))
    };
    let processes = all_processes().map_err(io::Error::other)?;
    // Processes that end meanwhile are skipped.
    Ok(processes.filter_map(|process| name(process.ok()?)).collect())
}

/// CPU time of the whole machine since its start, in seconds of one core: used, and used or idle. Time that a host took
/// away counts as used.
pub fn of_machine() -> io::Result<(f64, f64)> {
    let total = procfs::KernelStats::current().map_err(io::Error::other)?.total;
    let idle = total.idle + total.iowait.unwrap_or_default();
    let others = [total.irq, total.softirq, total.steal].into_iter().flatten().sum::<u64>();
    let used = total.user + total.nice + total.system + others;
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
    Ok((seconds(used), seconds(used + idle)))
}
