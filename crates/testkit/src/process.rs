//! Starts a program, signals it, and measures its memory from outside.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// How often the memory of a running process is looked at. Its high-water mark is kept by the kernel, so only what it rises to in
/// its last moments can be missed.
const MEMORY_POLL: Duration = Duration::from_millis(3);

/// A program to run, with its folder and environment.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    folder: PathBuf,
    environment: Vec<(String, String)>,
}

impl Program {
    /// The program at `path`, run in `folder`.
    pub fn new(path: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), folder: folder.into(), environment: Vec::new() }
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Runs it to its end.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Finished {
        self.start(arguments).wait()
    }

    /// Starts it, without a terminal and with nothing to read.
    pub fn start<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Running {
        let mut command = Command::new(&self.path);
        command.args(arguments).current_dir(&self.folder).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|cause| panic!("starting {}: {cause}", self.path.display()));
        let stdout = Some(collect(child.stdout.take()));
        let stderr = Some(collect(child.stderr.take()));
        let memory = Memory::watch(child.id());
        Running { child: Some(child), stdout, stderr, memory }
    }
}

fn collect(stream: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // A stream that breaks off has still said what it said.
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A program that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    memory: Memory,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Sends a signal; one to a process that has ended is lost, as signals are.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            let _ = kill_process(id, signal);
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Finished {
        let mut child = self.child.take().expect("a running program has a child");
        let status = child.wait().expect("a child can be waited for");
        self.finished(status)
    }

    /// Waits for its end, at most so long; kills it and fails the test after that.
    pub fn wait_within(mut self, longest: Duration) -> Finished {
        let start = Instant::now();
        while !self.has_ended() {
            if start.elapsed() > longest {
                self.signal(Signal::KILL);
                let finished = self.wait();
                panic!("the program did not end within {longest:?}\n{finished}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.wait()
    }

    fn finished(mut self, status: ExitStatus) -> Finished {
        let text = |reader: Option<JoinHandle<String>>| {
            reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
        };
        Finished {
            code: status.code(),
            signal: status.signal(),
            stdout: text(self.stdout.take()),
            stderr: text(self.stderr.take()),
            peak_bytes: self.memory.stop(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A test that failed half-way must not leave its program behind, not even a stopped one.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How a program ended, and what it said.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
    /// The most resident memory it had.
    pub peak_bytes: u64,
}

impl Finished {
    /// Fails the test unless it ended well.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert!(self.code == Some(0), "the program should have succeeded\n{self}");
        self
    }

    /// Whether SIGKILL ended it.
    pub fn was_killed(&self) -> bool {
        self.signal == Some(Signal::KILL.as_raw())
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "exit code {:?}, signal {:?}", self.code, self.signal)?;
        writeln!(f, "--- stdout\n{}\n--- stderr\n{}", self.stdout.trim_end(), self.stderr.trim_end())
    }
}

/// Watches the high-water mark of a process's resident set.
#[derive(Debug)]
struct Memory {
    ended: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Memory {
    fn watch(id: u32) -> Self {
        let (ended, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (watch_ended, watch_peak) = (Arc::clone(&ended), Arc::clone(&peak));
        let thread = std::thread::spawn(move || {
            let path = PathBuf::from(format!("/proc/{id}/status"));
            while !watch_ended.load(Ordering::Relaxed) {
                let Some(bytes) = high_water_mark(&path) else { return };
                watch_peak.fetch_max(bytes, Ordering::Relaxed);
                std::thread::sleep(MEMORY_POLL);
            }
        });
        Self { ended, peak, thread: Some(thread) }
    }

    /// Stops watching; the peak in bytes.
    fn stop(&mut self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.stop();
    }
}

/// `VmHWM` in bytes; `None` once the process has ended.
fn high_water_mark(status: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}
