//! What a script will have become of an operation in the end, told without any object: attempts begin when they are
//! due, and nobody interferes.

use k8s_openapi::jiff::SignedDuration;

use super::{Action, Fired, Script, Subject, choose};
use crate::contract::{ErrorCode, OperationType};

/// More attempts than this are as good as no end.
pub const MOST_ATTEMPTS: u32 = 1000;

/// How an operation goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreseen {
    /// How many attempts it takes, the last one included.
    pub attempts: u32,
    /// The rule of the last attempt; none if no rule matches it.
    pub rule: Option<Fired>,
    /// How long it takes until it succeeds; none if it never does.
    pub takes: Option<SignedDuration>,
    /// When it fails for the first time, and with which codes; from then on the error is visible until it succeeds.
    pub fails: Option<(SignedDuration, Vec<ErrorCode>)>,
}

/// Foresees an operation on an object of a kind for which gardenlet waits so long.
#[must_use]
pub fn foresee(
    script: &Script,
    seed: u64,
    subject: &Subject<'_>,
    operation: OperationType,
    timeout: SignedDuration,
) -> Foreseen {
    let mut now = SignedDuration::ZERO;
    let mut fails = None;
    let mut attempt = 1;
    loop {
        let Some(choice) = choose(script, seed, subject, operation, attempt) else {
            return Foreseen { attempts: attempt, rule: None, takes: Some(now), fails };
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
                return Foreseen { attempts: attempt, rule: Some(choice.fired), takes: ends, fails };
            }
        }
    }
}
