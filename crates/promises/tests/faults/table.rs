//! All faults. The table in `README.md` says the same, and a test compares them.

use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use extension_conformance::ensure;
use gardener_testbed::bed::Member;
use libtest_mimic::Failed;
use serde_json::json;

use crate::cost::Cost;
use crate::http::Answer;
use crate::link::Weather;
use crate::world::World;
use crate::{answers, clocks, cluster, kills, network, replicas, servers};

type Run = Pin<Box<dyn Future<Output = Result<Cost, Failed>>>>;

/// A fault, and the promise about it.
pub(crate) struct Fault {
    /// The name of its test.
    pub(crate) name: &'static str,
    /// What is promised. Times are those of an idle machine.
    pub(crate) promised: &'static str,
    /// Limit of the time until every object is as gardenlet wants it. It is generous: the machine may be busy.
    pub(crate) within: Duration,
    /// The kind whose controller runs.
    pub(crate) kind: &'static str,
    /// How many requests a second a process may send.
    pub(crate) rate: f64,
    /// Whether it changes the rules of this machine's network.
    pub(crate) needs_network: bool,
    /// Whether it runs in every test run.
    pub(crate) is_quick: bool,
    /// Makes the fault happen.
    pub(crate) run: fn(Arc<World>) -> Run,
}

const fn fault(name: &'static str, promised: &'static str, within: u64, run: fn(Arc<World>) -> Run) -> Fault {
    Fault {
        name,
        promised,
        within: Duration::from_secs(within),
        kind: "infrastructure",
        rate: 1.0,
        needs_network: false,
        is_quick: false,
        run,
    }
}

impl Fault {
    const fn quick(self) -> Self {
        Self { is_quick: true, ..self }
    }

    /// Objects are served all the time, or two processes renew and watch a Lease.
    const fn busy(self) -> Self {
        Self { rate: 5.0, ..self }
    }

    /// Objects are retried all the time, ten a second with two requests each.
    const fn retrying(self) -> Self {
        Self { rate: 20.0, ..self }
    }

    /// Objects are served or changed as fast as this machine can.
    const fn storming(self) -> Self {
        Self { rate: 200.0, ..self }
    }

    const fn with_network(self) -> Self {
        Self { needs_network: true, ..self }
    }

    const fn of(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }
}

const SERVES: &str = "everything is served within 10 s of its end";
const NOTICES: &str = "noticed within 45 s";
const FINISHES: &str = "the next process finishes the operation";
const FOLLOWS: &str = "the standby serves once the Lease has expired";

const API_SERVER: &[Member] = &[Member::KubeApiserver];
const ETCD: &[Member] = &[Member::Etcd];
const BOTH: &[Member] = &[Member::KubeApiserver, Member::Etcd];

/// All faults.
pub(crate) const FAULTS: &[Fault] = &[
    // The slowest come first, so that none of them runs alone at the end.
    fault("api_server_killed_for_60_s", SERVES, 20, |world| Box::pin(servers::killed(world, API_SERVER, 60))),
    fault("old_connections_half_open", NOTICES, 60, |world| Box::pin(network::half_open(world))),
    fault("packets_of_old_connections_vanish", NOTICES, 60, |world| Box::pin(network::packets_vanish(world)))
        .with_network(),
    fault("watch_is_silent", NOTICES, 60, |world| Box::pin(answers::watch_is_silent(world))),
    fault("killed_after_each_write_infrastructure", FINISHES, 10, |world| {
        Box::pin(kills::after_each_write(world, json!({})))
    }),
    fault("killed_after_each_write_controlplane", FINISHES, 10, |world| {
        Box::pin(kills::after_each_write(world, json!({})))
    })
    .of("controlplane"),
    fault("killed_after_each_write_operatingsystemconfig", FINISHES, 10, |world| {
        Box::pin(kills::after_each_write(world, json!({})))
    })
    .of("operatingsystemconfig"),
    fault("killed_after_each_write_network", FINISHES, 10, |world| Box::pin(kills::after_each_write(world, json!({}))))
        .of("network")
        .quick(),
    fault("killed_after_each_write_worker", FINISHES, 10, |world| Box::pin(kills::after_each_write(world, json!({}))))
        .of("worker"),
    fault("killed_after_each_write_of_a_script", FINISHES, 20, |world| {
        Box::pin(kills::after_each_write_of_a_script(world))
    })
    .of("operatingsystemconfig"),
    fault("leader_half_open", "the leader keeps the Lease and serves", 60, |world| {
        Box::pin(replicas::leader_half_open(world))
    })
    .busy(),
    fault("leader_killed", FOLLOWS, 45, |world| Box::pin(replicas::leader_killed(world))),
    fault("leader_suspended", FOLLOWS, 45, |world| Box::pin(replicas::leader_suspended(world))),
    fault("leader_cut_off", FOLLOWS, 45, |world| Box::pin(replicas::leader_cut_off(world))),
    fault("api_server_killed_for_20_s", SERVES, 20, |world| Box::pin(servers::killed(world, API_SERVER, 20))),
    fault("api_server_killed_for_3_s", SERVES, 20, |world| Box::pin(servers::killed(world, API_SERVER, 3))).quick(),
    fault("api_server_killed_while_300_objects_wait", SERVES, 30, |world| Box::pin(servers::killed_under_load(world)))
        .storming(),
    fault("writes_refused_while_300_objects_wait", SERVES, 30, |world| Box::pin(answers::writes_refused(world)))
        .retrying(),
    fault("etcd_killed_for_10_s", SERVES, 20, |world| Box::pin(servers::killed(world, ETCD, 10))),
    fault("both_servers_killed_for_5_s", SERVES, 20, |world| Box::pin(servers::killed(world, BOTH, 5))),
    fault("both_servers_suspended_for_20_s", SERVES, 20, |world| Box::pin(servers::suspended(world))),
    fault("unreachable_at_the_start", SERVES, 20, |world| Box::pin(servers::unreachable_at_the_start(world))).quick(),
    fault("restored_from_an_older_snapshot", SERVES, 25, |world| Box::pin(servers::restored_from_a_snapshot(world))),
    fault("connections_cut_for_5_s", SERVES, 20, |world| Box::pin(network::weather(world, Weather::Cut, 5))).quick(),
    fault("silent_for_20_s", SERVES, 20, |world| Box::pin(network::weather(world, Weather::Silent, 20))),
    fault("answers_truncated_for_10_s", SERVES, 20, |world| {
        Box::pin(network::weather(world, Weather::Truncating(4000), 10))
    })
    .busy(),
    fault("slow_network", "objects are served meanwhile", 60, |world| Box::pin(network::slow(world))),
    fault("watch_ends_at_once", SERVES, 20, |world| Box::pin(answers::watch_ends_at_once(world))),
    fault("watch_expired", SERVES, 20, |world| Box::pin(answers::watch_expired(world))),
    fault("watch_reports_an_error", SERVES, 20, |world| Box::pin(answers::watch_reports_an_error(world))),
    fault("watch_event_is_no_json", SERVES, 20, |world| Box::pin(answers::watch_event_is_no_json(world))),
    fault("continue_token_expired", "the list is read whole", 20, |world| {
        Box::pin(answers::continue_token_expired(world))
    })
    .quick(),
    fault("continue_token_of_a_comparison_expired", "the list is read whole", 20, |world| {
        Box::pin(answers::continue_token_of_a_comparison_expired(world))
    }),
    fault("write_answered_404_by_something_in_between", "the write is repeated", 20, |world| {
        Box::pin(answers::first_write_answered(world, vec![Answer::text(404, None), Answer::status(404, "NotFound")]))
    }),
    fault("write_answered_3xx_or_with_another_object", "the write is repeated", 20, |world| {
        let json = |status, body: &str| Answer {
            content_type: "application/json",
            body: body.to_owned(),
            ..Answer::text(status, None)
        };
        Box::pin(answers::first_write_answered(
            world,
            vec![
                json(302, r#"{"login":"needed"}"#),
                json(200, r#"{"login":"needed"}"#),
                Answer::text(304, None),
                Answer::text(200, None),
            ],
        ))
    }),
    fault("every_request_answered_4xx_or_5xx", SERVES, 20, |world| {
        let retry = |answer: Answer| Answer { retry_after: Some(1), ..answer };
        Box::pin(answers::all_requests_answered(
            world,
            vec![
                Answer::status(500, "InternalError"),
                Answer::text(502, None),
                Answer::status(503, "ServiceUnavailable"),
                retry(Answer::status(503, "ServiceUnavailable")),
                Answer::text(429, None),
                retry(Answer::text(429, None)),
                Answer::status(403, "Forbidden"),
                Answer::text(404, None),
                Answer::status(504, "Timeout"),
            ],
        ))
    })
    .busy(),
    fault("retry_after_in_the_header_alone", "no request before its time", 20, |world| {
        Box::pin(answers::retry_after(world))
    }),
    fault("events_hang", "objects are served meanwhile", 10, |world| Box::pin(answers::events_hang(world))).storming(),
    fault("permissions_taken_away", SERVES, 20, |world| Box::pin(cluster::permissions_taken_away(world))),
    fault("definition_deleted_and_made_anew", SERVES, 20, |world| Box::pin(cluster::definition_deleted(world))),
    fault("namespace_deleted_and_made_anew", SERVES, 20, |world| Box::pin(cluster::namespace_deleted(world))),
    fault("token_rotated", SERVES, 10, |world| Box::pin(cluster::token_rotated(world))),
    fault("conflict_storm", "objects are served meanwhile", 20, |world| Box::pin(replicas::conflict_storm(world)))
        .storming()
        .quick(),
    fault("two_replicas_without_election", "objects are served once", 20, |world| {
        Box::pin(replicas::two_without_election(world))
    })
    .storming()
    .of("worker"),
    fault("status_times_an_hour_ahead", "no wait is longer than its delay", 60, |world| {
        Box::pin(clocks::times_an_hour_ahead(world))
    }),
    fault("clock_an_hour_ahead", SERVES, 20, |world| Box::pin(clocks::an_hour_off(world, 3600))).busy(),
    fault("clock_an_hour_behind", SERVES, 20, |world| Box::pin(clocks::an_hour_off(world, -3600))).busy(),
    fault("clock_of_the_leader_an_hour_ahead", FOLLOWS, 45, |world| {
        Box::pin(clocks::of_replicas_differ(world, [3600, 0]))
    }),
    fault("clock_of_the_leader_an_hour_behind", FOLLOWS, 45, |world| {
        Box::pin(clocks::of_replicas_differ(world, [-3600, 0]))
    }),
    fault("sigterm_in_each_state", "the process ends with success", 20, |world| {
        Box::pin(replicas::sigterm_in_each_state(world))
    }),
];

pub(crate) fn readme_lists_every_fault() -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/README.md");
    let text = fs::read_to_string(path)?;
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
    let row = |fault: &Fault| {
        let runs = if fault.is_quick { "always" } else { "`--faults`" };
        format!("| `{}` | {} | {} s | {runs} |", fault.name, fault.promised, fault.within.as_secs())
    };
    let expected: Vec<_> = FAULTS.iter().map(row).collect();
    ensure(rows == expected, format!("the table of README.md should be:\n{}", expected.join("\n")))
}
