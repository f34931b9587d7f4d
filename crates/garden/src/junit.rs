//! The steps of a walkthrough as `JUnit`'s XML, which every CI system reads.

use std::fmt::Write as _;

use crate::steps::Step;

/// One test suite, with a test case for each step.
pub(crate) fn report(suite: &str, steps: &[Step]) -> String {
    let failures = steps.iter().filter(|step| step.failure.is_some()).count();
    let seconds: f64 = steps.iter().map(|step| step.took.as_secs_f64()).sum();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" \
         time=\"{seconds:.3}\">\n",
        escaped(suite),
        steps.len()
    );
    for Step { name, took, failure } in steps {
        let (suite, name, time) = (escaped(suite), escaped(name), took.as_secs_f64());
        // Writing to a string cannot fail.
        let _ = write!(xml, "  <testcase classname=\"{suite}\" name=\"{name}\" time=\"{time:.3}\">");
        if let Some(failure) = failure {
            let _ = write!(xml, "<failure message=\"{}\"/>", escaped(failure));
        }
        xml.push_str("</testcase>\n");
    }
    xml.push_str("</testsuite>\n");
    xml
}

/// The text as the value of an attribute. XML has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn failures_are_counted_and_text_is_escaped() {
        let step = |name: &str, failure: Option<&str>| Step {
            name: name.to_owned(),
            took: Duration::from_millis(1500),
            failure: failure.map(str::to_owned),
        };
        let xml = report("a garden", &[step("one", None), step("two <b>", Some("\"x\" & y\nz\u{1b}"))]);
        assert!(xml.contains(r#"<testsuite name="a garden" tests="2" failures="1" time="3.000">"#), "{xml}");
        assert!(xml.contains(r#"<testcase classname="a garden" name="one" time="1.500"></testcase>"#), "{xml}");
        assert!(xml.contains(r#"name="two &lt;b&gt;""#), "{xml}");
        assert!(xml.contains("message=\"&quot;x&quot; &amp; y&#10;z\u{fffd}\""), "{xml}");
    }
}
