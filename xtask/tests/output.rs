//! What a command does when standard output takes no more lines.

use std::fs::OpenOptions;
use std::io;
use std::process::{Command, Output, Stdio};

fn check(stdout: impl Into<Stdio>) -> io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(["script", "check", "quota-exceeded"])
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()?
        .wait_with_output()
}

#[test]
fn ends_without_a_word_when_the_reader_of_its_output_has_ended() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let ended = check(writer).unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(141), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn reports_that_its_output_cannot_be_written() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = check(full).unwrap();
    let error = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1));
    assert!(error.starts_with("error: cannot write to standard output: No space left"), "{error}");
}
