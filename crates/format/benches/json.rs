//! How fast JSON documents become batches: `cargo bench -p dil-format --bench json`.
//!
//! Pages of 1,000 nested rows of about 400 bytes are fed in chunks of 256 KiB. The figures are those of one core, the best
//! of some rounds.

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use dil_format::FrameLimits;
use dil_model::component::{Decoded, Frame};
use dil_model::config::Read;

const PAGES: usize = 20;
const ROWS: usize = 1_000;
const ROUNDS: usize = 15;
const CHUNK: usize = 256 << 10;
const LIMITS: FrameLimits = FrameLimits { frame_bytes: 1 << 20, row_bytes_max: 16 << 20 };

fn page(number: usize) -> Vec<u8> {
    let mut page = String::from(r#"{"data":{"items":["#);
    for row in 0..ROWS {
        let id = number * ROWS + row;
        let mix = id.wrapping_mul(2_654_435_761) % 1_000_000_007;
        if row > 0 {
            page.push(',');
        }
        let note = if id.is_multiple_of(3) { "null".to_owned() } else { format!("\"note number {mix}\"") };
        let written = write!(
            page,
            r#"{{"id":{id},"uuid":"{mix:08x}-{a:04x}-4a3b-9c1d-{mix:012x}","name":"Customer {a} of {b}","email":"user{id}@example.com","amount":{b}.{c:02},"created":"2024-{m:02}-{d:02}T08:{c:02}:11.{b:03}Z","active":{active},"tags":["new","tag-{c}","r{b}"],"address":{{"street":"{b} Main Street","city":"Springfield","zip":"{mix:05}","geo":{{"lat":{c}.{b:06},"lon":-{c}.{a:05}}}}},"note":{note}}}"#,
            a = mix % 65_536,
            b = mix % 1000,
            c = mix % 60,
            m = mix % 12 + 1,
            d = mix % 28 + 1,
            active = id.is_multiple_of(2),
        );
        assert!(written.is_ok());
    }
    page.push_str(r#"]},"meta":{"next":"abc"}}"#);
    page.into_bytes()
}

/// The shortest of some rounds.
fn best(mut round: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        round();
        best = best.min(start.elapsed());
    }
    best
}

fn report(what: &str, bytes: usize, time: Duration) {
    let seconds = time.as_secs_f64();
    let rows = (PAGES * ROWS) as f64;
    println!("{what:<14} {:>8.0} MB/s {:>12.0} rows/s", bytes as f64 / 1e6 / seconds, rows / seconds);
}

fn main() -> dil_model::Result<()> {
    let pages: Vec<Vec<u8>> = (0..PAGES).map(page).collect();
    let bytes: usize = pages.iter().map(Vec::len).sum();
    println!("{} rows of {} bytes", PAGES * ROWS, bytes / PAGES / ROWS);
    let read: Read = serde_json::from_value(serde_json::json!({
        "files": { "path": "x" }, "format": "json", "rows_at": "data.items",
    }))
    .map_err(|cause| {
        dil_model::Error::new(dil_model::ErrorKind::Internal, "bench/read", cause.to_string())
    })?;
    let wanted = ["meta.next".to_owned()];

    // Frames are handed on as they come, as the engine does, so that their memory is used again.
    let stream = |each: &mut dyn FnMut(Frame)| {
        let result = (|| -> dil_model::Result<()> {
            let mut framer = dil_format::framer(&read, &wanted, LIMITS)?;
            let mut frames = Vec::new();
            for page in &pages {
                for chunk in page.chunks(CHUNK) {
                    framer.feed(chunk, &mut frames)?;
                    frames.drain(..).for_each(&mut *each);
                }
                framer.end_page(&mut frames)?;
                frames.drain(..).for_each(&mut *each);
            }
            Ok(())
        })();
        assert!(result.is_ok(), "{result:?}");
    };
    let mut frames = Vec::new();
    stream(&mut |frame| frames.push(frame));
    let mut decoder = dil_format::decoder(&read)?;
    decoder.set_schema(&decoder.infer(&frames[0], None)?)?;
    let mut rows = 0;
    // A frame that does not become a batch is missed when the rows are counted.
    let mut decode = |frame: &Frame| {
        if let Ok(Decoded::Batch(batch)) = decoder.decode(frame) {
            rows += black_box(batch).num_rows();
        }
    };
    report("frame", bytes, best(|| stream(&mut |frame| drop(black_box(frame)))));
    report("decode", bytes, best(|| frames.iter().for_each(&mut decode)));
    report("frame + decode", bytes, best(|| stream(&mut |frame| decode(&frame))));
    assert_eq!(rows, 2 * ROUNDS * PAGES * ROWS);
    report(
        "infer",
        bytes,
        best(|| {
            for frame in &frames {
                black_box(decoder.infer(frame, None)).ok();
            }
        }),
    );
    Ok(())
}
