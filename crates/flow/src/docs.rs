//! The reference pages, written from the schema: what editors complete is what the pages say.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::schema::{Alternative, SCHEMA, Schema, Shape};
use crate::tree::means_text;

/// A page: its file, its title, and the place in a flow that it starts from.
struct Page {
    file: &'static str,
    title: &'static str,
    place: &'static str,
}

const PAGES: [Page; 6] = [
    Page { file: "flow.md", title: "A flow and its stages", place: "" },
    Page { file: "connections.md", title: "Connections", place: "connections.NAME" },
    Page { file: "units.md", title: "Work units", place: "stages.NAME.units" },
    Page { file: "read.md", title: "Reading", place: "stages.NAME.read" },
    Page { file: "convert.md", title: "Converting", place: "stages.NAME.convert[]" },
    Page { file: "write.md", title: "Writing", place: "stages.NAME.write" },
];

/// The page of the values that are spelt as one text.
const VALUES: &str = "values.md";

/// All reference pages: file name and Markdown.
///
/// Each key has its meaning, type, default or that it is required, and an example; alternatives have their meanings.
pub fn reference() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    let mut todo = vec![("".to_owned(), SCHEMA.root())];
    for page in &PAGES {
        let Some(at) = todo.iter().position(|(place, _)| place == page.place) else { continue };
        let (place, schema) = todo.swap_remove(at);
        let mut writer =
            Writer { schema: &SCHEMA, out: format!("{NOTE}\n# {}\n", page.title), elsewhere: Vec::new() };
        writer.section(&place, schema);
        todo.append(&mut writer.elsewhere);
        pages.push((page.file.to_owned(), writer.out));
    }
    pages.push((VALUES.to_owned(), values()));
    pages
}

const NOTE: &str =
    "<!-- Written by `cargo xtask docs` from the types in `crates/model/src/config`; edit those. -->";

struct Writer {
    schema: &'static Schema,
    out: String,
    /// Places whose sections are on other pages.
    elsewhere: Vec<(String, &'static Value)>,
}

impl Writer {
    fn line(&mut self, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{text}");
    }

    /// A place and all that is below it, as far as it has no page of its own.
    fn section(&mut self, place: &str, schema: &'static Value) {
        let description = description(self.schema.resolve(schema).1);
        let heading = if place.is_empty() { "The file".to_owned() } else { format!("`{place}`") };
        self.line(&format!("\n## {heading}\n\n{description}"));
        match self.schema.shape(schema) {
            Shape::Keys { properties, required } => self.keys(place, properties, &required),
            Shape::Choice(alternatives) => self.kinds(place, &alternatives),
            _ => {}
        }
    }

    fn keys(&mut self, place: &str, properties: &'static Map<String, Value>, required: &[&str]) {
        for (key, schema) in properties {
            self.line(&format!("\n### `{key}`\n\n{}\n", description(schema)));
            let presence = match schema.get("default") {
                _ if required.contains(&key.as_str()) => "required".to_owned(),
                Some(default) => format!("default `{}`", inline(default)),
                None => "optional".to_owned(),
            };
            self.line(&format!("- {}; {presence}", self.type_of(&join(place, key), schema)));
            if let Shape::Choice(alternatives) = self.schema.shape(schema) {
                self.words(&alternatives);
            }
            if let Some(example) = schema.get("examples").and_then(|examples| examples.get(0)) {
                self.line(&format!("\n```yaml\n{key}: {}\n```", inline(example)));
            }
        }
        for (key, schema) in properties {
            self.below(&join(place, key), schema);
        }
    }

    /// The sections of what stands below a key.
    fn below(&mut self, place: &str, schema: &'static Value) {
        match self.schema.shape(schema) {
            Shape::Keys { .. } => self.section_or_page(place, schema),
            Shape::Named(of) => self.below(&format!("{place}.NAME"), of),
            Shape::List(of) => self.below(&format!("{place}[]"), of),
            Shape::Choice(alternatives) if alternatives.iter().any(|one| one.value.is_some()) => {
                self.section_or_page(place, schema)
            }
            _ => {}
        }
    }

    fn section_or_page(&mut self, place: &str, schema: &'static Value) {
        if page_of(place).is_some() {
            self.elsewhere.push((place.to_owned(), schema));
        } else {
            self.section(place, schema);
        }
    }

    fn words(&mut self, alternatives: &[Alternative<'_>]) {
        for Alternative { name, description, value } in alternatives {
            let form = if value.is_some() { format!("{name}: …") } else { (*name).to_owned() };
            let meaning = description.map(|text| format!(": {}", flat(text))).unwrap_or_default();
            self.line(&format!("  - `{form}`{meaning}"));
        }
    }

    fn kinds(&mut self, place: &str, alternatives: &[Alternative<'static>]) {
        self.line("\nOne of:\n");
        self.words(alternatives);
        for alternative in alternatives {
            if let Some(schema) = alternative.value {
                self.below(&join(place, alternative.name), schema);
            }
        }
    }

    fn type_of(&self, place: &str, schema: &'static Value) -> String {
        let link = |place: &str| match page_of(place) {
            Some(page) => format!("[`{place}`]({})", page.file),
            None => format!("[`{place}`](#{})", anchor(place)),
        };
        match self.schema.shape(schema) {
            Shape::Keys { .. } => format!("mapping, see {}", link(place)),
            Shape::Named(of) => {
                let named = format!("{place}.NAME");
                format!("mapping of names to {}", plural(&self.type_of(&named, of)))
            }
            Shape::List(of) => format!("list of {}", plural(&self.type_of(&format!("{place}[]"), of))),
            Shape::Choice(alternatives) if alternatives.iter().any(|one| one.value.is_some()) => {
                format!("one kind, see {}", link(place))
            }
            Shape::Choice(_) => "one of".to_owned(),
            Shape::Spelt(name) => format!("[{name}]({VALUES}#{})", name.to_lowercase()),
            Shape::Text => "text".to_owned(),
            Shape::Integer { min, max } => match (min, max) {
                (Some(min), Some(max)) => format!("whole number, {min} to {max}"),
                (Some(min), None) => format!("whole number, at least {min}"),
                (None, Some(max)) => format!("whole number, at most {max}"),
                (None, None) => "whole number".to_owned(),
            },
            Shape::Truth => "true or false".to_owned(),
            Shape::Scalar => "text, number or true/false".to_owned(),
            Shape::Any => "any value".to_owned(),
        }
    }
}

fn plural(kind: &str) -> String {
    match kind {
        "text" => "texts".to_owned(),
        other => other.replacen("mapping, ", "mappings, ", 1).replacen("one kind, ", "kinds, ", 1),
    }
}

fn page_of(place: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.place == place)
}

fn join(place: &str, key: &str) -> String {
    if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") }
}

/// The anchor that Markdown renderers give a heading: lowercase, letters, digits and `_` only.
fn anchor(place: &str) -> String {
    place.chars().filter(|c| c.is_alphanumeric() || *c == '_').flat_map(char::to_lowercase).collect()
}

fn description(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split("\n\n").map(flat).collect::<Vec<_>>().join("\n\n")
}

/// The text on one line; a `<` outside of code is escaped, or Markdown would take it for HTML.
fn flat(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let pieces = line.split('`').enumerate();
    let pieces = pieces
        .map(|(index, piece)| if index % 2 == 0 { piece.replace('<', "\\<") } else { piece.to_owned() });
    pieces.collect::<Vec<_>>().join("`")
}

fn values() -> String {
    let mut out = format!(
        "{NOTE}\n# Values that carry their unit\n\nA bare number is refused where one of these is expected.\n"
    );
    let definitions = SCHEMA.root().get("$defs").and_then(Value::as_object);
    let mut spelt: Vec<(&String, &Value)> =
        definitions.into_iter().flatten().filter(|(_, one)| one.get("pattern").is_some()).collect();
    spelt.sort_by_key(|(name, _)| *name);
    for (name, schema) in spelt {
        let examples =
            schema.get("examples").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let examples: Vec<String> = examples.iter().map(|example| format!("`{}`", inline(example))).collect();
        let _ = writeln!(out, "\n## {name}\n\n{}\n\nExamples: {}", description(schema), examples.join(", "));
    }
    out
}

/// A value as YAML on one line.
pub(crate) fn inline(value: &Value) -> String {
    match value {
        Value::String(text) if means_text(text) => text.clone(),
        Value::String(text) => Value::String(text.clone()).to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(key, member)| format!("{key}: {}", inline(member))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{PAGES, inline, reference};
    use crate::place::Places;
    use crate::schema::{SCHEMA, Shape};
    use crate::{shape, yaml};

    /// Calls `visit` with every key of every mapping: its type, name, schema, and whether it must be there.
    fn every_key(mut visit: impl FnMut(&str, &str, &'static Value, bool)) {
        let definitions = SCHEMA.root().get("$defs").and_then(Value::as_object).into_iter().flatten();
        let mut count = 0;
        for (name, schema) in
            definitions.map(|(name, schema)| (name.as_str(), schema)).chain([("Flow", SCHEMA.root())])
        {
            if let Shape::Keys { properties, required } = SCHEMA.shape(schema) {
                for (key, schema) in properties {
                    count += 1;
                    visit(name, key, schema, required.contains(&key.as_str()));
                }
            }
        }
        assert!(count > 60, "the walk finds the keys: {count}");
    }

    #[test]
    fn every_key_has_a_meaning_an_example_and_a_visible_default() {
        let mut lacks = Vec::new();
        every_key(|owner, key, schema, required| {
            let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
            if text.len() < 5 || !text.ends_with('.') {
                lacks.push(format!("{owner}.{key}: a description that ends with a full stop"));
            }
            if schema.get("examples").and_then(|examples| examples.get(0)).is_none() {
                lacks.push(format!("{owner}.{key}: an example"));
            }
            let nullable = schema.get("anyOf").is_some() || schema.get("type").is_some_and(Value::is_array);
            let may_be_empty = matches!(SCHEMA.shape(schema), Shape::Named(_) | Shape::List(_) | Shape::Any);
            if !required && !nullable && !may_be_empty && schema.get("default").is_none() {
                lacks.push(format!("{owner}.{key}: a default"));
            }
        });
        assert!(lacks.is_empty(), "{}", lacks.join("\n"));
    }

    #[test]
    fn every_alternative_has_a_meaning() {
        for (name, schema) in SCHEMA.root()["$defs"].as_object().into_iter().flatten() {
            if let Shape::Choice(alternatives) = SCHEMA.shape(schema) {
                for one in alternatives {
                    assert!(one.description.is_some_and(|text| text.ends_with('.')), "{name}: {}", one.name);
                }
            }
        }
    }

    #[test]
    fn every_example_and_default_is_right_where_it_stands() {
        every_key(|owner, key, schema, _| {
            let examples = schema.get("examples").and_then(Value::as_array).into_iter().flatten();
            for value in examples.chain(schema.get("default")) {
                let text = inline(value);
                let (node, found) = yaml::read(&text, &Places::new("example", &text));
                assert!(found.is_empty(), "{owner}.{key}: {text}");
                let problems = node.map(|node| shape::check_against(schema, &node)).unwrap_or_default();
                assert!(problems.is_empty(), "{owner}.{key}: {text}: {problems:?}");
            }
        });
    }

    #[test]
    fn every_key_is_on_a_page_and_every_link_leads_somewhere() {
        let pages = reference();
        assert_eq!(pages.len(), PAGES.len() + 1, "a page whose place is gone");
        let all: String = pages.iter().map(|(_, text)| text.as_str()).collect();
        every_key(|owner, key, _, _| assert!(all.contains(&format!("\n### `{key}`\n")), "{owner}.{key}"));
        for (file, text) in &pages {
            for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let (target, heading) = link.split_once('#').unwrap_or((link, ""));
                let target = if target.is_empty() { file } else { target };
                let page = pages.iter().find(|(name, _)| name == target).map(|(_, text)| text.as_str());
                let headings = page.unwrap_or_default().lines().filter_map(|line| line.strip_prefix("## "));
                let found = page.is_some()
                    && (heading.is_empty() || headings.map(super::anchor).any(|one| one == heading));
                assert!(found, "{file}: {link}");
            }
        }
    }
}
