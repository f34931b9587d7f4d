//! Simulates an operation under a script without any object: each attempt starts when it is due, and no new request
//! interrupts it.

use extension_contract::{ErrorCode, OperationType};
use k8s_openapi::jiff::SignedDuration;

use super::draw::{Subject, choose};
use super::language::{Action, Script};
use super::record::Fired;

/// A simulation gives up after this many attempts.
pub const MOST_ATTEMPTS: u32 = 1000;

/// The course of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated {
    /// Number of attempts.
    pub attempts: u32,
    /// The rule of the last attempt; `None` if no rule matches.
    pub rule: Option<Fired>,
    /// Time until success; `None` if the operation never succeeds.
    pub takes: Option<SignedDuration>,
    /// Time of the first failure, and its codes. From then on the error is visible until success.
    pub fails: Option<(SignedDuration, Vec<ErrorCode>)>,
}

/// Simulates an operation on an object. `timeout` is how long gardenlet waits for its kind.
#[must_use]
pub fn simulate(
    script: &Script,
    seed: u64,
    subject: &Subject<'_>,
    operation: OperationType,
    timeout: SignedDuration,
) -> Simulated {
    let mut now = SignedDuration::ZERO;
    let mut fails = None;
    let mut attempt = 1;
    loop {
        let Some(choice) = choose(script, seed, subject, operation, attempt) else {
            return Simulated { attempts: attempt, rule: None, takes: Some(now), fails };
        };
        let takes = choice.takes(timeout);
        now = now.saturating_add(takes.unwrap_or_default());
        match &choice.fired.action {
            Action::Fail { codes, retry_after, .. } if attempt < MOST_ATTEMPTS => {
                fails.get_or_insert_with(|| (now, codes.clone()));
                now = now.saturating_add(retry_after.0);
                attempt = attempt.saturating_add(1);
            }
            action => {
                let ends = action.succeeds().then_some(now);
                return Simulated { attempts: attempt, rule: Some(choice.fired), takes: ends, fails };
            }
        }
    }
}
