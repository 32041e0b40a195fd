//! Prepared pages and files at the least cost, for benches: what is measured is the client.

use std::path::PathBuf;

use bytes::Bytes;

use crate::raw::{self, Reply, Target};
use crate::seeded::Seeded;
use crate::serving::Serving;
use crate::table::{nested_row, nested_rows};

/// Distinct page bodies; the others repeat them, so that the server's memory stays small and its caches warm.
const TEMPLATES: usize = 10;

/// What the server has.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The port; 0 takes a free one.
    pub port: u16,
    /// Pages of `/pages`.
    pub pages: u64,
    /// Rows of each page.
    pub rows_per_page: u64,
    /// The folder that `/files/NAME` serves.
    pub files: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { port: 0, pages: 1000, rows_per_page: 1000, files: None }
    }
}

/// A running server.
///
/// - `/pages?cursor=N`: page N (without a cursor the first) of nested rows under `data.items`, the next cursor at
///   `meta.next_cursor`, after the rows.
/// - `/ten`: one page of ten such rows.
/// - `/files/NAME`: a file, as CSV if its name says so.
#[derive(Debug)]
pub struct Pages(Serving);

impl Pages {
    /// Starts it.
    pub fn start(settings: Settings) -> Self {
        let mut random = Seeded::new(400);
        let head = Bytes::from_static(br#"{"data":{"items":["#);
        let templates: Vec<Bytes> = (0..TEMPLATES)
            .map(|_| Bytes::from(nested_rows(settings.rows_per_page - 1, &mut random)))
            .collect();
        let last_row = nested_row(settings.rows_per_page - 1, &mut random);
        let ten = Bytes::from(nested_rows(9, &mut random));
        let answer = move |target: &Target<'_>| {
            let page = |block: &Bytes, next: Option<u64>| {
                let cursor = next.map_or_else(|| "null".to_owned(), |next| format!("\"{next}\""));
                let tail = Bytes::from(format!(r#"{last_row}]}},"meta":{{"next_cursor":{cursor}}}}}"#));
                Reply::Repeated {
                    content_type: "application/json",
                    head: head.clone(),
                    block: block.clone(),
                    times: 1,
                    tail,
                }
            };
            match target.path {
                "/pages" => {
                    let number = target.number("cursor", 0);
                    let template = usize::try_from(number).unwrap_or(0) % TEMPLATES;
                    page(&templates[template], (number + 1 < settings.pages).then_some(number + 1))
                }
                "/ten" => page(&ten, None),
                path => match (path.strip_prefix("/files/"), &settings.files) {
                    (Some(name), Some(folder)) if !name.contains(['/', '\\']) && name != ".." => {
                        let content_type =
                            if name.ends_with(".csv") { "text/csv" } else { "application/octet-stream" };
                        Reply::File { content_type, path: folder.join(name) }
                    }
                    _ => Reply::Status(404),
                },
            }
        };
        Self(Serving::start(settings.port, move |listener| raw::serve(listener, answer)))
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Serves until the process is killed.
    pub fn forever(self) {
        self.0.forever();
    }
}
