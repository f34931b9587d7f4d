//! Lines on standard output.

use std::io::{self, ErrorKind, Write as _};
use std::{fmt, process};

/// The exit code of a process that SIGPIPE has ended, as a shell reports it.
const SIGPIPE: i32 = 128 + 13;

/// Prints a line to standard output. Use it instead of `println!`, which panics once the reader of a pipe has ended, as
/// in `cargo xtask demo | head`.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::out::line(format_args!($($text)*)) };
}

/// Prints a line. If standard output takes no more lines, ends the process: without a word if the reader has ended,
/// otherwise with an error.
pub fn line(text: fmt::Arguments<'_>) {
    // The signal itself must stay ignored: it would also end the process when a server closes a connection.
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => process::exit(SIGPIPE),
        Err(error) => {
            // Standard error may be gone as well.
            let _ = writeln!(io::stderr(), "error: cannot write to standard output: {error}");
            process::exit(1);
        }
    }
}
