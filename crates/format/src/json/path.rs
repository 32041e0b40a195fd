//! The few places of a document that matter: where the rows are, and the values that paging wants.

use dil_model::{Error, ErrorKind, Result};

/// Paths as a tree; node 0 is the document itself.
#[derive(Debug, Clone)]
pub(crate) struct Targets {
    nodes: Vec<Node>,
}

/// A place on the way to a target.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    /// Whether the rows are here.
    pub(crate) rows: bool,
    /// The path, if its value is wanted.
    pub(crate) wanted: Option<String>,
    children: Vec<(String, usize)>,
}

impl Targets {
    /// The rows at `rows_at` (`None`: the document itself) and the wanted paths outside them.
    ///
    /// # Errors
    /// `Config` if a wanted path leads into the rows or holds them: that value would be as large as the data.
    pub(crate) fn new(rows_at: Option<&str>, wanted: &[String]) -> Result<Self> {
        let mut targets = Self { nodes: vec![Node::default()] };
        let rows = rows_at.map_or(0, |path| targets.insert(path));
        targets.nodes[rows].rows = true;
        if let Some(rows_at) = rows_at {
            for path in wanted {
                if leads_to(path, rows_at) || leads_to(rows_at, path) {
                    return Err(Error::new(
                        ErrorKind::Config,
                        "json/wanted",
                        format!("the path `{path}` for paging overlaps the rows at `{rows_at}`"),
                    )
                    .hint("name a value that stands outside the rows"));
                }
            }
            targets.want(wanted);
        }
        Ok(targets)
    }

    /// The wanted paths of a document without rows.
    pub(crate) fn only(wanted: &[String]) -> Self {
        let mut targets = Self { nodes: vec![Node::default()] };
        targets.want(wanted);
        targets
    }

    fn want(&mut self, wanted: &[String]) {
        for path in wanted {
            let node = self.insert(path);
            self.nodes[node].wanted = Some(path.clone());
        }
    }

    fn insert(&mut self, path: &str) -> usize {
        let mut node = 0;
        for name in path.split('.') {
            node = match self.child(node, name.as_bytes()) {
                Some(child) => child,
                None => {
                    self.nodes.push(Node::default());
                    let child = self.nodes.len() - 1;
                    self.nodes[node].children.push((name.to_owned(), child));
                    child
                }
            };
        }
        node
    }

    /// The paths whose values are wanted.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter_map(|node| node.wanted.as_deref())
    }

    /// The place `name` below `node`.
    pub(crate) fn child(&self, node: usize, name: &[u8]) -> Option<usize> {
        self.nodes[node].children.iter().find(|(child, _)| child.as_bytes() == name).map(|(_, child)| *child)
    }

    /// The place of the array element `index` below `node`.
    pub(crate) fn element(&self, node: usize, index: usize) -> Option<usize> {
        self.nodes[node]
            .children
            .iter()
            .find(|(child, _)| child.parse() == Ok(index))
            .map(|(_, child)| *child)
    }

    /// The place itself.
    pub(crate) fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }
}

impl Node {
    /// Whether there are targets further in.
    pub(crate) fn leads_on(&self) -> bool {
        !self.children.is_empty()
    }
}

/// Whether `to` is `from` or inside it.
fn leads_to(from: &str, to: &str) -> bool {
    to.strip_prefix(from).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_wanted_path_that_overlaps_the_rows() {
        let new = |wanted: &str| Targets::new(Some("data.items"), &[wanted.to_owned()]);
        for wanted in ["data", "data.items", "data.items.0.id"] {
            assert_eq!(new(wanted).err().map(|error| error.kind), Some(ErrorKind::Config), "{wanted}");
        }
        for wanted in ["data.item", "data.next", "dat", "items"] {
            assert!(new(wanted).is_ok(), "{wanted}");
        }
    }
}
