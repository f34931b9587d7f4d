//! Choices that bytes make. Once the bytes are used up, every choice is the first one.

use arbitrary::Unstructured;
use serde_json::{Map, Value, json};

/// Words that mean something to a controller: in an object, in its Cluster, or in a script.
const WORDS: &[&str] = &[
    "",
    "a",
    "mock",
    "shoot--a--b",
    "IPv4",
    "IPv6",
    "provision",
    "reconcile",
    "Failed",
    "Succeeded",
    "True",
    "False",
    "10.250.0.0/16",
    "10.250.1.0/16",
    "fd00:10:250::/48",
    "::ffff:10.0.0.0/104",
    "0.0.0.0/0",
    "AutoInPlaceUpdate",
    "ManualInPlaceUpdate",
    "1.35.2",
    "v1.x",
    "100m",
    "1Gi",
    "-9223372036854775808E",
    "example.org",
    ".",
    "a/../b",
    "ä\u{0}\n",
    "2026-08-20T10:15:30Z",
    "9999-12-30T21:59:59Z",
    "extensions.gardener.cloud/v1alpha1",
    "mock.extensions.gardener.cloud/v1alpha1",
];

/// Names of fields that controllers read where the schema of a CRD does not say which there are.
const FIELDS: &[&str] = &[
    "a",
    "apiVersion",
    "kind",
    "metadata",
    "annotations",
    "spec",
    "status",
    "networking",
    "ipFamilies",
    "nodes",
    "pods",
    "services",
    "technicalID",
    "lastOperation",
    "state",
    "credentials",
    "rotation",
    "networks",
    "name",
    "rules",
    "a.b",
    "",
];

const INTEGERS: &[i64] = &[0, 1, 2, 3, -1, 100, 2_147_483_647, 2_147_483_648, i64::MAX, i64::MIN];

/// Choices.
pub(crate) struct Dice<'a>(Unstructured<'a>);

impl<'a> Dice<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.int_in_range(0..=bound.saturating_sub(1)).unwrap_or_default()
    }

    /// Whether something that happens once in `times` happens.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times).saturating_add(1) == times
    }

    /// One of these. Returns `None` if there are none.
    pub(crate) fn pick<'b, T>(&mut self, choices: &'b [T]) -> Option<&'b T> {
        choices.get(self.below(choices.len()))
    }

    /// One of these texts.
    pub(crate) fn pick_text(&mut self, choices: &[&str]) -> String {
        self.pick(choices).copied().unwrap_or_default().to_owned()
    }

    pub(crate) fn integer(&mut self) -> i64 {
        if self.one_in(4) { self.0.arbitrary().unwrap_or_default() } else { self.pick(INTEGERS).copied().unwrap_or(0) }
    }

    pub(crate) fn text(&mut self) -> String {
        match self.below(16) {
            0..14 => self.pick_text(WORDS),
            14 => {
                let length = self.below(8);
                (0..length).map(|_| self.0.arbitrary::<char>().unwrap_or('x')).collect()
            }
            _ => self.pick_text(WORDS).repeat(5000),
        }
    }

    /// The name of a field, as rarely one that nothing reads.
    pub(crate) fn field(&mut self) -> String {
        if self.one_in(16) { self.text() } else { self.pick_text(FIELDS) }
    }

    /// Any JSON.
    pub(crate) fn json(&mut self, depth: usize) -> Value {
        let choices = if depth == 0 { 5 } else { 7 };
        match self.below(choices) {
            0 => Value::Null,
            1 => json!(self.one_in(2)),
            2 => json!(self.integer()),
            3 => json!(self.text()),
            4 => self.pick(&[json!(1.5), json!(-0.0), json!(1e300), json!(u64::MAX)]).cloned().unwrap_or_default(),
            5 => (0..self.below(4)).map(|_| self.json(depth.saturating_sub(1))).collect(),
            _ => Value::Object(self.fields(depth)),
        }
    }

    /// Any JSON object.
    pub(crate) fn fields(&mut self, depth: usize) -> Map<String, Value> {
        (0..self.below(4)).map(|_| (self.field(), self.json(depth.saturating_sub(1)))).collect()
    }

    /// Puts any JSON in some place of a value, `times` times.
    pub(crate) fn spoil(&mut self, value: &mut Value, times: usize) {
        for _ in 0..times {
            self.spoil_once(value, 12);
        }
    }

    fn spoil_once(&mut self, value: &mut Value, depth: usize) {
        let count = match value {
            Value::Object(fields) => fields.len(),
            Value::Array(items) => items.len(),
            _ => 0,
        };
        if depth == 0 || count == 0 || self.one_in(8) {
            *value = self.json(3);
            return;
        }
        let place = self.below(count);
        let part = match value {
            Value::Object(fields) => fields.values_mut().nth(place),
            Value::Array(items) => items.get_mut(place),
            _ => None,
        };
        if let Some(part) = part {
            self.spoil_once(part, depth.saturating_sub(1));
        }
    }
}
