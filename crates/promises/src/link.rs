//! A connection to the API server that a test can interrupt.

use std::io;

use libtest_mimic::Failed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::scene::MockScene;
use crate::text;

/// A port that forwards to the API server. While it holds requests, the answers of the API server still arrive, and no
/// connection is closed.
pub(crate) struct Link {
    /// The port on the loopback.
    pub(crate) port: u16,
    holds: watch::Sender<bool>,
    _forwarding: AbortOnDropHandle<()>,
}

impl Link {
    /// Opens a port that forwards to the API server of the controller.
    pub(crate) async fn open(scene: &MockScene) -> Result<Self, Failed> {
        let kubeconfig = scene.mock().kubeconfig()?;
        let server = text(&kubeconfig, "/clusters/0/cluster/server").trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (holds, receiver) = watch::channel(false);
        let forwarding = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let (server, holds) = (server.clone(), receiver.clone());
                connections.spawn(async move {
                    let (mut requests, mut answers) = near.into_split();
                    let (mut far_answers, far_requests) = TcpStream::connect(server).await?.into_split();
                    tokio::select! {
                        ended = tokio::io::copy(&mut far_answers, &mut answers) => ended.map(drop),
                        ended = forward(&mut requests, far_requests, holds) => ended,
                    }
                });
            }
        });
        Ok(Self { port, holds, _forwarding: AbortOnDropHandle::new(forwarding) })
    }

    /// Holds all requests until [`release`](Self::release).
    pub(crate) fn hold(&self) -> Result<(), Failed> {
        Ok(self.holds.send(true)?)
    }

    /// Forwards the requests that were held, and all that follow.
    pub(crate) fn release(&self) -> Result<(), Failed> {
        Ok(self.holds.send(false)?)
    }
}

async fn forward(from: &mut OwnedReadHalf, mut to: OwnedWriteHalf, mut holds: watch::Receiver<bool>) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(1 << 14);
    while from.read_buf(&mut buffer).await? > 0 {
        holds.wait_for(|holds| !holds).await.map_err(io::Error::other)?;
        to.write_all(&buffer).await?;
        buffer.clear();
    }
    Ok(())
}
