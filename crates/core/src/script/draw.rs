//! Draws which rule fires and what it does: a pure function of seed, object, operation and attempt. The result is the
//! same in any order, at any concurrency and in any process.

use extension_contract::OperationType;
use k8s_openapi::jiff::SignedDuration;
use sha2::{Digest, Sha256};
use wildmatch::WildMatch;

use super::delay::Span;
use super::language::{Action, Fault, Rule, Script};
use super::record::{Fired, TimedCondition};

/// gardenlet may look once more after its timeout. After this long, it has given up.
const TOO_LATE: SignedDuration = SignedDuration::from_secs(10);

/// An object as the `match` of a rule sees it.
#[derive(Clone, Debug, Default)]
pub struct Subject<'a> {
    /// Kind of the object.
    pub kind: &'a str,
    /// Namespace, empty for a cluster-scoped object.
    pub namespace: &'a str,
    /// Name of the object.
    pub name: &'a str,
    /// Technical ID of the Shoot.
    pub shoot: &'a str,
    /// Purpose, for kinds that have purposes.
    pub purpose: Option<&'a str>,
    /// Names of worker pools, for kinds that have pools.
    pub pools: Vec<&'a str>,
}

/// The source of all draws of one attempt.
#[derive(Clone, Debug)]
pub struct Draws(Sha256);

/// What was drawn for one attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The rule that fired.
    pub fired: Fired,
    /// How long the operation takes; `None` if it hangs.
    takes: Option<SignedDuration>,
    /// The rule's health conditions, each with its delay after the start.
    pub conditions: Vec<(TimedCondition, SignedDuration)>,
}

impl Choice {
    /// How long the operation takes if gardenlet waits for `timeout`. Returns `None` if it hangs.
    #[must_use]
    pub fn takes(&self, timeout: SignedDuration) -> Option<SignedDuration> {
        match self.fired.action {
            Action::Misbehave(Fault::AnswerLate) => Some(self.takes?.max(timeout.saturating_add(TOO_LATE))),
            _ => self.takes,
        }
    }
}

impl Draws {
    /// The draws of one attempt.
    #[must_use]
    pub fn new(seed: u64, subject: &Subject<'_>, operation: OperationType, attempt: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_be_bytes());
        hash.update(attempt.to_be_bytes());
        // None of these can contain a zero byte.
        for text in [subject.namespace, subject.kind, subject.name, operation.as_str()] {
            hash.update(text);
            hash.update([0]);
        }
        Self(hash)
    }

    /// A number in 0..1 for one question. Different questions get independent numbers.
    #[must_use]
    pub fn chance(&self, question: &str) -> f64 {
        let hash = self.0.clone().chain_update(question).finalize();
        let number = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        // A double holds 53 bits.
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        {
            (number >> 11) as f64 / (1_u64 << 53) as f64
        }
    }
}

/// The seed of a script without one, drawn from the uid of the Cluster: all objects of a Shoot share it in every
/// process. It is short, since people paste it.
#[must_use]
pub fn drawn_seed(uid: &str) -> u64 {
    Sha256::digest(uid).iter().take(4).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// Draws an attempt. Returns `None` if no rule matches: the operation succeeds immediately.
#[must_use]
pub fn choose(
    script: &Script,
    seed: u64,
    subject: &Subject<'_>,
    operation: OperationType,
    attempt: u32,
) -> Option<Choice> {
    let draws = Draws::new(seed, subject, operation, attempt);
    let (index, rule) = script
        .rules
        .iter()
        .enumerate()
        .find(|(index, rule)| rule.is_for(*index, subject, operation, attempt, &draws))?;
    let action = match &rule.fail {
        Some(fail) => Action::Fail {
            message: fail.message.clone(),
            codes: fail.codes.clone(),
            pools: failed_pools(rule, subject).map(str::to_owned).collect(),
            retry_after: Span(match &fail.retry_after {
                Some(delay) => delay.at(draws.chance("retryAfter")),
                None => backoff(attempt),
            }),
        },
        None if rule.hang.is_some() => Action::Hang,
        None => rule.misbehave.as_ref().map_or(Action::Succeed, |misbehave| Action::Misbehave(misbehave.fault)),
    };
    let conditions = rule.conditions.iter().enumerate().map(|(index, condition)| {
        let after = condition.after.at(draws.chance(&format!("conditions[{index}].after")));
        (TimedCondition::of(condition), after)
    });
    Some(Choice {
        takes: rule.after().map(|delay| delay.at(draws.chance("after"))),
        conditions: conditions.collect(),
        fired: Fired {
            number: index.saturating_add(1),
            name: rule.name.clone(),
            action,
            progress: rule.progress.clone(),
        },
    })
}

/// Pause after the nth failure in a row: 5 s, doubled each time, up to 5 minutes.
#[must_use]
pub fn backoff(attempt: u32) -> SignedDuration {
    let seconds = 5_i64.saturating_mul(2_i64.saturating_pow(attempt.saturating_sub(1)));
    SignedDuration::from_secs(seconds.min(300))
}

fn failed_pools<'a>(rule: &'a Rule, subject: &'a Subject<'_>) -> impl Iterator<Item = &'a str> {
    let globs = rule.fail.as_ref().map(|fail| fail.pools.as_slice()).unwrap_or_default();
    subject.pools.iter().copied().filter(|pool| is_one_of(globs, pool))
}

fn is_one_of(globs: &[String], text: &str) -> bool {
    globs.iter().any(|glob| WildMatch::new(glob).matches(text))
}

impl Rule {
    fn is_for(
        &self,
        index: usize,
        subject: &Subject<'_>,
        operation: OperationType,
        attempt: u32,
        draws: &Draws,
    ) -> bool {
        let matches = &self.matches;
        let any_or = |values: &[String], text: &str| values.is_empty() || is_one_of(values, text);
        let kind = matches.kinds.is_empty() || matches.kinds.iter().any(|kind| kind == subject.kind);
        let purpose = matches.purposes.is_empty()
            || subject.purpose.is_some_and(|purpose| matches.purposes.iter().any(|wanted| wanted == purpose));
        let wants_pools = self.fail.as_ref().is_some_and(|fail| !fail.pools.is_empty());
        kind && (matches.operations.is_empty() || matches.operations.iter().any(|wanted| wanted.is(operation)))
            && any_or(&matches.shoots, subject.shoot)
            && any_or(&matches.names, subject.name)
            && purpose
            && matches.attempts.is_none_or(|attempts| attempts.range().contains(&attempt))
            && (!wants_pools || failed_pools(self, subject).next().is_some())
            && matches.percent.is_none_or(|percent| draws.chance(&format!("rules[{index}]")) * 100.0 < percent)
    }
}
