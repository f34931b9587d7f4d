//! Properties of every script.

use proptest::prelude::*;

use super::*;
use crate::decide::tests::properties::any_object;

fn any_rules() -> impl Strategy<Value = String> {
    let delay = || prop::sample::select(vec!["0s", "3s", "{uniform: {from: 1s, to: 9s}}"]);
    let action = (0..4_u8, delay(), delay(), prop::sample::select(Fault::ALL.to_vec())).prop_map(
        |(which, after, retry, fault)| match which {
            0 => format!("succeed: {{after: {after}}}"),
            1 => format!("fail: {{message: m, after: {after}, retryAfter: {retry}}}"),
            2 => "hang: {}".to_owned(),
            _ => format!("misbehave: {{fault: {fault:?}, after: {after}}}"),
        },
    );
    let rule = (action, 1..4_u32, prop::sample::select(vec![40, 100])).prop_map(|(action, to, percent)| {
        format!("- match: {{attempts: {{to: {to}}}, percent: {percent}}}\n  {action}\n")
    });
    prop::collection::vec(rule, 0..4)
        .prop_map(|rules| if rules.is_empty() { "  []".to_owned() } else { rules.concat() })
}

proptest! {
    #[test]
    fn every_scripted_object_comes_to_rest(
        start in any_object(), rules in any_rules(), reader in prop::sample::select(vec![Reader::Polls, Reader::Watches]),
    ) {
        let mut play = Play::new(start, &rules);
        play.reader = reader;
        play.until(100_000);
        prop_assert!(matches!(play.step(), Step::Leave(_)), "{:?}", play.step());
    }

    /// The admission policy may take up requests, within the second of the last success or later.
    #[test]
    fn the_admission_policy_changes_no_outcome(
        start in any_object(), rules in any_rules(),
        pauses in prop::collection::vec(prop::sample::select(vec![0_i64, 400, 1000, 5000, 60_000]), 1..4),
    ) {
        // With the policy there is no annotation to keep.
        let rules = rules.replace("KeepOperation", "KeepFinalizer");
        // After a confirmed deletion, a request that only has a timestamp waits a second for the DELETE.
        let mut start = start;
        start.meta.annotations.get_or_insert_default().remove(extension_contract::DELETION_CONFIRMATION_ANNOTATION);
        let outcome = |is_assisted: bool| {
            let mut play = Play::new(start.clone(), &rules);
            for pause in &pauses {
                play.now += SignedDuration::from_millis(*pause);
                play.ask("reconcile");
                if is_assisted {
                    play.object.take_up();
                }
                let until = play.now.duration_since(time(NOW)).as_secs() + 3;
                play.until(until);
            }
            play.until(100_000);
            let record = play.object.record().map(|record| (record.attempt, record.rule, record.phase, record.request));
            let last = play.object.status.clone().and_then(|status| status.last_operation);
            // The annotation of an unfinished restore stays until the end. Nothing depends on it.
            let is_over = last.as_ref().is_some_and(|last| last.state == State::Succeeded);
            let annotations = play.object.meta.annotations.clone().filter(|_| is_over);
            let last = last.map(|last| (last.operation, last.state, last.last_update_time));
            (record, last, annotations, play.object.held_by_us())
        };
        prop_assert_eq!(outcome(true), outcome(false));
    }

    /// Our clock is set back, by itself or by a change to a process with another clock. From then on, nothing waits
    /// longer than its delay: 10 s at most for these scripts, apart from a fault that waits until gardenlet gives up.
    #[test]
    fn no_wait_is_longer_than_its_delay_after_the_clock_was_set_back(
        start in any_object(), rules in any_rules(),
        runs in 0_i64..60, back in prop::sample::select(vec![1_i64, 7, 3600, 86_400]), forgets in any::<bool>(),
    ) {
        let rules = rules.replace("AnswerLate", "RepeatTime");
        let mut play = Play::new(start, &rules);
        play.until(runs);
        play.now -= SignedDuration::from_secs(back);
        if forgets {
            play.ahead = Ahead::default();
        }
        let mut waited = SignedDuration::ZERO;
        for _ in 0..200 {
            match play.step() {
                Step::Leave(_) => return Ok(()),
                Step::RetryAt(due) => {
                    let wait = due.duration_since(play.now);
                    prop_assert!(wait <= SignedDuration::from_secs(10), "{wait:?}: {:#?}", play.object);
                    prop_assert!(wait > SignedDuration::ZERO);
                    waited += wait;
                    prop_assert!(waited < SignedDuration::from_secs(300), "{:#?}", play.log);
                    play.now = due;
                }
                step @ Step::Write(_) => {
                    play.object.apply(&step, play.now);
                    play.log();
                    waited = SignedDuration::ZERO;
                }
            }
        }
        prop_assert!(false, "it never comes to rest: {:#?}", play.log);
    }

    /// A process that is killed after the first request of every step reaches the same outcome.
    #[test]
    fn a_killed_process_changes_no_outcome(rules in any_rules(), operation in prop::sample::select(vec!["reconcile", "restore"])) {
        let outcome = |dies_after| {
            let mut play = Play::new(Model::new(Some(operation), Value::Null).asked_at(NOW), &rules);
            play.dies_after = dies_after;
            play.until(100_000);
            let record = play.record();
            let last = play.object.status.clone().unwrap().last_operation.unwrap();
            let held = play.object.held_by_us();
            (record.attempt, record.rule, record.phase, last.operation, last.state, play.object.meta.annotations.clone(), held)
        };
        prop_assert_eq!(outcome(usize::MAX), outcome(1));
    }
}

impl Model {
    /// Applies the admission policy to a request.
    fn take_up(&mut self) {
        let last = self.status.as_ref().and_then(|status| status.last_operation.as_ref());
        let second = SignedDuration::from_secs(1);
        let is_news =
            requested_at(&self.meta).zip(last).is_none_or(|(at, last)| at >= last.last_update_time.0 + second);
        let is_handed_over = last.is_some_and(|last| last.operation == OperationType::Migrate);
        if is_news && !is_handed_over && self.meta.deletion_timestamp.is_none() {
            self.meta.annotations.get_or_insert_default().remove(OPERATION_ANNOTATION);
            if !self.held_by_us() {
                self.meta.finalizers.get_or_insert_default().push(FINALIZER.into());
            }
        }
    }
}
