//! CSV in, Parquet and Avro out, on one core: 20 mixed columns, a third of the texts quoted.
//!
//! `cargo bench -p dil-format --bench csv`; prints the best of five, in MB of CSV and rows a second. `-- phase` runs one
//! phase alone, for a profiler.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use std::time::Instant;

use dil_format::{FrameLimits, decoder, encoder, framer};
use dil_model::arrow::datatypes::SchemaRef;
use dil_model::arrow::record_batch::RecordBatch;
use dil_model::component::{Decoded, Frame};
use dil_model::config::{FilesWrite, Read};
use serde_json::json;

const ROWS: u64 = 400_000;
const CHUNK: usize = 64 << 10;
const LIMITS: FrameLimits = FrameLimits { frame_bytes: 1 << 20, row_bytes_max: 8 << 20 };

fn main() {
    let only = std::env::args().nth(1).filter(|argument| !argument.starts_with("--"));
    let runs = |phase: &str| only.as_deref().is_none_or(|only| only == phase);
    let text = table();
    let (read, frames) = (read(), frame(&text));
    let schema = decoder(&read).unwrap().infer(&frames[0], None).unwrap();
    let batches = decode(&read, &schema, &frames);
    println!("{} MB, {ROWS} rows, {} frames", text.len() / 1_000_000, frames.len());
    if runs("frame") {
        measure("frame", &text, || frame(&text).len());
    }
    if runs("decode") {
        measure("decode", &text, || decode(&read, &schema, &frames).len());
    }
    if runs("both") {
        measure("frame + decode", &text, || decode(&read, &schema, &frame(&text)).len());
    }
    for (format, compression) in [
        ("parquet", "zstd"),
        ("parquet", "snappy"),
        ("parquet", "none"),
        ("avro", "none"),
        ("avro", "deflate"),
        ("avro", "snappy"),
        ("avro", "zstd"),
        ("jsonl", "none"),
        ("csv", "none"),
    ] {
        let name = format!("{format} {compression}");
        if runs(format) || runs(&name) {
            measure(&format!("encode {name}"), &text, || encode(format, compression, &batches));
        }
    }
    if runs("all") {
        for format in ["parquet", "avro"] {
            let name = format!("frame + decode + {format}");
            measure(&name, &text, || encode(format, "default", &decode(&read, &schema, &frame(&text))));
        }
    }
}

fn measure(name: &str, text: &[u8], mut run: impl FnMut() -> usize) {
    let mut best = f64::MAX;
    let mut size = 0;
    for _ in 0..5 {
        let start = Instant::now();
        size = std::hint::black_box(run());
        best = best.min(start.elapsed().as_secs_f64());
    }
    let (speed, rows) = (text.len() as f64 / best / 1e6, ROWS as f64 / best / 1e6);
    println!("{name:32} {speed:8.0} MB/s {rows:8.2} M rows/s   ({size})");
}

fn read() -> Read {
    serde_json::from_value(json!({
        "files": { "path": "x" }, "format": "csv",
        "columns": { "created": "timestamp", "updated": "timestamp", "day": "date", "price": "decimal(12,2)" },
    }))
    .unwrap()
}

fn table() -> Vec<u8> {
    let mut text = b"id,account,created,updated,day,price,quantity,ratio,score,active,deleted,status,country,name,email,note,code,parent,weight,tag\n".to_vec();
    let mut state = 88_172_645_463_325_252u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for id in 0..ROWS {
        let (hour, minute, second, milli) = (random(24), random(60), random(60), random(1000));
        let (month, day) = (random(12) + 1, random(28) + 1);
        let status = ["open", "closed", "pending", "failed"][random(4) as usize];
        let country = ["at", "de", "us", "fr", "in", "jp"][random(6) as usize];
        let note = match random(3) {
            0 => "\"said \"\"no\"\", then left\nfor good\"".to_owned(),
            1 => String::new(),
            _ => format!("plain note number {} without quotes", random(100_000)),
        };
        let parent = if random(4) == 0 { String::new() } else { random(1_000_000).to_string() };
        let row = format!(
            "{id},{},2024-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z,2025-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z,2024-{month:02}-{day:02},{}.{:02},{},0.{:06},{:.4},{},{},{status},{country},\"Person, {}\",person{}@example.com,{note},{:08x},{parent},{:.3},tag{}\n",
            random(1 << 40),
            random(100_000),
            random(100),
            random(100),
            random(1_000_000),
            random(1_000_000) as f64 / 997.0,
            random(2) == 0,
            random(9) == 0,
            random(100_000),
            random(100_000),
            random(1 << 32),
            random(100_000) as f64 / 7.0,
            random(50),
        );
        text.extend_from_slice(row.as_bytes());
    }
    text
}

fn frame(text: &[u8]) -> Vec<Frame> {
    let mut framer = framer(&read(), &[], LIMITS).unwrap();
    let mut frames = Vec::new();
    for chunk in text.chunks(CHUNK) {
        framer.feed(chunk, &mut frames).unwrap();
    }
    let facts = framer.end_page(&mut frames).unwrap();
    assert_eq!(facts.rows, ROWS);
    frames
}

fn decode(read: &Read, schema: &SchemaRef, frames: &[Frame]) -> Vec<RecordBatch> {
    let mut decoder = decoder(read).unwrap();
    decoder.set_schema(schema).unwrap();
    let mut batches = Vec::with_capacity(frames.len());
    for frame in frames {
        let Decoded::Batch(batch) = decoder.decode(frame).unwrap() else { continue };
        batches.push(batch);
    }
    batches
}

fn encode(format: &str, compression: &str, batches: &[RecordBatch]) -> usize {
    let mut write = json!({ "path": "x", "format": format });
    if compression != "default" {
        write["compression"] = compression.into();
    }
    let write: FilesWrite = serde_json::from_value(write).unwrap();
    let mut encoder = encoder(&write, &batches[0].schema(), 64 << 20).unwrap();
    let mut out = Vec::new();
    let mut size = 0;
    for batch in batches {
        encoder.write(batch).unwrap();
        encoder.drain(&mut out);
        size += out.len();
        out.clear();
    }
    encoder.finish(&mut out).unwrap();
    size + out.len()
}
