//! A web server with one page, for a Pod in an awake Shoot. It writes each request to its standard output.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::{env, io};

/// The port, unless the first argument is another one.
const PORT: u16 = 8080;

fn main() -> io::Result<()> {
    let port = env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(PORT);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    let name = env::var("HOSTNAME").unwrap_or_default();
    loop {
        // A client may go away at any time.
        let _ = listener.accept().and_then(|(client, _)| answer(&client, &name));
    }
}

/// Answers one request: with the page at `/`, and nowhere else.
fn answer(mut client: &TcpStream, name: &str) -> io::Result<()> {
    let mut lines = BufReader::new(client).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    // The client may only read once its whole request has been read.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    writeln!(io::stdout(), "{request}")?;
    let (status, page) = match request.split_whitespace().nth(1) {
        Some("/") => ("200 OK", format!("Hello from {name}\n")),
        _ => ("404 Not Found", "nothing here\n".to_owned()),
    };
    let length = page.len();
    write!(client, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::thread;

    use super::*;

    #[test]
    fn page_is_at_the_root_only() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || (0..2).for_each(|_| answer(&listener.accept().unwrap().0, "web").unwrap()));
        let ask = |path: &str| {
            let mut client = TcpStream::connect(address).unwrap();
            write!(client, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            answer
        };
        assert!(ask("/").ends_with("\r\n\r\nHello from web\n"));
        assert!(ask("/other").starts_with("HTTP/1.1 404 Not Found\r\n"));
        server.join().unwrap();
    }
}
