//! Answers far larger than memory, made while they are sent.
//!
//! Every answer repeats one block of rows, so its size costs the server nothing and its row count is known beforehand.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::raw::{self, Reply, Target};
use crate::seeded::Seeded;
use crate::serving::Serving;
use crate::table::{nested_row, nested_rows};

/// Rows in a repeated block.
const BLOCK_ROWS: u64 = 1000;

/// A running server.
///
/// - `/page?bytes=N`: one JSON page of about N bytes, nested rows under `data.items`; `meta.next_cursor` stands after
///   them. With `pages=P` there are P of them, asked for by `cursor`.
/// - `/bigrow?bytes=N`: three rows, the second with a text of N bytes.
/// - `/csv?rows=R&columns=C`: a CSV of R rows (rounded up to a block) and C columns of mixed types.
/// - `/partitions?values=V&rounds=N`: N rows for each of V values of `part`, in turn: the order that is worst for a writer that
///   keeps one file open for each.
#[derive(Debug)]
pub struct Flood(Serving);

impl Flood {
    /// Starts it on `port`; 0 takes a free one.
    pub fn start(port: u16) -> Self {
        let mut random = Seeded::new(2_000_000_000);
        let block = Bytes::from(nested_rows(BLOCK_ROWS, &mut random));
        let last_row = nested_row(BLOCK_ROWS, &mut random);
        let answer = move |target: &Target<'_>| match target.path {
            "/page" => page(target, &block, &last_row),
            "/bigrow" => big_row(target.number("bytes", 100_000_000)),
            "/csv" => csv(target.number("rows", 10_000), target.number("columns", 500)),
            "/partitions" => partitions(target.number("values", 2000), target.number("rounds", 10)),
            _ => Reply::Status(404),
        };
        Self(Serving::start(port, move |listener| raw::serve(listener, answer)))
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Serves until the process is killed.
    pub fn forever(self) {
        self.0.forever();
    }

    /// How many rows a page of about `bytes` has.
    pub fn rows_in_page(bytes: u64) -> u64 {
        let mut random = Seeded::new(2_000_000_000);
        bytes.div_ceil(nested_rows(BLOCK_ROWS, &mut random).len() as u64) * BLOCK_ROWS + 1
    }
}

const HEAD: &[u8] = br#"{"data":{"items":["#;

fn page(target: &Target<'_>, block: &Bytes, last_row: &str) -> Reply {
    let times = target.number("bytes", 10_000_000).div_ceil(block.len() as u64);
    let (number, pages) = (target.number("cursor", 0), target.number("pages", 1));
    let cursor = if number + 1 < pages { format!("\"{}\"", number + 1) } else { "null".to_owned() };
    let tail = Bytes::from(format!(r#"{last_row}]}},"meta":{{"next_cursor":{cursor}}}}}"#));
    Reply::Repeated {
        content_type: "application/json",
        head: Bytes::from_static(HEAD),
        block: block.clone(),
        times,
        tail,
    }
}

fn big_row(bytes: u64) -> Reply {
    const BLOCK: &[u8] = &[b'x'; 1 << 16];
    Reply::Repeated {
        content_type: "application/json",
        head: Bytes::from_static(br#"{"data":{"items":[{"id":1,"text":"small"},{"id":2,"text":""#),
        block: Bytes::from_static(BLOCK),
        times: bytes.div_ceil(BLOCK.len() as u64),
        tail: Bytes::from_static(br#""},{"id":3,"text":"small"}]},"meta":{"next_cursor":null}}"#),
    }
}

fn csv(rows: u64, columns: u64) -> Reply {
    let mut head = String::new();
    for column in 0..columns {
        let _ = write!(head, "{}column_{column}", if column == 0 { "" } else { "," });
    }
    head.push('\n');
    let (mut block, mut random) = (String::new(), Seeded::new(columns));
    for _ in 0..BLOCK_ROWS {
        for column in 0..columns {
            block.push_str(if column == 0 { "" } else { "," });
            let _ = match column % 5 {
                0 => write!(block, "{}", random.below(1_000_000)),
                1 => write!(block, "{}.{:02}", random.below(10_000), random.below(100)),
                2 => write!(block, "\"text {}, quoted\"", random.below(1000)),
                3 => write!(block, "2024-01-{:02}", 1 + random.below(28)),
                _ => write!(block, "{}", random.below(2) == 0),
            };
        }
        block.push('\n');
    }
    let (head, block) = (Bytes::from(head), Bytes::from(block));
    Reply::Repeated {
        content_type: "text/csv",
        head,
        block,
        times: rows.div_ceil(BLOCK_ROWS),
        tail: Bytes::new(),
    }
}

fn partitions(values: u64, rounds: u64) -> Reply {
    let mut block = String::new();
    for value in 0..values {
        let _ = write!(
            block,
            r#"{{"id":{value},"part":"p{value:05}","text":"{value} is the number of this row's folder"}},"#
        );
    }
    // The last round has no comma at its end.
    let tail = format!(r#"{}]}},"meta":{{"next_cursor":null}}}}"#, block.trim_end_matches(','));
    Reply::Repeated {
        content_type: "application/json",
        head: Bytes::from_static(HEAD),
        block: Bytes::from(block),
        times: rounds.saturating_sub(1),
        tail: Bytes::from(tail),
    }
}
