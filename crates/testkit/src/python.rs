//! Runs the other implementations that read written files back: pyarrow, DuckDB, fastavro.

use std::path::PathBuf;

use crate::process::Program;

/// The interpreter of the tests' virtual environment.
///
/// Fails the test if it is not there: a reader that is missing would make a test pass that checked nothing.
pub fn interpreter() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .expect("XDG_CACHE_HOME or HOME is set");
    let python = cache.join("dil/venv/bin/python");
    assert!(
        python.exists(),
        "{} is missing: this test reads files back with pyarrow, DuckDB and fastavro; run scripts/test-setup.sh",
        python.display()
    );
    python
}

/// Runs a script and reads what it prints as JSON.
///
/// The script finds its arguments in `sys.argv[1:]`. One that fails, fails the test with what it said.
#[track_caller]
pub fn json(script: &str, arguments: &[&str]) -> serde_json::Value {
    let all: Vec<&str> = ["-c", script].into_iter().chain(arguments.iter().copied()).collect();
    let finished = Program::new(interpreter(), ".").run(&all).succeeded();
    serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|cause| panic!("the script should print JSON: {cause}\n{finished}"))
}
