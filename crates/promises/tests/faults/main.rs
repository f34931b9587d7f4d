//! Faults of networks, servers and processes, with real processes on a real etcd and kube-apiserver.
//!
//! The table of all faults is [`table::FAULTS`]. Each fault has separate servers. A few run by default; with the
//! variable `MOCK_FAULTS`, all of them do. Its value `network` says that this process has a separate network, whose
//! rules it may change. `cargo xtask test --faults` sets it.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a suite is a program")]

mod answers;
mod clocks;
mod cluster;
mod cost;
mod http;
mod kills;
mod link;
mod network;
mod replicas;
mod servers;
mod table;
mod world;

use std::env;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use comfy_table::{Table, presets};
use gardener_testbed::assets::Assets;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::cost::Cost;
use crate::table::{FAULTS, Fault};
use crate::world::World;

/// The variable that makes all faults run.
const ALL: &str = "MOCK_FAULTS";
/// Limit of one fault.
const LIMIT: Duration = Duration::from_secs(300);
/// How many faults run at the same time. Most of them wait, but each starts an API server.
const THREADS: usize = 3;

type Rows = Arc<Mutex<Vec<(&'static Fault, Result<Cost, Failed>)>>>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let (assets, runtime) = match (Assets::locate(&|line| eprintln!("{line}")), Runtime::new()) {
        (Ok(assets), Ok(runtime)) => (Arc::new(assets), Arc::new(runtime)),
        (Err(error), _) => return not_started(&error.to_string()),
        (_, Err(error)) => return not_started(&error.to_string()),
    };
    let wanted = env::var_os(ALL);
    let runs = |fault: &Fault| match &wanted {
        Some(value) => !fault.needs_network || value == "network",
        None => fault.is_quick,
    };
    let rows = Rows::default();
    let mut trials = vec![Trial::test("readme_lists_every_fault", table::readme_lists_every_fault)];
    trials.extend(FAULTS.iter().map(|fault| {
        let (assets, runtime, rows) = (assets.clone(), runtime.clone(), rows.clone());
        let test = move || {
            let result = runtime.block_on(run(fault, &assets));
            let verdict = result.as_ref().map(|_| ()).map_err(Clone::clone);
            rows.lock().unwrap_or_else(PoisonError::into_inner).push((fault, result));
            verdict
        };
        Trial::test(fault.name, test).with_ignored_flag(!runs(fault))
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    let rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
    if !rows.is_empty() {
        println!("{}", printed(&rows));
    }
    if conclusion.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn not_started(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}

async fn run(fault: &Fault, assets: &Assets) -> Result<Cost, Failed> {
    let world = Arc::new(World::start(assets, fault.kind, fault.name).await?);
    let cost = timeout(LIMIT, (fault.run)(world)).await.map_err(|_| format!("not over after {LIMIT:?}"))??;
    println!("{}: {cost}", fault.name);
    cost.is_within(fault.within, fault.rate)?;
    Ok(cost)
}

fn printed(rows: &[(&Fault, Result<Cost, Failed>)]) -> Table {
    let mut table = Table::new();
    let header = ["fault", "promised", "lasted", "served after", "requests meanwhile", "log lines", "verdict"];
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(header);
    for fault in FAULTS {
        let Some((_, result)) = rows.iter().find(|(run, _)| run.name == fault.name) else { continue };
        let [lasted, recovered, requests, lines] = result.as_ref().map_or_else(|_| Default::default(), Cost::cells);
        let verdict = if result.is_ok() { "held" } else { "BROKEN" };
        table.add_row([fault.name, fault.promised, &lasted, &recovered, &requests, &lines, verdict]);
    }
    table
}
