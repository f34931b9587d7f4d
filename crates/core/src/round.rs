//! The pure part of a reconcile: what a decision and the kind's outcome look at.

use std::sync::Arc;

use extension_contract::update_time;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::decide::attempt::{self, Scripting};
use crate::decide::plan::Report;
use crate::decide::view::{ObjectView, ShootFacts};
use crate::invalid::Invalid;
use crate::kind::{Input, MockKind, Object, Outcome, SecretKey};
use crate::script::language::Script;
use crate::script::{Fault, Record, Subject, drawn_seed, source};

/// One reconcile of one object, at one reading of the clock.
pub(crate) struct Round<'a, K: MockKind> {
    pub(crate) object: &'a Object<K>,
    /// What is known of the Cluster's Shoot.
    pub(crate) facts: Option<&'a ShootFacts>,
    pub(crate) now: Timestamp,
    /// How far a time in the object was ahead of our clock when this process first met it; the text identifies the
    /// writing of that time.
    pub(crate) lead: &'a (dyn Fn(&str, Timestamp) -> SignedDuration + Sync),
}

impl<'a, K: MockKind> Round<'a, K> {
    /// What the decision looks at in the object.
    pub(crate) fn view(&self) -> ObjectView<'a> {
        let Self { object, lead, .. } = self;
        let status = object.status.as_ref();
        let last = status.and_then(|status| status.last_operation.as_ref());
        // A retry may write the same time once more, since none is before the request.
        let version = object.metadata.resource_version.as_deref().unwrap_or_default();
        let lead = last.map(|last| lead(version, last.last_update_time.0));
        ObjectView { meta: &object.metadata, base: &object.base, status, lead: lead.unwrap_or_default() }
    }

    /// What the decision needs to know about scripts. `file` is the script of the process.
    pub(crate) fn scripting(&self, file: Option<Arc<Script>>) -> Scripting<'a> {
        let Self { object, facts, .. } = *self;
        let uid = facts.map(|facts| facts.uid.as_str()).filter(|uid| !uid.is_empty());
        let annotation = facts.and_then(|facts| facts.script.as_ref());
        Scripting {
            script: source::strongest(annotation, object.base.script.as_ref(), file),
            subject: Subject {
                kind: K::KIND.name,
                namespace: object.namespace(),
                name: object.name(),
                shoot: self.technical_id(),
                purpose: object.spec.purpose(),
                pools: object.spec.pools(),
            },
            record: self.record(),
            drawn_seed: drawn_seed(uid.or(object.metadata.uid.as_deref()).unwrap_or_default()),
            timeout: SignedDuration::try_from(K::KIND.timeout).unwrap_or(SignedDuration::MAX),
        }
    }

    /// The recorded attempt, its times as if our clock had been right when they were written.
    fn record(&self) -> Option<Record> {
        let status = self.object.status.as_ref();
        let record = Record::find(status.and_then(|status| status.conditions.as_deref()).unwrap_or_default())?;
        let written = attempt::written_at(&record);
        let lead = (self.lead)(&written.to_string(), written);
        Some(record.earlier(lead))
    }

    /// The Secret that the kind's outcome needs. The error says that no such Secret can exist.
    pub(crate) fn secret(&self) -> Result<Option<SecretKey>, Invalid> {
        let key = K::secret(self.object);
        key.map(|key| if key.check().is_ok() { Ok(key) } else { Err(key.missing()) }).transpose()
    }

    /// What the kind reports.
    pub(crate) fn outcome(
        &self,
        options: &K::Options,
        report: &Report,
        shoot: &K::Shoot,
        secret: Option<&Secret>,
    ) -> Result<Outcome, Invalid> {
        let input = Input {
            options,
            time: update_time(&self.object.metadata, self.now),
            technical_id: self.technical_id(),
            repeat_time: report.fault() == Some(Fault::RepeatTime),
            failed_pools: report.record().map(Record::failed_pools).unwrap_or_default(),
            shoot,
            secret,
        };
        let outcome = K::outcome(self.object, &input)?;
        outcome.secrets.iter().try_for_each(|wanted| SecretKey::of(&wanted.secret.metadata).check())?;
        Ok(outcome)
    }

    /// The Shoot's name in the seed.
    fn technical_id(&self) -> &'a str {
        let technical_id = self.facts.map(|facts| facts.technical_id.as_str()).filter(|id| !id.is_empty());
        technical_id.unwrap_or_else(|| K::technical_id(self.object))
    }
}
