//! Doors: a port of this machine that leads into the namespaces. The two ends are processes in different networks; a
//! socket in the file system joins them.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// The path of a socket. The system calls take at most 107 bytes, and the folder may have a longer path. The path through
/// a descriptor of the folder is short.
#[derive(Debug)]
pub(crate) struct Socket {
    folder: File,
    name: PathBuf,
}

impl Socket {
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { folder: File::open(folder)?, name: name.into() })
    }

    fn path(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.folder.as_raw_fd().to_string()).join(&self.name)
    }

    pub(crate) fn listen(&self) -> io::Result<UnixListener> {
        UnixListener::bind(self.path())
    }

    pub(crate) async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.path()).await
    }
}

/// The outer end: forwards connections to a port of this machine to the socket. Runs until it is dropped.
///
/// A connection ends at once while the inner end does not listen.
pub(crate) async fn outer(listener: TcpListener, socket: Socket) -> io::Result<()> {
    let socket = std::sync::Arc::new(socket);
    loop {
        let (mut outside, _) = listener.accept().await?;
        let socket = socket.clone();
        tokio::spawn(async move {
            if let Ok(mut inside) = socket.connect().await {
                // Either end may close the connection at any time. The other end then sees the end too.
                let _ = copy_bidirectional(&mut outside, &mut inside).await;
            }
        });
    }
}

/// The inner end: forwards connections to the socket to a server. Runs until it is dropped.
pub(crate) async fn inner(listener: UnixListener, server: SocketAddr) -> io::Result<()> {
    loop {
        let (mut outside, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Ok(mut inside) = TcpStream::connect(server).await {
                let _ = copy_bidirectional(&mut outside, &mut inside).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn bytes_pass_both_ways_through_a_socket_whose_path_is_too_long_for_the_system() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("door");
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = server.local_addr().unwrap();
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = door.local_addr().unwrap();
        tokio::spawn(inner(Socket::at(&path).unwrap().listen().unwrap(), behind));
        tokio::spawn(outer(door, Socket::at(&path).unwrap()));

        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"ping").await.unwrap();
        let (mut accepted, _) = server.accept().await.unwrap();
        let mut bytes = [0; 4];
        accepted.read_exact(&mut bytes).await.unwrap();
        accepted.write_all(b"pong").await.unwrap();
        drop(accepted);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!((&bytes, answer.as_str()), (b"ping", "pong"));
    }

    #[tokio::test]
    async fn connection_ends_at_once_while_nothing_listens_inside() {
        let folder = tempfile::tempdir().unwrap();
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = door.local_addr().unwrap();
        tokio::spawn(outer(door, Socket::at(&folder.path().join("door")).unwrap()));
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut answer = String::new();
        assert_eq!(client.read_to_string(&mut answer).await.unwrap_or_default(), 0);
    }
}
