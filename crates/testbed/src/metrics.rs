//! Prometheus' text format, as far as the metrics of Kubernetes and Gardener use it.

/// A sample of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The metric's name.
    pub name: &'a str,
    labels: &'a str,
    /// The value.
    pub value: f64,
}

impl<'a> Sample<'a> {
    /// The value of a label; empty without this label. Escaped characters stay as they are.
    #[must_use]
    pub fn label(&self, name: &str) -> &'a str {
        // A value that holds a quotation mark and a comma would end too early. No label that is read here has one.
        let mut labels = self.labels.split("\",").map(|label| label.trim_end_matches('"'));
        labels.find_map(|label| label.split_once("=\"").filter(|(key, _)| *key == name)).unwrap_or_default().1
    }
}

/// All samples that have labels. Lines of another form are skipped.
pub fn samples(metrics: &str) -> impl Iterator<Item = Sample<'_>> {
    metrics.lines().filter_map(|line| {
        let (name, rest) = line.split_once('{')?;
        let (labels, value) = rest.rsplit_once("} ")?;
        Some(Sample { name, labels, value: value.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_samples_without_labels_are_skipped() {
        let text = "# TYPE a gauge\na 1\na{b=\"c\",d=\"e f\"} 2.5\na{b=\"c\"} x\na{} 1e+06\n";
        let read: Vec<_> = samples(text).map(|of| (of.name, of.label("b"), of.label("d"), of.value)).collect();
        assert_eq!(read, [("a", "c", "e f", 2.5), ("a", "", "", 1e6)]);
    }
}
