//! What the inside tells a person. The outside decides how that is shown.

use std::pin::Pin;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::sync::mpsc::{self, UnboundedReceiver};

/// What the inside tells a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// A step of this name has begun.
    Begun(String),
    /// A step has ended.
    Ended {
        /// Its name.
        step: String,
        /// A line about it.
        line: String,
    },
    /// Lines that a person may need as long as the garden runs, such as the name of a kubeconfig.
    Line(String),
    /// A line about what gardenlet is at. The next such line replaces it.
    Passing(String),
    /// A line about an error.
    Error(String),
}

/// Takes what the inside tells.
pub type Say<'a> = &'a dyn Fn(News);

impl News {
    /// The line of standard output by which the inside tells it.
    #[must_use]
    pub fn encoded(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Decodes a line of standard output. A program that the inside calls may write there as well.
    fn decoded(line: String) -> Self {
        serde_json::from_str(&line).unwrap_or(Self::Line(line))
    }

    /// All that a process tells on its standard output and error, which are pipes, until it ends.
    pub(crate) fn of(process: &mut Child) -> UnboundedReceiver<Self> {
        type Source = (Option<Pin<Box<dyn AsyncRead + Send>>>, fn(String) -> News);
        let sources: [Source; 2] = [
            (process.stdout.take().map(|stdout| Box::pin(stdout) as _), Self::decoded),
            (process.stderr.take().map(|stderr| Box::pin(stderr) as _), Self::Error),
        ];
        let (sender, receiver) = mpsc::unbounded_channel();
        for (source, news) in sources {
            let sender = sender.clone();
            tokio::spawn(async move {
                // Another program may not write UTF-8.
                let mut lines = source.map(|source| BufReader::new(source).split(b'\n'));
                while let Some(lines) = &mut lines
                    && let Ok(Some(line)) = lines.next_segment().await
                    && sender.send(news(String::from_utf8_lossy(&line).into_owned())).is_ok()
                {}
            });
        }
        receiver
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::process::Command;

    use super::*;

    #[tokio::test]
    async fn news_are_what_a_process_tells_on_both_pipes_until_it_ends() {
        let told = [News::Begun("a".to_owned()), News::Line("\nexport A=b\n".to_owned())];
        let mut command = Command::new("printf");
        command.arg("%b\n").args(told.iter().map(|news| news.encoded().replace('\\', "\\\\"))).arg(r"pl\377in");
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut news = News::of(&mut process);
        let mut read = Vec::new();
        while let Some(one) = news.recv().await {
            read.push(one);
        }
        assert_eq!(read, [&told[..], &[News::Line("pl\u{fffd}in".to_owned())]].concat());

        let mut command = Command::new("sh");
        command.args(["-c", "echo it failed >&2"]);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        assert_eq!(News::of(&mut process).recv().await, Some(News::Error("it failed".to_owned())));
    }
}
