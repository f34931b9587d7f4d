//! The command line of `extension-conformance`.

mod args;
mod cluster;
mod files;
mod interrupts;
mod own;
mod select;

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser as _;
use libtest_mimic::Failed;
use tokio::runtime::Runtime;

use self::args::{Args, Place};
use self::interrupts::Interrupts;
use crate::finding::Finding;
use crate::first;
use crate::judge::{Judge, unless_it_ends};
use crate::launcher::Controller;
use crate::report::{self, Report};
use crate::rule::{Level, Rule};
use crate::subject::Subject;
use crate::suite::Suite;

/// The controller keeps all rules that were put to the test.
const KEPT: u8 = 0;
/// The controller breaks a rule.
const BROKEN: u8 = 1;
/// The kit could not judge.
const NOT_JUDGED: u8 = 2;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let code = run(&Args::parse()).unwrap_or_else(|failed| {
        tell(format_args!("error: {}", failed.message().unwrap_or_default()));
        NOT_JUDGED
    });
    ExitCode::from(code)
}

fn run(args: &Args) -> Result<u8, Failed> {
    let rules = select::rules(&args.run)?;
    for file in &args.report {
        report::has_format(file)?;
    }
    for file in args.report.iter().chain(&args.junit) {
        report::has_folder(file)?;
    }
    if args.rules {
        return list(args, &rules);
    }
    let place = args.place()?;
    let subject = args.subject()?;
    select::any_applies(&rules, &subject)?;
    let untried = |why: &Failed| Report::untried(&subject, &rules, &first_line(why));
    let ended = match judge(args, place, subject.clone(), rules.clone()) {
        Ok(Some(ended)) => ended,
        Ok(None) => return Ok(KEPT),
        Err(why) => Ended { report: untried(&why), interrupted: false, trouble: Some(why) },
    };
    let Ended { report, trouble, .. } = ended;
    if report.tried() > 0 || trouble.is_none() {
        print(&report.terminal())?;
    }
    for file in &args.report {
        report.write(file)?;
    }
    if let Some(file) = &args.junit {
        report.write_junit(file)?;
    }
    trouble.map_or_else(|| Ok(code(&report, args.fail_on)), Err)
}

/// Puts the controller to the test. Returns `None` if the run should only say what it would create.
fn judge(args: &Args, place: Place<'_>, subject: Subject, rules: Vec<Rule>) -> Result<Option<Ended>, Failed> {
    let runtime = Runtime::new()?;
    match place {
        Place::Own { command } => {
            // Building the servers takes minutes, the first time. It blocks.
            let assets = gardener_testbed::assets::Assets::locate(&|line| tell(format_args!("{line}")))?;
            runtime.block_on(own::judge(args, &assets, command, subject, rules)).map(Some)
        }
        Place::Cluster { kubeconfig } => runtime.block_on(cluster::judge(args, kubeconfig, subject, rules)),
    }
}

/// The exit code of a run that fails on this level.
fn code(report: &Report, fail_on: Level) -> u8 {
    let none_tested = report.count("passed") == 0;
    if report.failures(fail_on).next().is_some() {
        BROKEN
    } else if report.not_judged() > 0 || none_tested {
        NOT_JUDGED
    } else {
        KEPT
    }
}

/// Prints the rules, or writes them to the files of `--report`.
fn list(args: &Args, rules: &[Rule]) -> Result<u8, Failed> {
    for file in &args.report {
        if file.extension().is_none_or(|extension| extension != "md") {
            return Err(format!("--report {}: the list of rules is written as Markdown (.md)", file.display()).into());
        }
        report::write(file, &report::rules_as_markdown(rules))?;
    }
    if args.report.is_empty() {
        let subject = args.kind.map(|_| args.subject()).transpose()?;
        print(&report::rules_as_text(rules, subject.as_ref()))?;
    }
    Ok(KEPT)
}

/// What a run has ended with.
struct Ended {
    report: Report,
    /// Whether a signal has ended it.
    interrupted: bool,
    /// Why the run is not complete, or has left something behind.
    trouble: Option<Failed>,
}

/// Puts a controller to the test until a signal comes. `place` says where.
async fn test(
    args: &Args,
    suite: &Arc<Suite>,
    rules: Vec<Rule>,
    shared: Option<Controller>,
    place: String,
    interrupts: &mut Interrupts,
) -> Ended {
    let (done, total) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let count = total.clone();
    let announce = move |Finding { rule, verdict, took }: &Finding| {
        let (number, total) = (done.fetch_add(1, Ordering::Relaxed) + 1, count.load(Ordering::Relaxed));
        tell(format_args!("{number}/{total} {}: {} ({:.1} s)", rule.name, verdict.word(), took.as_secs_f64()));
    };
    let judge = Judge::new(suite.clone(), rules, announce);
    total.store(judge.tested(), Ordering::Relaxed);
    let run = try_rules(args, suite, &judge, shared);
    let (otherwise, interrupted, trouble) = tokio::select! {
        ended = run => match ended {
            Ok(()) => ("the controller had ended before".to_owned(), false, None),
            Err(why) => (first_line(&why), false, Some(why)),
        },
        () = interrupts.next() => ("the run was interrupted".to_owned(), true, None),
    };
    let report = Report::new(suite.subject(), place, judge.findings(&otherwise));
    Ended { report, interrupted, trouble }
}

/// Awaits a first object, then tries the rules. If the controller does not serve the first object, no rule is tried.
async fn try_rules(
    args: &Args,
    suite: &Arc<Suite>,
    judge: &Judge,
    mut shared: Option<Controller>,
) -> Result<(), Failed> {
    match unless_it_ends(shared.as_mut(), first::object(suite.clone())).await? {
        Ok(None) => {}
        Ok(Some(unmet)) => tell(format_args!(
            "the controller calls the first object a success, but gardenlet does not: {unmet}; the rules tell more, and \
             most will wait in vain"
        )),
        Err(why) => {
            if let Some(shared) = &shared {
                let end = shared.log().end();
                let log = if end.is_empty() { "is empty".to_owned() } else { format!("ends with:\n{end}") };
                tell(format_args!("the controller's log {log}"));
            }
            return Err(format!("no rule is tried: {}", why.message().unwrap_or_default()).into());
        }
    }
    if let Err(why) = judge.run(shared, args.parallel).await {
        tell(format_args!("the run is incomplete: {}", why.message().unwrap_or_default()));
    }
    Ok(())
}

/// The first line of a message, which may show a log below it.
fn first_line(failed: &Failed) -> String {
    failed.message().and_then(|message| message.lines().next()).unwrap_or_default().to_owned()
}

/// Prints to standard output. A reader that has ended is no error.
fn print(text: &str) -> Result<(), Failed> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints a line to standard error, for the person who waits. Nobody may read it.
fn tell(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whose controller is judged, for messages.
fn names(subject: &Subject) -> String {
    format!("{} of type {}", subject.kind.name, subject.type_)
}

#[cfg(test)]
mod tests;
