//! YAML text → [`Node`] tree.
//!
//! YAML 1.2. Anchors, aliases and merge keys (`<<`) work, within budgets, because a few lines of aliases can spell a tree of
//! billions of nodes. Two equal keys in one mapping and a second document are problems, tags other than `!!str` too.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use dil_model::Problem;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::place::{Found, Places};
use crate::tree::{Content, Entry, Node, Scalar};

/// Larger files are refused; a flow that is generated stays far below.
const FILE_BYTES_MAX: usize = 4 << 20;
/// Nodes of a file, aliases expanded. More would let a small file exhaust the memory.
const NODES_MAX: usize = 100_000;
/// Levels of nesting, aliases expanded. More would exhaust the stack of whoever walks the tree.
const DEPTH_MAX: usize = 64;

/// Reads a text. The tree is absent after an error of syntax, which is then the last problem.
pub(crate) fn read(text: &str, places: &Places) -> (Option<Node>, Vec<Found>) {
    if text.len() > FILE_BYTES_MAX {
        let message = format!(
            "the file is {} MiB long, more than the {} MiB of a flow",
            text.len() >> 20,
            FILE_BYTES_MAX >> 20
        );
        return (None, vec![problem("yaml/too-large", message, &[], 0..0)]);
    }
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        places,
        bytes: Bytes::new(body, text.len() - body.len()),
        open: Vec::new(),
        root: None,
        documents: 0,
        anchors: HashMap::new(),
        nodes: 0,
        found: Vec::new(),
    };
    for event in Parser::new_from_str(body) {
        let step = match event {
            Ok((event, span)) => reader.event(event, span),
            Err(cause) => Err(reader.syntax(&cause)),
        };
        if let Err(fatal) = step {
            reader.found.push(*fatal);
            return (None, reader.found);
        }
    }
    if reader.root.is_none() {
        reader.found.push(
            problem("yaml/empty", "the file holds no flow".to_owned(), &[], 0..0)
                .hint("start with `flow: NAME` and `stages:`"),
        );
    }
    (reader.root, reader.found)
}

type Step = Result<(), Box<Found>>;

struct Reader<'a> {
    places: &'a Places,
    bytes: Bytes,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    /// What an anchor names: the node, its count of nodes and its depth.
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    found: Vec<Found>,
}

/// A mapping or list whose end has not come yet.
struct Open {
    start: usize,
    anchor: usize,
    nodes_before: usize,
    depth: usize,
    kind: OpenKind,
}

enum OpenKind {
    Seq(Vec<Node>),
    Map(Mapping),
}

#[derive(Default)]
struct Mapping {
    entries: Vec<Entry>,
    /// Where each key stands.
    seen: HashMap<String, usize>,
    /// The key whose value comes next, and whether it is written without quotes.
    key: Option<Key>,
    merges: Vec<(Node, Range<usize>)>,
}

struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

/// From the parser's character positions to bytes.
struct Bytes {
    offset: usize,
    of_chars: Option<Vec<usize>>,
    len: usize,
}

impl Bytes {
    fn new(text: &str, offset: usize) -> Self {
        let of_chars = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect());
        Self { offset, of_chars, len: text.len() }
    }

    fn of(&self, index: usize) -> usize {
        let byte = match &self.of_chars {
            Some(of_chars) => of_chars.get(index).copied().unwrap_or(self.len),
            None => index.min(self.len),
        };
        byte + self.offset
    }

    fn span(&self, span: Span) -> Range<usize> {
        self.of(span.start.index())..self.of(span.end.index())
    }
}

impl Reader<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Step {
        let at = self.bytes.span(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    let found =
                        problem("yaml/second-document", "a second document starts here".to_owned(), &[], at);
                    return Err(Box::new(found.hint("a file holds one flow; remove the `---`")));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let as_text = self.tag(tag, &at);
                let plain = style == ScalarStyle::Plain && !as_text;
                let scalar = Scalar { text: text.into_owned(), plain, substituted: false, broken: false };
                self.count(1, 1, &at)?;
                self.complete(Node { content: Content::Scalar(scalar), span: at }, anchor, 1, 1)
            }
            Event::SequenceStart(anchor, tag) => {
                self.tag(tag, &at);
                self.begin(at, anchor, OpenKind::Seq(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.tag(tag, &at);
                self.begin(at, anchor, OpenKind::Map(Mapping::default()))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(&at),
            Event::Alias(anchor) => {
                let Some(Anchored { node, nodes, depth }) = self.anchors.get(&anchor) else {
                    let found = problem(
                        "yaml/alias",
                        "the alias stands inside of what it names".to_owned(),
                        &self.path(),
                        at,
                    );
                    return Err(Box::new(found));
                };
                let (node, nodes, depth) = (node.clone(), *nodes, *depth);
                self.count(nodes, depth, &at)?;
                self.complete(node, 0, nodes, depth)
            }
        }
    }

    /// Whether the tag makes a text of its scalar; other tags are reported.
    fn tag(&mut self, tag: Option<Cow<'_, Tag>>, at: &Range<usize>) -> bool {
        match tag {
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => true,
            Some(tag) => {
                let found = problem(
                    "yaml/tag",
                    format!("the tag `{tag}` means nothing here"),
                    &self.path(),
                    at.clone(),
                );
                self.found.push(found.hint("leave it out; only `!!str` is known"));
                false
            }
            None => false,
        }
    }

    /// Accounts for nodes before they are made.
    fn count(&mut self, nodes: usize, depth: usize, at: &Range<usize>) -> Step {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            let message =
                format!("the file has more than {NODES_MAX} values, aliases counted where they are used");
            return Err(Box::new(problem("yaml/too-many-values", message, &[], at.clone())));
        }
        if self.open.len() + depth > DEPTH_MAX {
            let message = format!("nested deeper than {DEPTH_MAX} levels");
            return Err(Box::new(problem("yaml/too-deep", message, &[], at.clone())));
        }
        Ok(())
    }

    fn begin(&mut self, at: Range<usize>, anchor: usize, kind: OpenKind) -> Step {
        self.count(1, 1, &at)?;
        self.open.push(Open { start: at.start, anchor, nodes_before: self.nodes - 1, depth: 1, kind });
        Ok(())
    }

    fn end(&mut self, at: &Range<usize>) -> Step {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let content = match open.kind {
            OpenKind::Seq(items) => Content::Seq(items),
            OpenKind::Map(mut mapping) => {
                for (node, span) in std::mem::take(&mut mapping.merges) {
                    self.merge(&mut mapping, node, &span);
                }
                Content::Map(mapping.entries)
            }
        };
        let span = open.start..at.end.max(open.start);
        self.complete(Node { content, span }, open.anchor, self.nodes - open.nodes_before, open.depth)
    }

    /// Keys of the mapping itself win over merged ones, earlier merged ones over later.
    fn merge(&mut self, mapping: &mut Mapping, node: Node, span: &Range<usize>) {
        let sources = match node.content {
            Content::Map(_) => vec![node],
            Content::Seq(items) => items,
            Content::Scalar(_) => Vec::new(),
        };
        let all_maps = !sources.is_empty() && sources.iter().all(|source| source.map().is_some());
        if !all_maps {
            let found = problem(
                "yaml/merge",
                "`<<` takes a mapping, or a list of mappings".to_owned(),
                &self.path(),
                span.clone(),
            );
            self.found.push(found.hint("write `<<: *name`, where `&name` stands before a mapping"));
            return;
        }
        for source in sources {
            if let Content::Map(merged) = source.content {
                for entry in merged {
                    if !mapping.seen.contains_key(&entry.key) {
                        mapping.seen.insert(entry.key.clone(), entry.key_span.start);
                        mapping.entries.push(entry);
                    }
                }
            }
        }
    }

    /// A node is whole: it becomes a key, a value, an item or the root.
    fn complete(&mut self, node: Node, anchor: usize, nodes: usize, depth: usize) -> Step {
        if anchor > 0 {
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, depth });
        }
        let path = self.path();
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        parent.depth = parent.depth.max(depth + 1);
        match &mut parent.kind {
            OpenKind::Seq(items) => items.push(node),
            OpenKind::Map(mapping) => match mapping.key.take() {
                None => {
                    let (key, problem) = as_key(node, &path);
                    mapping.key = Some(key);
                    self.found.extend(problem);
                }
                Some((name, span, true)) if name == "<<" => mapping.merges.push((node, span)),
                Some((name, key_span, _)) => {
                    if let Some(first) = mapping.seen.get(&name) {
                        let line = self.places.line(*first);
                        let mut path = path;
                        path.push(name.clone());
                        let found = problem(
                            "yaml/duplicate-key",
                            format!("the key `{name}` stands twice"),
                            &path,
                            key_span,
                        );
                        self.found
                            .push(found.hint(format!("the first one is in line {line}; keep one of them")));
                    } else {
                        mapping.seen.insert(name.clone(), key_span.start);
                        mapping.entries.push(Entry { key: name, key_span, node });
                    }
                }
            },
        }
        Ok(())
    }

    /// The keys from the root to the place where reading stands.
    fn path(&self) -> Vec<String> {
        let steps = self.open.iter().filter_map(|open| match &open.kind {
            OpenKind::Seq(items) => Some(items.len().to_string()),
            OpenKind::Map(mapping) => mapping.key.as_ref().map(|(name, ..)| name.clone()),
        });
        steps.collect()
    }

    fn syntax(&self, cause: &ScanError) -> Box<Found> {
        let at = self.bytes.of(cause.marker().index());
        let info = cause.info();
        let hint = if info.contains("tab") {
            "indent with spaces"
        } else if info.contains("mapping values") || info.contains("simple key") {
            "look for a missing line end, a wrong indent, or a text with `: ` inside that needs quotes"
        } else if info.contains("quote") || info.contains("end of stream") {
            "look for a quote or a bracket that is not closed"
        } else if info.contains("anchor") {
            "an alias `*name` needs an anchor `&name` before it; a text that starts with `*` or `&` needs quotes"
        } else {
            "look at the indent and the brackets here and in the line before; a text with special characters needs quotes"
        };
        Box::new(
            problem("yaml/syntax", format!("this is not YAML: {info}"), &self.path(), at..at + 1).hint(hint),
        )
    }
}

type Key = (String, Range<usize>, bool);

fn as_key(node: Node, path: &[String]) -> (Key, Option<Found>) {
    match node.content {
        Content::Scalar(scalar) => ((scalar.text, node.span, scalar.plain), None),
        Content::Seq(_) | Content::Map(_) => {
            let found = problem("yaml/key", "a key must be a text".to_owned(), path, node.span.clone());
            let found = found.hint("a text that starts with `{` needs quotes: \"{{ id }}\"");
            ((String::new(), node.span, false), Some(found))
        }
    }
}

fn problem(code: &str, message: String, path: &[String], span: Range<usize>) -> Found {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    Found { problem: Problem::new(code, message, &path), span: Some(span) }
}

impl Found {
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.problem = self.problem.hint(hint);
        self
    }
}
