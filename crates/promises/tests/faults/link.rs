//! A TCP port between a controller and its API server, with the faults of a network.

use std::collections::HashSet;
use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gardener_testbed::port;
use libtest_mimic::Failed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// What the network does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Weather {
    /// It forwards everything.
    #[default]
    Fair,
    /// It closes all connections, and accepts none.
    Cut,
    /// It accepts connections and bytes, and forwards nothing.
    Silent,
    /// Each piece of at most 4 KiB takes this long.
    Slow(Duration),
    /// It closes each new connection after this many bytes of answers.
    Truncating(usize),
}

/// A port that forwards to a server.
pub(crate) struct Link {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    _accepting: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Shared {
    weather: watch::Sender<Weather>,
    /// Connections with a lower number are silent.
    silent_below: watch::Sender<usize>,
    accepted: AtomicUsize,
    /// Requests that followed another one on its connection.
    further: AtomicUsize,
    /// The controllers' ports of all connections so far.
    peers: Mutex<HashSet<u16>>,
}

impl Link {
    /// Opens a port that forwards to a port of the loopback.
    pub(crate) async fn open(to: u16) -> Result<Self, Failed> {
        Self::open_at(port::free()?, to).await
    }

    pub(crate) async fn open_at(port: u16, to: u16) -> Result<Self, Failed> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let shared = Arc::new(Shared::default());
        let accepting = accept(listener, to, shared.clone());
        Ok(Self { port, shared, _accepting: AbortOnDropHandle::new(tokio::spawn(accepting)) })
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// From now on, the existing connections accept bytes and forward nothing. New connections work.
    pub(crate) fn forget_connections(&self) {
        self.shared.silent_below.send_replace(self.connections());
    }

    /// From now on, the packets of the existing connections vanish. New connections work. The rules end with this value.
    pub(crate) fn lose_packets(&self) -> Result<Rules, Failed> {
        let peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut rules = Rules(Vec::new());
        for peer in peers {
            for (from, to) in [(peer, self.port), (self.port, peer)] {
                let rule = format!("INPUT -i lo -p tcp --sport {from} --dport {to} -j DROP");
                iptables("-A", &rule)?;
                rules.0.push(rule);
            }
        }
        // The packets that would tell of the end vanish, too.
        self.forget_connections();
        Ok(rules)
    }

    /// How many connections were accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.accepted.load(Relaxed)
    }

    /// How many requests have arrived so far, those on connections that were closed at once included.
    pub(crate) fn requests(&self) -> usize {
        self.connections() + self.shared.further.load(Relaxed)
    }
}

/// Rules of iptables. They are removed when this value is dropped.
pub(crate) struct Rules(Vec<String>);

impl Drop for Rules {
    fn drop(&mut self) {
        for rule in &self.0 {
            let _ = iptables("-D", rule);
        }
    }
}

fn iptables(action: &str, rule: &str) -> Result<(), Failed> {
    let output = Command::new("iptables").args(["-w", action]).args(rule.split(' ')).output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned().into()) }
}

async fn accept(listener: TcpListener, to: u16, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((near, peer)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        shared.peers.lock().unwrap_or_else(PoisonError::into_inner).insert(peer.port());
        let number = shared.accepted.fetch_add(1, Relaxed);
        let connection = Connection { number, shared: shared.clone(), turns: Turns::default() };
        connections.spawn(connection.run(near, to));
    }
}

struct Connection {
    number: usize,
    shared: Arc<Shared>,
    turns: Turns,
}

/// Counts requests without reading them: of HTTP/1.1 in TLS, a request is what the controller says after an answer.
#[derive(Default)]
struct Turns {
    /// Whether the server has spoken last.
    is_answered: AtomicBool,
    /// How often the controller has spoken after the server.
    questions: AtomicUsize,
}

impl Turns {
    /// Notes who speaks. Returns whether that is a request after the first one on this connection. The first one
    /// follows the handshake without waiting.
    fn is_further_request(&self, is_controller: bool) -> bool {
        let was_answered = self.is_answered.swap(!is_controller, Relaxed);
        is_controller && was_answered && self.questions.fetch_add(1, Relaxed) > 0
    }
}

impl Connection {
    async fn run(self, near: TcpStream, to: u16) -> io::Result<()> {
        near.set_nodelay(true)?;
        let mut weather = self.shared.weather.subscribe();
        let at_first = *weather.borrow();
        let limit = match at_first {
            Weather::Cut => return Ok(()),
            Weather::Truncating(bytes) => bytes,
            _ => usize::MAX,
        };
        let far = TcpStream::connect(("127.0.0.1", to)).await?;
        far.set_nodelay(true)?;
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        let forwarding = async {
            let ended = tokio::select! {
                ended = self.forward(near_in, far_out, None) => ended,
                ended = self.forward(far_in, near_out, Some(limit)) => ended,
            };
            // Its peer must not learn that the other side has closed a silent connection.
            self.until_noisy().await;
            ended
        };
        let cut = async { weather.wait_for(|weather| *weather == Weather::Cut).await.map(drop) };
        tokio::select! {
            ended = forwarding => ended,
            _ = cut => Ok(()),
        }
    }

    /// Forwards requests, or at most `limit` bytes of answers.
    async fn forward(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, limit: Option<usize>) -> io::Result<()> {
        let is_controller = limit.is_none();
        let mut limit = limit.unwrap_or(usize::MAX);
        let mut buffer = vec![0; 1 << 12];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            if self.turns.is_further_request(is_controller) {
                self.shared.further.fetch_add(1, Relaxed);
            }
            self.until_noisy().await;
            let weather = *self.shared.weather.borrow();
            if let Weather::Slow(pause) = weather {
                sleep(pause).await;
            }
            to.write_all(buffer.get(..length.min(limit)).unwrap_or_default()).await?;
            limit = limit.saturating_sub(length);
            if limit == 0 {
                return Ok(());
            }
        }
    }

    /// Returns when the connection forwards, perhaps never.
    async fn until_noisy(&self) {
        let (mut weather, mut below) = (self.shared.weather.subscribe(), self.shared.silent_below.subscribe());
        if below.wait_for(|below| *below <= self.number).await.is_ok() {
            let _ = weather.wait_for(|weather| *weather != Weather::Silent).await;
        }
    }
}
