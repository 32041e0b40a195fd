//! Whatever the bytes are, loading ends, without a panic, and points inside the text.

use crate::read;

const SEED: &str = r#"
flow: a
vars: { lake: "./lä🦀ke", n: 5 }
connections: { api: { http: { base: "https://api.example.com", auth: { basic: { username: u, password: "${secret:P}" } } } } }
defaults: &d { attempts: 3 }
stages:
  one:
    units: { each: { values: [1, 2], as: id }, time: { from: 2024-01-01, every: month, grace: 3d } }
    read:
      http:
        connection: api
        path: /x/{{ id }}
        query: { a: "{{ low | epoch }}", b: ${n} }
        json: |
          text {{ id }}
        paginate: { page: { param: page, size: 10, end: { total: meta.total } } }
      format: json
      columns: { id: int64, x: "struct<a: list<text>>" }
    retry: *d
    convert:
      - cast: { a: "decimal(10,2)" }
      - project: { keep: [a, b], rename: { a: c } }
    write: { files: { path: "${lake}/one", format: parquet, file_size: 64MiB } }
  ? >-
    folded
  : { <<: *d, read: !!str x }
"#;

const PIECES: [&str; 28] = [
    ":",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "\n",
    "\t",
    "  ",
    "&d",
    "*d",
    "<<: ",
    "${",
    "}}",
    "{{",
    "{%",
    "!!str ",
    "|",
    ">",
    "#",
    "? ",
    "---\n",
    "\0",
    "é",
    "🦀",
    "99999999999999999999",
];

/// A small generator of its own, so that a failure is the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}

fn boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn check(text: &str) {
    let Err(problems) = read(text) else { return };
    assert!(!problems.is_empty(), "refused without a problem:\n{text}");
    for one in problems {
        assert!(text.get(one.bytes.clone()).is_some(), "{one} points outside of\n{text}");
        assert!(one.line >= 1 && one.column >= 1, "{one}");
    }
}

#[test]
fn every_truncation_is_survived() {
    for end in 0..=SEED.len() {
        check(&SEED[..boundary(SEED, end)]);
        check(&SEED[boundary(SEED, end)..]);
    }
}

#[test]
fn mutations_are_survived() {
    let mut dice = Dice(0x5eed);
    for _ in 0..6_000 {
        let mut text = SEED.to_owned();
        for _ in 0..=dice.below(6) {
            let at = boundary(&text, dice.below(text.len()));
            let end = boundary(&text, (at + dice.below(20)).min(text.len()));
            match dice.below(4) {
                0 => text.insert_str(at, PIECES[dice.below(PIECES.len())]),
                1 => text.replace_range(at..end, ""),
                2 => text.replace_range(at..end, PIECES[dice.below(PIECES.len())]),
                _ => {
                    let from = boundary(&text, dice.below(text.len()));
                    let copied = text[from..boundary(&text, (from + 40).min(text.len()))].to_owned();
                    text.insert_str(at, &copied);
                }
            }
        }
        check(&text);
    }
}

#[test]
fn heaps_of_pieces_are_survived() {
    let mut dice = Dice(0xfeed);
    for _ in 0..6_000 {
        let text: String = (0..dice.below(40)).map(|_| PIECES[dice.below(PIECES.len())]).collect();
        check(&text);
    }
}

#[test]
fn deep_and_wide_files_are_refused_in_time() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        "a:\n".repeat(200_000),
        "x: [ ${".repeat(50_000),
    ] {
        check(&text);
    }
    let wide: String = (0..60_000).map(|n| format!("k{n}: v\n")).collect();
    check(&wide);
    check(&"x".repeat(5 << 20));
}
