//! The status of a Pod: what a kubelet reports. Leaves out ephemeral containers, resizing and eviction.
//!
//! A container that does not run is reported as running and ready at once. A Pod that is to end, such as that of a Job,
//! has ended at once, with success.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStatus, HostIP, Pod,
    PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Scheme of the names of containers and images.
const RUNTIME: &str = "mock://";

/// One container that really runs, as its supervisor sees it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// What it does now.
    pub state: ContainerState,
    /// How it ended the last time.
    pub last: ContainerState,
    /// How often it was restarted.
    pub restarts: i32,
    /// Whether its probes passed.
    pub ready: bool,
}

/// What is known of a Pod.
#[derive(Debug)]
pub struct Observed {
    /// Address of the Pod.
    pub address: IpAddr,
    /// Address of its node.
    pub host: IpAddr,
    /// The containers that really run. All others are reported.
    pub running: BTreeMap<String, View>,
}

/// The phase and the readiness that a Pod gets without running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Succeeded,
}

/// The status of a Pod at a time. Composing it again changes nothing. Fields of others, such as the QoS class, stay as
/// they are.
#[must_use]
pub fn compose(pod: &Pod, observed: &Observed, now: &Time) -> PodStatus {
    let mut status = pod.status.clone().unwrap_or_default();
    let started = status.start_time.get_or_insert_with(|| now.clone()).clone();
    let phase = phase(pod, observed);
    let no_containers = Vec::new();
    let spec = pod.spec.as_ref();
    let containers = spec.map_or(&no_containers, |spec| &spec.containers);
    let init = spec.and_then(|spec| spec.init_containers.as_ref()).unwrap_or(&no_containers);
    let describe = |container: &Container, first: bool| {
        let id = format!("{RUNTIME}{}/{}", pod.metadata.uid.as_deref().unwrap_or_default(), container.name);
        let view = observed.running.get(&container.name).cloned();
        let ends = first && !is_sidecar(container) || phase == Phase::Succeeded;
        let view = view.unwrap_or_else(|| reported(ends, first, &started, &id));
        ContainerStatus {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            image_id: format!("{RUNTIME}{}", container.image.as_deref().unwrap_or_default()),
            container_id: Some(id),
            ready: view.ready,
            started: Some(view.state.running.is_some()),
            restart_count: view.restarts,
            last_state: (view.last != ContainerState::default()).then_some(view.last),
            state: Some(view.state),
            ..ContainerStatus::default()
        }
    };
    let of_init: Vec<_> = init.iter().map(|container| describe(container, true)).collect();
    let of_containers: Vec<_> = containers.iter().map(|container| describe(container, false)).collect();
    let ready = phase == Phase::Running && of_containers.iter().all(|container| container.ready);
    let conditions = status.conditions.get_or_insert_default();
    set(conditions, "PodReadyToStartContainers", true, now);
    set(conditions, "Initialized", true, now);
    set(conditions, "ContainersReady", ready, now);
    set(conditions, "Ready", ready, now);
    set(conditions, "PodScheduled", true, now);
    status.phase = Some(if phase == Phase::Succeeded { "Succeeded" } else { "Running" }.to_owned());
    status.pod_ip = Some(observed.address.to_string());
    status.pod_ips = Some(vec![PodIP { ip: observed.address.to_string() }]);
    status.host_ip = Some(observed.host.to_string());
    status.host_ips = Some(vec![HostIP { ip: observed.host.to_string() }]);
    status.init_container_statuses = (!of_init.is_empty()).then_some(of_init);
    status.container_statuses = Some(of_containers);
    status
}

/// The address that a Pod's status reports, if there is one.
pub(crate) fn address(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

/// Whether a Pod has run to its end.
pub(crate) fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// A Pod that is only reported has ended at once, if it is to end at all.
fn phase(pod: &Pod, observed: &Observed) -> Phase {
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    if observed.running.is_empty() && policy.is_some_and(|policy| policy != "Always") {
        Phase::Succeeded
    } else {
        Phase::Running
    }
}

/// The containers that are only reported run without fault since their Pod started, or ended without fault.
fn reported(ends: bool, first: bool, started: &Time, id: &str) -> View {
    let state = if ends {
        let terminated = ContainerStateTerminated {
            reason: Some("Completed".to_owned()),
            started_at: Some(started.clone()),
            finished_at: Some(started.clone()),
            container_id: Some(id.to_owned()),
            ..ContainerStateTerminated::default()
        };
        ContainerState { terminated: Some(terminated), ..ContainerState::default() }
    } else {
        let running = ContainerStateRunning { started_at: Some(started.clone()) };
        ContainerState { running: Some(running), ..ContainerState::default() }
    };
    // An init container that has completed counts as ready.
    View { state, ready: !ends || first, ..View::default() }
}

/// An init container that is to be restarted runs beside the containers.
fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Sets a condition. Its time changes only with its status.
fn set(conditions: &mut Vec<PodCondition>, type_: &str, holds: bool, now: &Time) {
    let status = if holds { "True" } else { "False" };
    let transition = Some(now.clone());
    match conditions.iter_mut().find(|condition| condition.type_ == type_) {
        Some(condition) if condition.status == status => {}
        Some(condition) => {
            status.clone_into(&mut condition.status);
            condition.last_transition_time = transition;
        }
        None => conditions.push(PodCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            last_transition_time: transition,
            ..PodCondition::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: &Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "a", "uid": "1" }, "spec": spec })).unwrap()
    }

    fn observed(running: &[(&str, bool)]) -> Observed {
        let view = |ready| View { ready, restarts: 2, ..View::default() };
        Observed {
            address: IpAddr::from([10, 243, 0, 3]),
            host: IpAddr::from([10, 98, 1, 1]),
            running: running.iter().map(|(name, ready)| ((*name).to_owned(), view(*ready))).collect(),
        }
    }

    fn time(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    fn condition<'a>(status: &'a PodStatus, type_: &str) -> &'a PodCondition {
        status.conditions.iter().flatten().find(|condition| condition.type_ == type_).unwrap()
    }

    #[test]
    fn pod_that_does_not_run_is_ready_at_once() {
        let pod = pod(&json!({ "containers": [{ "name": "c" }], "restartPolicy": "Always" }));
        let status = compose(&pod, &observed(&[]), &time(1));
        assert_eq!(status.phase.as_deref(), Some("Running"));
        assert_eq!(condition(&status, "Ready").status, "True");
        assert_eq!(status.pod_ip.as_deref(), Some("10.243.0.3"));
    }

    #[test]
    fn pod_of_a_job_that_does_not_run_has_succeeded() {
        let pod = pod(&json!({ "containers": [{ "name": "c" }], "restartPolicy": "Never" }));
        let status = compose(&pod, &observed(&[]), &time(1));
        assert_eq!(status.phase.as_deref(), Some("Succeeded"));
        assert_eq!(condition(&status, "Ready").status, "False");
        let container = &status.container_statuses.unwrap()[0];
        assert_eq!(container.state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 0);
    }

    #[test]
    fn pod_is_ready_only_if_every_container_that_runs_is() {
        let pod = pod(&json!({ "containers": [{ "name": "c" }, { "name": "reported" }] }));
        let waiting = compose(&pod, &observed(&[("c", false)]), &time(1));
        assert_eq!(condition(&waiting, "Ready").status, "False");
        assert_eq!(waiting.container_statuses.as_ref().unwrap()[0].restart_count, 2);
        let ready = compose(&pod, &observed(&[("c", true)]), &time(1));
        assert_eq!(condition(&ready, "Ready").status, "True");
    }

    #[test]
    fn init_container_has_completed_and_sidecar_runs() {
        let pod = pod(&json!({
            "initContainers": [{ "name": "init" }, { "name": "sidecar", "restartPolicy": "Always" }],
            "containers": [{ "name": "c" }],
        }));
        let status = compose(&pod, &observed(&[]), &time(1));
        let init = status.init_container_statuses.unwrap();
        assert!(init[0].state.as_ref().unwrap().terminated.is_some() && init[0].ready);
        assert!(init[1].state.as_ref().unwrap().running.is_some() && init[1].ready);
    }

    #[test]
    fn status_that_did_not_change_is_composed_alike_later() {
        let mut pod = pod(&json!({ "containers": [{ "name": "c" }] }));
        let first = compose(&pod, &observed(&[]), &time(1));
        pod.status = Some(first.clone());
        assert_eq!(compose(&pod, &observed(&[]), &time(9)), first);
        let unready = compose(&pod, &observed(&[("c", false)]), &time(9));
        assert_eq!(condition(&unready, "Ready").last_transition_time, Some(time(9)));
        assert_eq!(condition(&unready, "Initialized").last_transition_time, Some(time(1)));
    }
}
