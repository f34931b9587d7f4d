//! The one way to find a free port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// First port that is tried, below the range from which the kernel takes ports for outgoing connections. A port of
/// that range could become the local end of a connection before the caller listens on it.
const FIRST: u32 = 10_000;
/// How many ports are tried. Linux's range of outgoing connections begins at 32768.
const COUNT: u32 = 20_000;
/// Distance between the first ports of two processes with successive IDs.
const STRIDE: u32 = 61;
/// How often [`with_free`] starts a program.
const ATTEMPTS: usize = 5;

/// Finds a port of the loopback interface that no process listens on. A process gets each port only once, until
/// it has got all.
///
/// Another process may listen on the port before the caller does: see [`with_free`].
pub fn free() -> io::Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(STRIDE);
    for _ in 0..COUNT {
        let offset = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).map_err(io::Error::other)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other(format!("all ports from {FIRST} to {} are in use", FIRST + COUNT - 1)))
}

/// Finds a free port, as [`free`] does, and returns it with the loopback address.
pub fn free_address() -> io::Result<SocketAddr> {
    Ok((Ipv4Addr::LOCALHOST, free()?).into())
}

/// Starts a program on a free port. If the start fails and `port_was_taken` returns true for the error, the program is
/// started again on another port, up to five times in all.
pub async fn with_free<T, E: From<io::Error>>(
    start: impl AsyncFn(u16) -> Result<T, E>,
    port_was_taken: impl Fn(&E) -> bool,
) -> Result<T, E> {
    for _ in 1..ATTEMPTS {
        match start(free()?).await {
            Err(error) if port_was_taken(&error) => {}
            result => return result,
        }
    }
    start(free()?).await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn port_in_use_is_skipped() {
        let first = free().unwrap();
        let _taken: Vec<_> = (1..4).map(|offset| TcpListener::bind((Ipv4Addr::LOCALHOST, first + offset))).collect();
        let second = free_address().unwrap();
        assert!(TcpListener::bind(second).is_ok() && second.port() != first);
    }

    #[tokio::test]
    async fn start_is_repeated_only_when_the_port_was_taken() {
        for (error, expected) in [(io::ErrorKind::AddrInUse, ATTEMPTS), (io::ErrorKind::NotFound, 1)] {
            let started = Cell::new(0);
            let start = async |_| {
                started.set(started.get() + 1);
                Err::<(), _>(io::Error::from(error))
            };
            let result = with_free(start, |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse).await;
            assert_eq!((result.unwrap_err().kind(), started.get()), (error, expected));
        }
    }
}
