//! Orders to a garden that runs: a line of JSON to the inside's socket, and a line that answers it.

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use crate::doors::Socket;
use crate::error::GardenError;
use crate::layout::Layout;
use crate::processes::Processes;

/// An order.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    /// Ends this process, and starts its program again.
    Restart(String),
}

/// Asks a running garden to end a process, and to start its program again.
pub async fn restart(layout: &Layout, process: &str) -> Result<(), GardenError> {
    let doing = "ask the garden to restart a process";
    let order = serde_json::to_string(&Order::Restart(process.to_owned()));
    let order = order.map_err(|error| GardenError::Unusable(error.to_string()))?;
    let asked = async {
        let mut stream = Socket::at(&layout.control())?.connect().await?;
        stream.write_all(format!("{order}\n").as_bytes()).await?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).await?;
        Ok(answer)
    };
    let answer = asked.await.map_err(GardenError::system(doing))?;
    match serde_json::from_str(&answer) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(problem)) => Err(GardenError::Unusable(problem)),
        Err(_) => Err(GardenError::Unusable("the garden ended before it answered".to_owned())),
    }
}

/// Carries out orders, one after the other, until it is dropped.
pub(crate) async fn serve(layout: &Layout, processes: &Processes) -> Result<(), GardenError> {
    let listening = Socket::at(&layout.control()).and_then(|socket| socket.listen());
    let listener = listening.map_err(GardenError::system("listen for orders"))?;
    loop {
        let (stream, _) = listener.accept().await.map_err(GardenError::system("accept an order"))?;
        // A command that ends before it has its answer does not disturb the garden.
        let _ = answer(stream, processes).await;
    }
}

async fn answer(stream: UnixStream, processes: &Processes) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let done: Result<(), String> = match serde_json::from_str(&line) {
        Ok(Order::Restart(name)) => processes.restart(&name).await.map_err(|error| error.to_string()),
        Err(error) => Err(format!("this garden was started by another version of this command: {error}")),
    };
    let text = serde_json::to_string(&done).unwrap_or_default();
    stream.write_all(format!("{text}\n").as_bytes()).await
}
