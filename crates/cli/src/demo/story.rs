//! The demonstration itself.

use std::collections::BTreeSet;
use std::path::Path;

use dil_engine::{Choice, Outcome, RunOptions, Settings};
use dil_flow::{Checked, Source};
use jiff::Timestamp;

use super::flow::{self, DemoSecrets};
use super::folder::{Folder, differs};
use super::service::{Held, Service, TOKEN};
use super::tally::{Tally, shown, tally};
use super::{data, lake};
use crate::batch::rows;
use crate::exit::Failure;
use crate::quantity::{bytes, count};
use crate::terminal::Terminal;
use crate::{running, summary};

/// The station that is not there in the first run.
const NEW_STATION: &str = "LGA";

/// The station and the place, counted from the end, of the row that comes late.
const LATE_ROW: (&str, usize) = ("EWR", 30);

/// The only month that is read again: it ends within the grace.
const LATE_MONTH: &str = "2013-12";

/// Rows of the published files that are shown.
const ROWS_SHOWN: usize = 5;

/// Runs the whole demonstration in a folder.
///
/// # Errors
/// Besides those of running: `Internal` if what was asked or published is not what it must be.
pub(crate) async fn show(path: &Path, terminal: &Terminal) -> Result<(), Failure> {
    let folder = Folder::fresh(path)?;
    let stations = data::stations()?;
    let late = stations.iter().find(|station| station.id == LATE_ROW.0);
    let late = late.and_then(|station| station.observations.iter().rev().nth(LATE_ROW.1)).map(|row| row.time);
    let late = late.ok_or_else(|| differs("the bundled weather has no late row".to_owned()))?;
    let held = Held { station: Some(NEW_STATION), row: Some((LATE_ROW.0, late)) };
    let service = Service::start(stations, held, 0).await?;
    let text = flow::text(&service.url());
    folder.write_flow(&text)?;
    folder.note_port(service.port)?;
    folder.enter()?;
    let demo = Demo { terminal, service, flow: checked(&text)? };

    demo.say(&format!(
        "A sample service at {} serves hourly weather at New York's airports in 2013.\n\
         {} reads it: a list of stations divides the observations, station × month.\n\n",
        demo.service.url(),
        path.join(flow::FILE).display()
    ))?;
    demo.say(&demo.dim(&flow::in_short(&text)))?;

    demo.head(
        "Run 1",
        &format!("the service does not have {NEW_STATION} yet, nor the row of {} at {late}", LATE_ROW.0),
    )?;
    let first = demo.run().await?;
    demo.rows_are_all_there(path, ROWS_SHOWN)?;

    demo.service.release();
    demo.head("Run 2", &format!("{NEW_STATION} was added at the service, and the late row came in"))?;
    let second = demo.run().await?;
    demo.rows_are_all_there(path, 0)?;

    demo.head("What the service was asked for", "from its own ledger")?;
    demo.say(&shown(terminal.out, &first, &second))?;
    check(&second)?;
    demo.say(&format!(
        "\n  Run 2 asked for nothing but the twelve months of {NEW_STATION}, which are new, and the Decembers, which end within\n  \
         the grace of 7 days: so the late row is in, and no row is there twice.\n"
    ))?;
    demo.say(&next(terminal, path))?;
    Ok(())
}

/// Serves the service of an earlier demo until Ctrl-C.
///
/// # Errors
/// `Config` if there was no demo, `Network` if no port is free.
pub(crate) async fn serve(path: &Path, terminal: &Terminal) -> Result<(), Failure> {
    let folder = Folder::existing(path)?;
    let wanted = folder.port();
    let service = match Service::start(data::stations()?, Held::default(), wanted).await {
        Ok(service) => service,
        // Somebody else has the port by now.
        Err(_) => Service::start(data::stations()?, Held::default(), 0).await?,
    };
    let var =
        if service.port == wanted { String::new() } else { format!(" --var service={}", service.url()) };
    terminal.print(&format!(
        "serving at {} until Ctrl-C; in another terminal:\n  cd {}\n  export DIL_SECRET_{}={TOKEN}\n  dil run{var}\n",
        service.url(),
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display(),
        flow::SECRET
    ))?;
    // If signals cannot be listened to, Ctrl-C ends the process all the same.
    let _ = tokio::signal::ctrl_c().await;
    Ok(())
}

struct Demo<'a> {
    terminal: &'a Terminal,
    service: Service,
    flow: Checked,
}

impl Demo<'_> {
    fn say(&self, text: &str) -> Result<(), Failure> {
        self.terminal.print(text)
    }

    fn dim(&self, text: &str) -> String {
        text.lines().map(|line| format!("  {}\n", self.terminal.out.dim(line))).collect()
    }

    fn head(&self, title: &str, what: &str) -> Result<(), Failure> {
        self.say(&format!("\n{}: {what}\n\n", self.terminal.out.bold(title)))
    }

    /// Runs the flow as `dil run` would; gives what the service was asked for.
    async fn run(&self) -> Result<Tally, Failure> {
        let settings = Settings { secrets: DemoSecrets::shared(), ..Settings::new(".dil".into()) };
        let options = RunOptions {
            workers: 0,
            worker_command: Vec::new(),
            fresh: false,
            resume_only: false,
            now: Timestamp::now(),
            choice: Choice::default(),
            backfill: None,
        };
        self.service.take_ledger();
        let ended = running::follow(&self.flow, &settings, &options, self.terminal).await?;
        summary::tell(self.terminal, &ended)?;
        match ended.outcome {
            Outcome::Succeeded => Ok(tally(&self.service.take_ledger())),
            Outcome::Stopped => Err(Failure::Stopped),
            Outcome::Failed | Outcome::Blocked => Err(differs("the run failed".to_owned()).into()),
        }
    }

    /// Reads the published files back and compares them, row by row, with what the service has.
    fn rows_are_all_there(&self, path: &Path, shown: usize) -> Result<(), Failure> {
        let lake = lake::read(Path::new(flow::ROWS), shown)?;
        let wanted = self.service.rows();
        let folder = path.join(flow::ROWS);
        if lake.rows != wanted {
            let (is, must) = (count(lake.rows.len() as u64), count(wanted.len() as u64));
            let message =
                format!("{} holds {is} rows, not each of the service's {must} once", folder.display());
            return Err(differs(message).into());
        }
        self.say(&format!(
            "\n{} holds {} rows in {} Parquet files ({}): each row of the service once.\n",
            folder.display(),
            count(wanted.len() as u64),
            count(lake.files),
            bytes(lake.bytes)
        ))?;
        match lake.first.filter(|_| shown > 0) {
            Some(first) => self.say(&format!("\n{}", rows(self.terminal.out, &[first])?)),
            None => Ok(()),
        }
    }
}

fn checked(text: &str) -> Result<Checked, Failure> {
    let source = Source { name: flow::FILE.to_owned(), text: text.to_owned() };
    dil_flow::load(&source, &dil_flow::Settings::default())
        .map_err(|located| Failure::Problems { text: source.text, located })
}

/// Whether the second run asked only for what is new.
fn check(second: &Tally) -> Result<(), Failure> {
    for (station, asked) in second.iter().filter(|(station, _)| !station.is_empty()) {
        let months = if station == NEW_STATION { 12 } else { 1 };
        let late = BTreeSet::from([LATE_MONTH.to_owned()]);
        if asked.months.len() != months || (station != NEW_STATION && asked.months != late) {
            let asked: Vec<&str> = asked.months.iter().map(String::as_str).collect();
            return Err(differs(format!("run 2 asked {station} for {}", asked.join(", "))).into());
        }
    }
    if second.len() == 4 {
        return Ok(());
    }
    Err(differs(format!("run 2 asked for {} things, not the list and three stations", second.len())).into())
}

/// What to try next.
fn next(terminal: &Terminal, path: &Path) -> String {
    let paint = terminal.out;
    let mut out = format!("\n{}\n\n", paint.bold("Try next"));
    let mut line = |command: &str, what: &str| {
        let line =
            if what.is_empty() { command.to_owned() } else { format!("{command:<42}{}", paint.dim(what)) };
        out.push_str(&format!("  {line}\n"));
    };
    if let Some(program) = not_in_path() {
        line(&format!("alias dil={program}"), "");
    }
    line(&format!("cd {}", path.display()), "");
    line("dil plan", "# which units a run would read now, and why");
    line("dil runs", "# the two runs");
    line("dil units weather --stage observations", "# what is recorded of each unit");
    line("dil state show weather", "# watermarks and schema of each stage");
    line("dil demo --serve . &", "# starts the service again, so that you can …");
    line(&format!("export DIL_SECRET_{}={TOKEN}", flow::SECRET), "");
    line("dil run", "# … run the flow yourself");
    line("dil preview --rows 3", "# … and look at rows before they are written");
    out
}

/// How to call this program if `dil` alone does not.
fn not_in_path() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join("dil").is_file());
    (!found).then(|| program.display().to_string())
}
