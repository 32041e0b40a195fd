//! HTTP as a whole run sees it: what is shown, what is stored, and what is sent how often.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::lake;
use crate::scene::{BY_CURSOR, Scene, TwoStage};

/// A server on the loopback whose answers are a function of the request; its thread ends with the process.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `answer` gives the header lines and the body for the head of a request.
    fn start(answer: impl Fn(&str) -> (&'static str, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port can be bound");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let Some(head) = read_head(&mut stream) else { continue };
                let (headers, body) = answer(&head);
                seen.lock().expect("no test panicked here").push(head);
                let length = body.len();
                let head = format!("{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(format!("HTTP/1.1 {head}{body}").as_bytes());
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no test panicked here").clone()
    }
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut received = Vec::new();
    while !received.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut some = [0; 4096];
        let count = stream.read(&mut some).ok().filter(|count| *count > 0)?;
        received.extend_from_slice(&some[..count]);
    }
    String::from_utf8(received).ok()
}

const JSON: &str = "200 OK\r\nContent-Type: application/json\r\n";

fn flow(base: &str, auth: &str, read: &str) -> String {
    format!(
        "flow: one
connections:
  api: {{ http: {{ base: '{base}', {auth} retry: {{ wait: 1ms..2ms }} }} }}
stages:
  rows:
    read: {{ http: {{ connection: api, path: /rows{read} }}, format: json }}
    write: {{ files: {{ path: lake, format: jsonl }} }}
    retry: {{ wait: 1ms..2ms, attempts: 3 }}
"
    )
}

fn holds(folder: &Path, text: &[u8]) -> Option<std::path::PathBuf> {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let found = if path.is_dir() {
            holds(&path, text)
        } else {
            let bytes = std::fs::read(&path).unwrap_or_default();
            bytes.windows(text.len()).any(|part| part == text).then_some(path)
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

#[test]
fn a_secret_that_the_server_echoes_is_neither_shown_nor_stored() {
    let token = "TOPSECRET77-and-quite-a-long-one-which-messages-cut-somewhere";
    // Errors of the framer, of the decoder, and of a cast.
    let bodies = [
        format!("bad token Bearer {token}"),
        format!("[{{ \"id\": 1 }}, {{ \"id\": \"{token}\" }}]"),
        format!("[{{ \"id\": {token} }}]"),
    ];
    for body in bodies {
        let scene = Scene::new();
        let answer = body.clone();
        let server = Server::start(move |_| (JSON, answer.clone()));
        scene.write("flow.yaml", &flow(&server.url, "auth: { bearer: { token: '${secret:TOKEN}' } },", ""));
        let program = scene.dil().env("DIL_SECRET_TOKEN", token).env("DIL_LOG", "debug");
        for command in [&["run", "flow.yaml"][..], &["preview", "flow.yaml"]] {
            let finished = program.run(command);
            assert!(finished.code.is_some_and(|code| code != 0), "{body}\n{finished}");
            assert!(finished.stderr.contains("***"), "it should quote the answer\n{finished}");
            for shown in [&finished.stdout, &finished.stderr] {
                assert!(!shown.contains("TOPSECRET") && !shown.contains("quite-a-long"), "{finished}");
            }
        }
        assert_eq!(holds(scene.folder(), b"TOPSECRET"), None, "{body}");
    }
}

#[test]
fn a_post_without_an_answer_is_sent_once_by_the_whole_run() {
    for (reads, sent) in [("", 1), (", reads: true", 15)] {
        let scene = Scene::new();
        let server = Server::start(|_| ("500 Oh\r\n", "no".to_owned()));
        scene.write("flow.yaml", &flow(&server.url, "", &format!(", method: POST, json: {{}}{reads}")));
        let finished = scene.dil().run(&["run", "flow.yaml"]);
        assert!(finished.stderr.contains("reads: true") == reads.is_empty(), "{finished}");
        assert_eq!(server.requests().len(), sent, "{finished}");
    }
}

#[test]
fn a_misspelt_cursor_is_no_last_page() {
    let scene = Scene::small();
    let request = BY_CURSOR.replace("meta.next_cursor", "meta.nxt");
    scene.write_flow(&TwoStage { request: &request, ..TwoStage::default() });
    let finished = scene.run("2024-03-01", &[]);
    assert!(finished.code.is_some_and(|code| code != 0), "{finished}");
    for told in ["`meta.nxt`", "`meta` has ", "next_cursor", "absent: end"] {
        assert!(finished.stderr.contains(told), "stderr should tell `{told}`\n{finished}");
    }
    assert!(lake::visible(&scene.lake()).is_empty());
}

#[test]
fn a_proxy_of_the_environment_is_for_other_machines() {
    let scene = Scene::new();
    let proxy = Server::start(|_| (JSON, r#"[{ "from": "proxy" }]"#.to_owned()));
    let server = Server::start(|_| (JSON, r#"[{ "from": "server" }]"#.to_owned()));
    let from = |base: &str, not: &str| {
        scene.write("flow.yaml", &flow(base, "", ""));
        let program = scene.dil().env("HTTP_PROXY", &proxy.url).env("http_proxy", &proxy.url);
        let finished = program.env("NO_PROXY", not).env("no_proxy", not).run(&["preview", "flow.yaml"]);
        ["proxy", "server"].into_iter().find(|from| finished.stdout.contains(from))
    };
    assert_eq!(from(&server.url, ""), Some("server"));
    assert_eq!(from(&server.url.replace("127.0.0.1", "localhost"), ""), Some("server"));
    assert_eq!(from("http://api.invalid", ""), Some("proxy"));
    assert_eq!(from("http://api.invalid", "api.invalid"), None);
    assert_eq!((server.requests().len(), proxy.requests().len()), (2, 1));
}
