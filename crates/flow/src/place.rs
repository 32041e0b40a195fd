//! From bytes to lines and columns, and from the path of a problem to its bytes.

use std::fmt;
use std::ops::Range;

use dil_model::Problem;

use crate::tree::{Content, Node};

/// A problem and where it is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// What is wrong and what to do.
    pub problem: Problem,
    /// The file's name as the caller gave it.
    pub file: String,
    /// The line of the first character, counted from 1.
    pub line: usize,
    /// The column of the first character, in characters, counted from 1.
    pub column: usize,
    /// The line of the last character.
    pub end_line: usize,
    /// The column after the last character.
    pub end_column: usize,
    /// The bytes it is about, for whoever shows the text; never outside it, and on character boundaries.
    pub bytes: Range<usize>,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, problem, .. } = self;
        write!(f, "{file}:{line}:{column}: error[{}]: {}", problem.code, problem.message)?;
        match &problem.hint {
            Some(hint) => write!(f, "\n    hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// A problem on its way to a place; `span` where the path cannot tell it (the second of two equal keys).
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) problem: Problem,
    pub(crate) span: Option<Range<usize>>,
}

impl From<Problem> for Found {
    fn from(problem: Problem) -> Self {
        Self { problem, span: None }
    }
}

/// Puts problems into lines and columns of one text.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    file: String,
    text: String,
    line_starts: Vec<usize>,
}

impl Places {
    pub(crate) fn new(file: &str, text: &str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            line_starts: std::iter::once(0).chain(starts).collect(),
        }
    }

    /// The place of a problem whose bytes are known.
    pub(crate) fn at(&self, problem: Problem, span: Range<usize>) -> Located {
        let start = self.boundary(span.start);
        let end = self.boundary(span.end.max(start));
        // A block scalar's bytes end with its line; the line after it is not what is meant.
        let trimmed = self.text.get(start..end).map_or(0, |text| text.trim_end().len());
        let end = start + trimmed;
        let (line, column) = self.line_and_column(start);
        let (end_line, end_column) = self.line_and_column(end);
        Located { problem, file: self.file.clone(), line, column, end_line, end_column, bytes: start..end }
    }

    /// The place of a problem, found by its path; one that the text does not have leads to its nearest parent.
    pub(crate) fn find(&self, root: Option<&Node>, problem: Problem) -> Located {
        let span = root.map_or(0..0, |root| span_of(root, &problem.path, problem.on_key));
        self.at(problem, span)
    }

    /// The line, counted from 1, of a byte.
    pub(crate) fn line(&self, byte: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= byte)
    }

    fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let line = self.line(byte);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..byte).map_or(0, |before| before.chars().count());
        (line, column + 1)
    }

    fn boundary(&self, byte: usize) -> usize {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        byte
    }
}

/// A mapping or list is shown by its key: its own bytes may go over many lines.
fn span_of(root: &Node, path: &[String], on_key: bool) -> Range<usize> {
    let mut node = root;
    let mut key = None;
    let mut complete = true;
    for step in path {
        let next = match &node.content {
            Content::Map(entries) => entries
                .iter()
                .find(|entry| entry.key == *step)
                .map(|entry| (&entry.node, Some(&entry.key_span))),
            Content::Seq(items) => {
                step.parse::<usize>().ok().and_then(|index| items.get(index)).map(|item| (item, None))
            }
            Content::Scalar(_) => None,
        };
        let Some((child, child_key)) = next else {
            complete = false;
            break;
        };
        (node, key) = (child, child_key);
    }
    let scalar = matches!(&node.content, Content::Scalar(_)) && !node.span.is_empty();
    match (key, &node.content) {
        (Some(key), _) if on_key || !complete || !scalar => key.clone(),
        (None, Content::Map(entries)) => {
            entries.first().map_or(node.span.clone(), |first| first.key_span.clone())
        }
        (None, Content::Seq(items)) => items.first().map_or(node.span.clone(), |first| first.span.clone()),
        _ => node.span.clone(),
    }
}
