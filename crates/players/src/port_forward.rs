//! Forwarding of ports: stands for this part of a kubelet's server (`pkg/kubelet` of Kubernetes, and the protocol
//! `portforward.k8s.io`). A client opens two streams for each connection: one for its bytes, and one for an error. Leaves
//! out limits of time: a forwarding lasts until the client ends it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;

use crate::error::Error;
use crate::spdy::{Frame, Reader, Writer};

/// How many frames wait for a slow reader. A connection that is slower delays the others of its forwarding.
const WAITING: usize = 16;

/// The longest piece of data that is sent at once.
const PIECE: usize = 32 * 1024;

/// Connects with a port of a Pod. The error is shown to the user.
pub(crate) trait Dial: Send + Sync + 'static {
    fn dial(&self, port: u16) -> impl Future<Output = Result<TcpStream, String>> + Send;
}

/// The streams of one connection, as far as the client has opened them.
#[derive(Debug, Default)]
struct Connection {
    port: u16,
    error: Option<u32>,
    data: Option<u32>,
}

/// Serves one forwarding, until the client ends it.
pub(crate) async fn serve<S>(client: S, pod: Arc<impl Dial>) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut from, mut to) = split(client);
    let (frames, mut outgoing) = channel::<Vec<u8>>(WAITING);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(frame) = outgoing.recv().await {
            if to.write_all(&frame).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
    });
    let (mut reader, mut writer) = (Reader::new(), Writer::new());
    let mut halves: HashMap<String, Connection> = HashMap::new();
    let mut open: HashMap<u32, Sender<Vec<u8>>> = HashMap::new();
    loop {
        match reader.read(&mut from).await? {
            Frame::Open { stream, headers } => {
                send(&frames, writer.accept(stream)).await?;
                let Some(connection) = joined(&mut halves, stream, &headers) else { continue };
                let (bytes, incoming) = channel(WAITING);
                if let (Some(error), Some(data)) = (connection.error, connection.data) {
                    open.insert(data, bytes);
                    let (frames, pod) = (frames.clone(), pod.clone());
                    tasks.spawn(async move { carry(&*pod, connection.port, (error, data), incoming, &frames).await });
                }
            }
            Frame::Data { stream, last, bytes } => {
                if let Some(connection) = open.get(&stream) {
                    // Fails if the Pod has closed the connection.
                    let _ = connection.send(bytes).await;
                }
                if last {
                    open.remove(&stream);
                }
            }
            Frame::Reset { stream } => drop(open.remove(&stream)),
            Frame::Ping { number } => send(&frames, Writer::pong(number)).await?,
            Frame::Other => {}
        }
    }
}

async fn send(frames: &Sender<Vec<u8>>, frame: Vec<u8>) -> Result<(), Error> {
    let closed = |_| std::io::ErrorKind::BrokenPipe.into();
    frames.send(frame).await.map_err(closed).map_err(Error::io("write to", "the client of a port forwarding"))
}

/// Adds a stream to its connection. Returns the connection once both of its streams exist.
fn joined(halves: &mut HashMap<String, Connection>, stream: u32, headers: &[(String, String)]) -> Option<Connection> {
    let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    // Clients of old do not count their connections: they open the streams of each in turn.
    let request = header("requestid").unwrap_or_default().to_owned();
    let connection = halves.entry(request.clone()).or_default();
    connection.port = header("port").and_then(|port| port.parse().ok()).unwrap_or(connection.port);
    match header("streamtype") {
        Some("error") => connection.error = Some(stream),
        Some("data") => connection.data = Some(stream),
        _ => {}
    }
    let complete = connection.error.is_some() && connection.data.is_some();
    if complete { halves.remove(&request) } else { None }
}

/// Carries the bytes of one connection, and ends both of its streams.
async fn carry(
    pod: &impl Dial,
    port: u16,
    (error, data): (u32, u32),
    incoming: Receiver<Vec<u8>>,
    frames: &Sender<Vec<u8>>,
) {
    let problem = match pod.dial(port).await {
        Ok(server) => {
            exchange(server, data, incoming, frames).await;
            String::new()
        }
        Err(problem) => problem,
    };
    // Fails if the client has ended the forwarding.
    let _ = frames.send(Writer::data(error, problem.as_bytes(), true)).await;
    let _ = frames.send(Writer::data(data, &[], true)).await;
}

/// Carries bytes both ways, until the server has sent all of its bytes.
async fn exchange(server: TcpStream, data: u32, mut incoming: Receiver<Vec<u8>>, frames: &Sender<Vec<u8>>) {
    let (mut from, mut to) = server.into_split();
    let forth = async {
        while let Some(bytes) = incoming.recv().await {
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // Fails if the server has closed the connection.
        let _ = to.shutdown().await;
    };
    let back = async {
        let mut bytes = vec![0; PIECE];
        while let Ok(length @ 1..) = from.read(&mut bytes).await {
            let frame = Writer::data(data, bytes.get(..length).unwrap_or_default(), false);
            if frames.send(frame).await.is_err() {
                return;
            }
        }
    };
    let mut back = std::pin::pin!(back);
    tokio::select! {
        () = &mut back => {}
        () = forth => back.await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio::net::TcpListener;

    use super::*;

    /// A Pod with one port.
    struct Pod(u16);

    impl Dial for Pod {
        async fn dial(&self, port: u16) -> Result<TcpStream, String> {
            if port == 80 {
                TcpStream::connect(("127.0.0.1", self.0)).await.map_err(|error| error.to_string())
            } else {
                Err(format!("no port {port}"))
            }
        }
    }

    fn headers(kind: &str, port: &str) -> Vec<(String, String)> {
        [("streamtype", kind), ("port", port), ("requestid", "7")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    #[test]
    fn connection_is_complete_with_both_of_its_streams() {
        let mut halves = HashMap::new();
        assert!(joined(&mut halves, 1, &headers("error", "80")).is_none());
        let connection = joined(&mut halves, 3, &headers("data", "80")).unwrap();
        assert_eq!((connection.port, connection.error, connection.data), (80, Some(1), Some(3)));
        assert!(halves.is_empty());
    }

    /// What a client gets that asks a port of a Pod, whose server sends back what it gets.
    async fn ask(port: u16, question: &[u8]) -> Vec<Frame> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pod = Pod(listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            let (mut from, mut to) = listener.accept().await.unwrap().0.into_split();
            tokio::io::copy(&mut from, &mut to).await.unwrap();
        });
        let (frames, mut received) = channel(WAITING);
        let (sender, incoming) = channel(WAITING);
        sender.send(question.to_vec()).await.unwrap();
        drop(sender);
        carry(&pod, port, (1, 3), incoming, &frames).await;
        drop(frames);
        let mut bytes = Vec::new();
        while let Some(frame) = received.recv().await {
            bytes.extend(frame);
        }
        let (mut reader, mut rest) = (Reader::new(), bytes.as_slice());
        let mut frames = Vec::new();
        while !rest.is_empty() {
            frames.push(reader.read(&mut rest).await.unwrap());
        }
        frames
    }

    fn data(stream: u32, bytes: &[u8], last: bool) -> Frame {
        Frame::Data { stream, last, bytes: bytes.to_vec() }
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_and_both_streams_end_with_the_connection() {
        assert_eq!(ask(80, b"ping").await, [data(3, b"ping", false), data(1, b"", true), data(3, b"", true)]);
    }

    #[tokio::test]
    async fn port_that_cannot_be_reached_is_an_error_in_words() {
        assert_eq!(ask(81, b"ping").await, [data(1, b"no port 81", true), data(3, b"", true)]);
    }

    #[tokio::test]
    async fn forwarding_ends_when_its_client_has_gone() {
        let (client, server) = duplex(64);
        drop(client);
        assert!(serve(server, Arc::new(Pod(0))).await.is_err());
    }
}
