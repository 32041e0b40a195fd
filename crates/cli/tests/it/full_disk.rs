//! A disk that fills up in the middle of a unit.

use std::path::Path;
use std::process::Command;

use dil_testkit::process::Program;

use crate::scene::{DIL, Scene};

/// Mounts one MiB over `lake` in a mount namespace of its own, runs, and lists what became visible there.
const ON_A_SMALL_DISK: &str = r#"
mount -t tmpfs -o size=1m tmpfs lake || exit 77
"$0" run flow.yaml
code=$?
find lake -name '.*' -prune -o -type f -print | sed 's/^/visible: /'
exit $code
"#;

/// Where namespaces are forbidden: no file may grow beyond half a MiB, so that a write fails in the same place.
const WITH_A_SIZE_LIMIT: &str = r#"
trap '' XFSZ
( ulimit -f 512; exec "$0" run flow.yaml )
code=$?
find lake -name '.*' -prune -o -type f -print | sed 's/^/visible: /'
exit $code
"#;

fn namespaces_work(folder: &Path) -> bool {
    let trial = Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "tmpfs", "."])
        .current_dir(folder)
        .output();
    trial.is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk_is_told_and_nothing_is_half_published() {
    let scene = Scene::new();
    std::fs::create_dir(scene.lake()).expect("a folder");
    std::fs::create_dir(scene.path("in")).expect("a folder");
    let rows = 300_000;
    let mut random = dil_testkit::seeded::Seeded::new(1);
    let lines: Vec<String> =
        (1..=rows).map(|id| format!("{id},{:x}{:x}", random.next_u64(), random.next_u64())).collect();
    scene.write("in/a.csv", &format!("id,noise\n{}\n", lines.join("\n")));
    scene.write(
        "flow.yaml",
        "flow: from_files
stages:
  rows:
    read: { files: { path: in/a.csv }, format: csv }
    write: { files: { path: lake, format: parquet } }
",
    );
    let finished = if namespaces_work(scene.folder()) {
        Program::new("unshare", scene.folder()).run(&["-rm", "sh", "-c", ON_A_SMALL_DISK, DIL])
    } else {
        Program::new("sh", scene.folder()).run(&["-c", WITH_A_SIZE_LIMIT, DIL])
    };
    assert!(finished.code.is_some_and(|code| code != 0 && code != 77), "{finished}");
    assert!(!finished.stdout.contains("visible:"), "nothing may be visible\n{finished}");
    assert!(
        finished.stderr.contains("lake") && finished.stderr.contains("hint:"),
        "place and remedy\n{finished}"
    );

    scene.dil().run(&["run", "flow.yaml"]).succeeded();
    assert_eq!(crate::lake::ids(&scene.lake()).len(), rows);
}
