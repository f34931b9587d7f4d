//! The processes of a fleet.

use anyhow::{Context as _, Result};
use mock_fleet::{Fleet, Processes};
use procfs::process::all_processes;

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
