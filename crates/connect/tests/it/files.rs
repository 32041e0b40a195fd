//! Local files as a source.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use dil_connect::files::{FilesSourceSpec, source};
use dil_model::component::{PageBody, PageFacts, Source};
use dil_model::template::Variables;
use dil_model::{ErrorKind, Result};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::reading::{Secrets, text};

fn folder(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("in {name}")).unwrap();
    }
    folder
}

fn spec(folder: &Path, path: &str, more: Value) -> FilesSourceSpec {
    let mut read = json!({ "path": format!("{}/{path}", folder.display()) });
    read.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut variables = Variables::new();
    variables.insert("day".to_owned(), json!("2024-02-29"));
    FilesSourceSpec {
        read: serde_json::from_value(read).unwrap(),
        columnar: false,
        variables,
        secrets: Arc::new(Secrets),
        resume: None,
    }
}

async fn read_all(source: &mut dyn Source) -> Result<Vec<String>> {
    let mut pages = Vec::new();
    while let Some(page) = source.open().await? {
        assert_eq!(page.number, pages.len() as u64 + 1);
        let name = page.label.rsplit('/').next().unwrap().to_owned();
        assert!(text(page).await?.ends_with(&name));
        pages.push(name);
        source.advance(&PageFacts::default()).await?;
    }
    Ok(pages)
}

async fn read(folder: &TempDir, path: &str) -> Result<Vec<String>> {
    read_all(source(spec(folder.path(), path, json!({})))?.as_mut()).await
}

#[tokio::test]
async fn files_come_in_the_order_of_their_names() {
    let folder = folder(&["b.csv", "a.csv", "c.txt", "a10.csv", "a2.csv"]);
    assert_eq!(read(&folder, "*.csv").await.unwrap(), ["a.csv", "a10.csv", "a2.csv", "b.csv"]);
}

#[tokio::test]
async fn hidden_files_and_folders_are_passed_over() {
    let folder = folder(&["a.csv", ".b.csv", "x/c.csv", ".dil-staging/f/d.csv", "folder.csv/e.txt"]);
    assert_eq!(read(&folder, "*.csv").await.unwrap(), ["a.csv"]);
    assert_eq!(read(&folder, "**/*.csv").await.unwrap(), ["a.csv", "c.csv"]);
    assert_eq!(read(&folder, ".b*").await.unwrap(), [".b.csv"]);
    assert_eq!(read(&folder, "**/.b*").await.unwrap(), [".b.csv"]);
    assert_eq!(read(&folder, ".dil-staging/*/*.csv").await.unwrap(), ["d.csv"]);
}

#[tokio::test]
async fn a_plain_path_is_one_file_and_may_hold_brackets() {
    let folder = folder(&["a[1].csv", "a1.csv", "2024-02-29.csv"]);
    assert_eq!(read(&folder, "a[1].csv").await.unwrap(), ["a[1].csv"]);
    assert_eq!(read(&folder, "a[!2].csv").await.unwrap(), ["a1.csv"]);
    assert_eq!(read(&folder, "{{ day }}.csv").await.unwrap(), ["2024-02-29.csv"]);
}

#[tokio::test]
async fn a_value_names_one_file_inside_the_folder() {
    let folder = folder(&["in/a.csv", "in/b.csv", "in/*.csv", "outside.csv"]);
    let read = |id: &str| {
        let mut spec = spec(folder.path(), "in/{{ id }}.csv", json!({}));
        spec.variables.insert("id".to_owned(), json!(id));
        async { read_all(source(spec)?.as_mut()).await }
    };
    assert_eq!(read("a").await.unwrap(), ["a.csv"]);
    assert_eq!(read("*").await.unwrap(), ["*.csv"]);
    assert_eq!(read("[ab]").await.unwrap_err().code, "files/no-match");
    for id in ["../outside", "..", "/etc/passwd", "x/../../outside"] {
        let error = read(id).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Config, "template/file-name"));
        assert!(error.message.contains(id) && error.hint.is_some(), "{error}");
    }
}

#[tokio::test]
async fn nothing_is_an_error_unless_it_may_be() {
    let folder = folder(&["a.csv"]);
    for path in ["*.json", "missing.csv"] {
        let error = read(&folder, path).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Content, "files/no-match"));
        assert!(error.message.contains(path), "{error}");
        let spec = spec(folder.path(), path, json!({ "no_match": "empty" }));
        assert!(source(spec).unwrap().open().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_folder_is_told_from_a_file() {
    let folder = folder(&["x/a.csv"]);
    assert_eq!(read(&folder, "x").await.unwrap_err().code, "files/folder");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_an_error() {
    let folder = folder(&["a.csv"]);
    std::os::unix::fs::symlink("nowhere", folder.path().join("b.csv")).unwrap();
    let error = read(&folder, "*.csv").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Storage);
    assert!(error.message.contains("b.csv"), "{error}");
}

#[tokio::test]
async fn a_source_that_is_resumed_goes_on_behind_the_last_file() {
    let folder = folder(&["a.csv", "b.csv", "c.csv"]);
    let mut first = source(spec(folder.path(), "*.csv", json!({}))).unwrap();
    for _ in 0..2 {
        drop(first.open().await.unwrap().unwrap());
        first.advance(&PageFacts::default()).await.unwrap();
    }
    let mut spec = spec(folder.path(), "*.csv", json!({}));
    spec.resume = Some(first.position());
    let mut second = source(spec).unwrap();
    let page = second.open().await.unwrap().unwrap();
    assert_eq!((page.number, text(page).await.unwrap().as_str()), (3, "in c.csv"));
    second.advance(&PageFacts::default()).await.unwrap();
    assert!(second.open().await.unwrap().is_none());
}

#[tokio::test]
async fn a_file_comes_in_chunks_of_the_size_asked_for() {
    let folder = folder(&[]);
    fs::write(folder.path().join("a"), vec![b'x'; 2500]).unwrap();
    let mut opened = source(spec(folder.path(), "a", json!({ "chunk": "1KiB" }))).unwrap();
    let page = opened.open().await.unwrap().unwrap();
    let PageBody::Stream(body) = page.body else { unreachable!("a page of any order") };
    let sizes: Vec<usize> = body.map(|chunk| chunk.unwrap().len()).collect().await;
    assert_eq!(sizes, [1024, 1024, 452]);
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_read_is_truncated() {
    let folder = folder(&[]);
    let path = folder.path().join("a");
    fs::write(&path, vec![b'x'; 1000]).unwrap();
    let mut opened = source(spec(folder.path(), "a", json!({ "chunk": "1B" }))).unwrap();
    let page = opened.open().await.unwrap().unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(500).unwrap();
    let error = text(page).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Truncated);
    assert!(error.message.contains("had 1000 bytes") && error.message.contains("ended after 500"), "{error}");
    assert!(opened.again(error).await.is_err());
}
