//! A service on this machine that playbooks call: it answers what its path says, and keeps what it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use anyhow::Result;

/// A service. Its thread ends with the process.
pub(crate) struct Service {
    /// Where it listens: `http://127.0.0.1:40123`.
    pub(crate) url: String,
    /// The head of each request, in the order they came.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl Service {
    /// Starts it on a free port. `/health` answers 200 with JSON, `/echo` 200 with the Authorization it was sent,
    /// anything else 404 with that Authorization.
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A caller that went away is its own business.
                let _ = answer(stream, &kept);
            }
        });
        Ok(Self { url, requests })
    }
}

fn answer(mut stream: TcpStream, requests: &Mutex<Vec<String>>) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while reader.read_line(&mut head)? > 2 {}
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let authorization = header("authorization").unwrap_or_default();
    let (status, media_type, body) = match head.split(' ').nth(1).unwrap_or_default() {
        "/health" => ("200 OK", "application/json", r#"{"up": true}"#.to_owned()),
        "/echo" => ("200 OK", "text/plain", format!("you sent {authorization}")),
        _ => ("404 Not Found", "text/plain", format!("nothing here for {authorization}")),
    };
    requests.lock().expect("nobody panics with it").push(head);
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )?;
    Ok(())
}
