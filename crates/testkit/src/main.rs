//! The testkit's servers for people and scripts: `dil-testkit oracle|flood|pages|csv|with-database`.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use dil_testkit::database::Database;
use dil_testkit::{flood, oracle, pages, table};

const USAGE: &str = "\
dil-testkit oracle [--port N] [--token TEXT] [--latency-ms N] [--sites N] [--rows N]
    a strict REST API with a ledger; N sites, each with N events in every month of 2024
dil-testkit flood [--port N]
    answers far larger than memory: /page /bigrow /csv /partitions
dil-testkit pages [--port N] [--pages N] [--rows N] [--files FOLDER]
    prepared pages at the least cost: /pages /ten /files/NAME
dil-testkit csv --out FILE [--bytes N]
    writes a CSV file of 20 mixed columns
dil-testkit with-database postgres|mariadb COMMAND...
    runs a command with a database server of its own, whose URL is in DIL_TEST_LEDGER";

struct Options(Vec<String>);

impl Options {
    fn text(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|option| option == name)?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, String> {
        let Some(text) = self.text(name) else { return Ok(default) };
        text.parse().map_err(|_| format!("{name} needs a number, not `{text}`"))
    }

    fn port(&self) -> Result<u16, String> {
        u16::try_from(self.number("--port", 0)?).map_err(|_| "a port is at most 65535".to_owned())
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    if verb == "with-database" {
        return with_database(&arguments).unwrap_or_else(|text| {
            eprintln!("{text}");
            ExitCode::from(2)
        });
    }
    match run(&verb, &Options(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
    }
}

fn with_database(arguments: &[String]) -> Result<ExitCode, String> {
    let [kind, program, arguments @ ..] = arguments else { return Err(USAGE.to_owned()) };
    let database = Database::start(kind.parse()?);
    let mut command = Command::new(program);
    let status = command.args(arguments).env("DIL_TEST_LEDGER", database.url()).status();
    let status = status.map_err(|cause| format!("running {program}: {cause}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run(verb: &str, options: &Options) -> Result<(), String> {
    match verb {
        "oracle" => {
            let latency = Duration::from_millis(options.number("--latency-ms", 0)?);
            let token = options.text("--token").map(str::to_owned);
            let oracle = oracle::Oracle::with(oracle::Settings { port: options.port()?, token, latency });
            for _ in 0..options.number("--sites", 3)? {
                let site = oracle.add_site("active");
                for month in 1..=12 {
                    let (low, high) = (format!("2024-{month:02}-01"), format!("2024-{month:02}-28"));
                    oracle.add_events(site, &low, &high, options.number("--rows", 100)?);
                }
            }
            println!("listening on {}", oracle.url());
            oracle.forever();
        }
        "flood" => {
            let flood = flood::Flood::start(options.port()?);
            println!("listening on {}", flood.url());
            flood.forever();
        }
        "pages" => {
            let settings = pages::Settings {
                port: options.port()?,
                pages: options.number("--pages", 1000)?,
                rows_per_page: options.number("--rows", 1000)?.max(1),
                files: options.text("--files").map(PathBuf::from),
            };
            let pages = pages::Pages::start(settings);
            println!("listening on {}", pages.url());
            pages.forever();
        }
        "csv" => {
            let out = PathBuf::from(options.text("--out").ok_or("csv needs --out FILE")?);
            let bytes = options.number("--bytes", 2_000_000_000)?;
            let rows = table::write_mixed_csv(&out, bytes)
                .map_err(|cause| format!("writing {}: {cause}", out.display()))?;
            println!("{rows} rows");
        }
        _ => return Err(USAGE.to_owned()),
    }
    Ok(())
}
