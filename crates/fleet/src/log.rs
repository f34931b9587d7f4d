//! The JSON log of a controller, as text for people.

use serde_json::{Map, Value};

/// Returns the log with each JSON object as a line `LEVEL message key=value ...`, without its time. Indentation and
/// lines that are not JSON objects stay.
#[must_use]
pub fn readable(log: &str) -> String {
    log.lines().map(readable_line).collect::<Vec<_>>().join("\n")
}

fn readable_line(line: &str) -> String {
    let text = line.trim_start();
    let Ok(mut event) = serde_json::from_str::<Map<String, Value>>(text) else { return line.to_owned() };
    let indent = line.strip_suffix(text).unwrap_or_default();
    event.remove("timestamp");
    let [level, message] = ["level", "message"].map(|field| event.remove(field).unwrap_or_default());
    let words = [level, message].into_iter().filter_map(|word| word.as_str().map(str::to_owned));
    let fields = event.iter().map(|(key, value)| format!("{key}={}", readable_value(value)));
    indent.to_owned() + &words.chain(fields).collect::<Vec<_>>().join(" ")
}

/// A string without quotes if it is one word.
fn readable_value(value: &Value) -> String {
    let word = value.as_str().filter(|text| !text.is_empty() && !text.contains([' ', '"', '\n']));
    word.map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_become_text_and_others_stay() {
        let log = r#"  {"timestamp":"2026-01-01T00:00:00Z","level":"WARN","message":"cannot write","error":"no room","name":"a","n":3}
  thread 'main' panicked
  {"level":"INFO","message":"ready","span":{"name":"x"}}"#;
        let text = r#"  WARN cannot write error="no room" n=3 name=a
  thread 'main' panicked
  INFO ready span={"name":"x"}"#;
        assert_eq!(readable(log), text);
        assert_eq!(readable(""), "");
    }
}
