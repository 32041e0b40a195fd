//! The least HTTP/1.1 that serves prepared bytes: `GET`, keep-alive, `Content-Length`.
//!
//! A bench shares its cores with the server, and a flood must not be held in memory; a framework would cost too much of the
//! one and get in the way of the other. Not for anything that needs more of HTTP than this.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longest request head that is read.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Bytes of a file sent at once.
const FILE_CHUNK_BYTES: usize = 1 << 20;

/// An answer.
pub(crate) enum Reply {
    /// `head`, then `block` so many times, then `tail`.
    Repeated { content_type: &'static str, head: Bytes, block: Bytes, times: u64, tail: Bytes },
    /// A file as it is.
    File { content_type: &'static str, path: PathBuf },
    /// A failure.
    Status(u16),
}

/// The target of a request, taken apart.
pub(crate) struct Target<'a> {
    /// The path.
    pub(crate) path: &'a str,
    query: &'a str,
}

impl<'a> Target<'a> {
    /// The value of a query parameter, as it stands.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// The value of a query parameter as a number.
    pub(crate) fn number(&self, name: &str, default: u64) -> u64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }
}

/// Answers every connection by `answer` until it is dropped.
pub(crate) async fn serve<A>(listener: TcpListener, answer: A)
where
    A: Fn(&Target<'_>) -> Reply + Send + Sync + 'static,
{
    let answer = Arc::new(answer);
    while let Ok((stream, _)) = listener.accept().await {
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            // A client that goes away ends its connection; nobody is left to be told.
            let _ = connection(stream, &*answer).await;
        });
    }
}

async fn connection<A: Fn(&Target<'_>) -> Reply>(mut stream: TcpStream, answer: &A) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::with_capacity(4096);
    while let Some(end) = read_head(&mut stream, &mut received).await? {
        let reply = {
            let head = String::from_utf8_lossy(&received[..end]);
            let whole = head.split(' ').nth(1).unwrap_or("/");
            let (path, query) = whole.split_once('?').unwrap_or((whole, ""));
            answer(&Target { path, query })
        };
        received.drain(..end);
        send(&mut stream, reply).await?;
    }
    Ok(())
}

/// Reads up to the end of a request's head; `None` if the client is done.
async fn read_head(stream: &mut TcpStream, received: &mut Vec<u8>) -> std::io::Result<Option<usize>> {
    loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok(Some(at + 4));
        }
        if received.len() > HEAD_BYTES_MAX || stream.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

async fn send(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    match reply {
        Reply::Repeated { content_type, head, block, times, tail } => {
            let length = head.len() as u64 + block.len() as u64 * times + tail.len() as u64;
            let mut first = response_head(200, content_type, length).into_bytes();
            first.extend_from_slice(&head);
            stream.write_all(&first).await?;
            for _ in 0..times {
                stream.write_all(&block).await?;
            }
            stream.write_all(&tail).await
        }
        Reply::File { content_type, path } => send_file(stream, content_type, &path).await,
        Reply::Status(status) => stream.write_all(response_head(status, "text/plain", 0).as_bytes()).await,
    }
}

async fn send_file(
    stream: &mut TcpStream,
    content_type: &str,
    path: &std::path::Path,
) -> std::io::Result<()> {
    let Ok(mut file) = std::fs::File::open(path) else {
        return stream.write_all(response_head(404, "text/plain", 0).as_bytes()).await;
    };
    let length = file.metadata()?.len();
    stream.write_all(response_head(200, content_type, length).as_bytes()).await?;
    // The file is in the page cache: reading it here is a copy, cheaper than handing it to another thread.
    let mut chunk = vec![0; FILE_CHUNK_BYTES];
    loop {
        let count = std::io::Read::read(&mut file, &mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&chunk[..count]).await?;
    }
}

fn response_head(status: u16, content_type: &str, length: u64) -> String {
    let reason = if status == 200 { "OK" } else { "Error" };
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n");
    let _ = write!(head, "Content-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n");
    head
}
