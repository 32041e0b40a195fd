//! A unit starts when the unit that gave its value is done, not when all of the stage before is.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::lake;
use crate::scene::program_in;

/// Lists of one item a day, and the items. The list of the second day comes only once the item of the first was asked for.
struct Gate {
    asked: Mutex<HashSet<String>>,
    changed: Condvar,
    /// The list of the second day is no list.
    broken: bool,
}

impl Gate {
    fn serve(broken: bool) -> (String, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let gate = Arc::new(Self { asked: Mutex::default(), changed: Condvar::new(), broken });
        let shared = Arc::clone(&gate);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let gate = Arc::clone(&shared);
                std::thread::spawn(move || gate.answer(stream));
            }
        });
        (url, gate)
    }

    fn answer(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
        let request = lines.next().and_then(Result::ok).unwrap_or_default();
        while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        self.asked.lock().expect("a lock").insert(path.clone());
        self.changed.notify_all();
        let (kind, id) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
        let in_time = (kind, id) != ("list", "2") || self.wait_for("/item/1");
        let (status, body) = match (in_time, self.broken && path == "/list/2") {
            (true, false) => ("200 OK", format!("{{\"rows\":[{{\"id\":{id}}}]}}")),
            _ => ("404 Not Found", String::new()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    }

    /// Whether the path is asked for before a time that no machine needs.
    fn wait_for(&self, path: &str) -> bool {
        let asked = self.asked.lock().expect("a lock");
        let waited =
            self.changed.wait_timeout_while(asked, Duration::from_secs(60), |asked| !asked.contains(path));
        waited.is_ok_and(|(_, timeout)| !timeout.timed_out())
    }
}

const FLOW: &str = "flow: following
connections:
  api: { http: { base: '${url}', retry: { wait: 10ms..50ms, attempts: 1 } } }
stages:
  lists:
    units: { each: { values: ['1', '2'], as: day } }
    read: { http: { connection: api, path: '/list/{{ day }}' }, format: json, rows_at: rows }
    retry: { attempts: 1 }
  items:
    units: { each: { rows_of: lists, fields: [id] } }
    read: { http: { connection: api, path: '/item/{{ id }}' }, format: json, rows_at: rows }
    write: { files: { path: lake, format: parquet } }
";

fn run(url: &str, options: &[&str], folder: &std::path::Path) -> dil_testkit::process::Finished {
    std::fs::write(folder.join("flow.yaml"), FLOW).expect("a file can be written");
    let url = format!("url={url}");
    let arguments = [&["run", "flow.yaml", "--var", &url], options].concat();
    program_in(folder).env("NO_COLOR", "1").run(&arguments)
}

#[test]
fn a_unit_starts_when_the_one_that_gave_its_value_is_done() {
    for options in [&[][..], &["--workers", "1"]] {
        let folder = tempfile::tempdir().expect("a folder");
        let (url, _gate) = Gate::serve(false);
        run(&url, options, folder.path()).succeeded();
        assert_eq!(lake::ids(&folder.path().join("lake")), [1, 2]);
    }
}

#[test]
fn what_was_done_before_the_stage_before_failed_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, _gate) = Gate::serve(true);
    let failed = run(&url, &["--log-format", "json"], folder.path());
    assert_eq!(failed.code, Some(1), "{failed}");
    assert_eq!(lake::ids(&folder.path().join("lake")), [1]);
    let (url, _gate) = Gate::serve(false);
    run(&url, &[], folder.path()).succeeded();
    assert_eq!(lake::ids(&folder.path().join("lake")), [1, 2]);
}
