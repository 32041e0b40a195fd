//! The bytes of one answer, checked as they come.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dil_model::component::{Body, Permit};
use dil_model::setting::HumanDuration;
use dil_model::{Error, ErrorKind, Result};
use reqwest::header::CONTENT_LENGTH;
use tokio::time::Instant;

use super::check::{self, Encoding};
use super::error::root_cause;
use super::gzip::Gunzip;

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// Between any two bytes.
    pub(super) idle: Duration,
    /// For all of it, with the instant at which that is over.
    pub(super) total: Option<(Duration, Instant)>,
}

impl Deadlines {
    /// Waits for `answer`, but not too long.
    ///
    /// # Errors
    /// `Network`, naming the time-out.
    pub(super) async fn wait<F: Future>(&self, answer: F, what: &str) -> Result<F::Output> {
        let left = self.total.map(|(_, end)| end.saturating_duration_since(Instant::now()));
        let limit = left.unwrap_or(self.idle).min(self.idle);
        tokio::time::timeout(limit, answer).await.map_err(|_| {
            let (code, name, limit) = match self.total {
                Some((total, end)) if Instant::now() >= end => ("http/total-timeout", "total", total),
                _ => ("http/idle-timeout", "idle", self.idle),
            };
            let limit = HumanDuration(limit);
            Error::new(ErrorKind::Network, code, format!("{what} within {limit}"))
                .hint(format!("if the server may take longer, raise `timeout.{name}` of the connection"))
                .retryable()
        })
    }
}

/// What a page looked like, as far as its bytes were read. All of them count: pages may differ at their very end only.
#[derive(Clone, Default)]
pub(super) struct Digest(Arc<Mutex<DefaultHasher>>);

impl Digest {
    fn add(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes);
    }

    /// The digest of the bytes so far, however they were cut into pieces.
    pub(super) fn value(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).finish()
    }
}

/// A body that is being received. Holds the permit of its request until it ends or is dropped.
pub(super) struct Receiving {
    response: reqwest::Response,
    deadlines: Deadlines,
    permit: Option<Permit>,
    gunzip: Option<Gunzip>,
    digest: Option<Digest>,
    /// Bytes received and promised, still packed.
    received: u64,
    promised: Option<u64>,
    ended: bool,
}

impl Receiving {
    /// # Errors
    /// `Content` for a content encoding that cannot be taken off.
    pub(super) fn new(
        response: reqwest::Response,
        deadlines: Deadlines,
        permit: Permit,
        gzip_ratio: u32,
        digest: Option<Digest>,
    ) -> Result<Self> {
        let gunzip = match check::encoding(response.headers())? {
            Encoding::Plain => None,
            Encoding::Gzip => Some(Gunzip::new(gzip_ratio)),
        };
        let promised = response
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok())
            .and_then(|length| length.trim().parse().ok());
        Ok(Self {
            response,
            deadlines,
            permit: Some(permit),
            gunzip,
            digest,
            received: 0,
            promised,
            ended: false,
        })
    }

    /// As the stream that the reader takes; ends after an error.
    pub(super) fn into_body(self) -> Body {
        Box::pin(futures::stream::unfold(Some(self), |state| async {
            let mut receiving = state?;
            match receiving.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(receiving))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    /// The first bytes as text, for a message; what cannot be read is left out.
    pub(super) async fn beginning(mut self, bytes_max: usize) -> String {
        let mut beginning = Vec::new();
        while let Ok(Some(bytes)) = self.next().await {
            beginning.extend_from_slice(&bytes);
            if beginning.len() >= bytes_max {
                beginning.truncate(bytes_max);
                break;
            }
        }
        String::from_utf8_lossy(&beginning).into_owned()
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        let bytes = match &mut self.gunzip {
            None => self.receive().await?,
            Some(_) => self.unpack().await?,
        };
        match (&bytes, &self.digest) {
            (Some(bytes), Some(digest)) => digest.add(bytes),
            (None, _) => self.permit = None,
            _ => {}
        }
        Ok(bytes)
    }

    async fn unpack(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(bytes) = self.gunzip.as_mut().map(Gunzip::take).transpose()?.flatten() {
                return Ok(Some(bytes));
            }
            let input = self.receive().await?;
            let Some(gunzip) = &mut self.gunzip else { return Ok(input) };
            match input {
                Some(input) => gunzip.feed(input),
                None => return gunzip.finish(),
            }
        }
    }

    async fn receive(&mut self) -> Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        let received = self.received;
        let what = format!("no further bytes came after {received}");
        match self.deadlines.wait(self.response.chunk(), &what).await? {
            Ok(Some(bytes)) => {
                self.received += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Ok(None) if self.promised.is_some_and(|promised| promised != received) => {
                Err(self.cut_short("the connection was closed"))
            }
            Ok(None) => {
                self.ended = true;
                Ok(None)
            }
            Err(cause) => Err(self.cut_short(&root_cause(&cause))),
        }
    }

    fn cut_short(&self, cause: &str) -> Error {
        let received = self.received;
        let of = self.promised.map_or_else(String::new, |promised| format!(" of {promised}"));
        let message = format!("the answer was cut short after {received}{of} bytes: {cause}");
        Error::new(ErrorKind::Truncated, "http/truncated", message)
            .hint("run again; if it breaks off again, ask for smaller pages, or raise `retry.attempts` of the connection")
            .retryable()
    }
}
