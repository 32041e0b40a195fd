//! A server that answers with prepared bytes, byte by byte as the test says, so that it can also break.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How an answer ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// The connection stays open for the next request.
    Keep,
    /// It is closed.
    Close,
    /// It is reset.
    Reset,
    /// Nothing more ever comes.
    Hang,
}

/// Bytes, and what then becomes of the connection.
#[derive(Debug, Clone)]
pub(crate) struct Answer(pub(crate) Vec<u8>, pub(crate) End);

pub(crate) struct Raw {
    pub(crate) base: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Raw {
    /// Serves the answers in order, one per request; the last one again and again.
    pub(crate) async fn serve(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (seen, opened) = (Arc::clone(&requests), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(connection(stream, answers.clone(), Arc::clone(&seen)));
            }
        });
        Self { base, requests, connections }
    }

    /// Every request so far, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// How many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn connection(mut stream: TcpStream, answers: Vec<Answer>, seen: Arc<Mutex<Vec<String>>>) {
    while let Some(request) = request(&mut stream).await {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request);
            seen.len() - 1
        };
        let Answer(bytes, end) = &answers[number.min(answers.len() - 1)];
        if stream.write_all(bytes).await.is_err() {
            return;
        }
        match end {
            End::Keep => {}
            End::Close => return,
            End::Reset => return stream.set_zero_linger().unwrap(),
            End::Hang => {
                let _ = stream.read(&mut [0; 1]).await;
                return;
            }
        }
    }
}

async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut received = Vec::new();
    loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..at]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            if received.len() >= at + 4 + length {
                return Some(String::from_utf8_lossy(&received).into_owned());
            }
        }
        if stream.read_buf(&mut received).await.ok()? == 0 {
            return None;
        }
    }
}

/// A whole answer.
pub(crate) fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
    let body = body.as_ref();
    let mut bytes =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    Answer(bytes, End::Keep)
}

/// A page of JSON.
pub(crate) fn page(body: &str) -> Answer {
    answer("200 OK", "Content-Type: application/json\r\n", body)
}

/// JSON whose head promises more than comes.
pub(crate) fn cut(body: &str, end: End) -> Answer {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n";
    Answer([head.as_bytes(), body.as_bytes()].concat(), end)
}
