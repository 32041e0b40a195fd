//! Corners of publication: what is not ours, what is linked, what the ledger no longer knows.

use std::os::unix::fs::symlink;

use crate::lake;
use crate::scene::{Scene, TwoStage, UNDIVIDED};

fn replacing() -> Scene {
    let scene = Scene::small();
    scene.write_flow(&TwoStage {
        files: "format: parquet, mode: replace",
        more: "    publish: all_units",
        request: UNDIVIDED,
        undivided: true,
        ..TwoStage::default()
    });
    scene
}

#[test]
fn a_ledger_that_is_lost_does_not_double_what_it_published() {
    let scene = Scene::small();
    scene.run("2024-03-01", &[]).succeeded();
    std::fs::remove_dir_all(scene.path(".dil")).expect("the ledger is there");
    for _ in 0..2 {
        let refused = scene.run("2024-03-01", &[]);
        assert_eq!(refused.code, Some(1), "{refused}");
        assert!(refused.stderr.contains("publish/unknown-files"), "{refused}");
        assert_eq!(lake::ids(&scene.lake()), scene.oracle.ids_between("2024-01-01", "2024-03-01"));
    }
}

#[test]
fn a_reset_is_not_undone_by_the_recovery_of_an_interrupted_publication() {
    let scene = Scene::small();
    let arguments = crate::scene::run_arguments("2024-03-01", &[]);
    let killed = scene.dil().env("DIL_FAULT", "publication.prepare:after:2").run(&arguments);
    assert_eq!(killed.code, None, "{killed}");
    scene.dil().run(&["state", "reset", "two_stage", "events", "--yes"]).succeeded();
    scene.oracle.forget();
    scene.run("2024-03-01", &[]).succeeded();
    let asked = scene.oracle.ledger();
    let first_pages =
        asked.iter().filter(|served| served.path.ends_with("/events") && !served.query.contains("cursor="));
    assert_eq!(first_pages.count(), 4, "all units are read again");
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn a_stage_that_is_reset_is_run_again_by_its_interrupted_run() {
    let scene = Scene::small();
    let arguments = crate::scene::run_arguments("2024-03-01", &[]);
    let killed = scene.dil().env("DIL_FAULT", "unit.begin:after:2").run(&arguments);
    assert_eq!(killed.code, None, "{killed}");
    scene.dil().run(&["state", "reset", "two_stage", "sites", "--yes"]).succeeded();
    scene.oracle.forget();
    scene.run("2024-03-01", &[]).succeeded();
    assert!(
        scene.oracle.ledger().iter().any(|served| served.path.ends_with("/sites")),
        "the list is read again"
    );
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn a_folder_that_a_link_leads_to_is_replaced_and_the_link_stays() {
    let scene = replacing();
    std::fs::create_dir(scene.path("real")).expect("a folder");
    symlink(scene.path("real"), scene.lake()).expect("a link");
    for _ in 0..2 {
        scene.run("2024-03-01", &[]).succeeded();
        assert!(scene.lake().is_symlink());
        assert_eq!(lake::ids(&scene.path("real")), scene.oracle.ids_between("2024-01-01", "2024-03-01"));
    }
}

#[test]
fn a_hidden_file_of_somebody_else_is_not_replaced() {
    let scene = replacing();
    scene.run("2024-03-01", &[]).succeeded();
    scene.write("lake/.precious", "somebody's");
    let refused = scene.run("2024-03-01", &[]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains(".precious"), "{refused}");
    assert!(scene.path("lake/.precious").exists());
}
