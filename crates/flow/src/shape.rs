//! Checks the tree against the schema, and turns what fits into JSON for the typed model.
//!
//! The schema is the types' own, so there is no second list of keys. What a scalar means is decided by what is expected in
//! its place: `id: 007` where a text is expected would lose its zeros as a number, so it is refused, and a list of values
//! keeps the text as it was written.

use dil_model::Problem;
use serde_json::{Map, Value};

use crate::nearest::{list, nearest, suggestion};
use crate::schema::{Alternative, SCHEMA, Schema, Shape, first_sentence};
use crate::spelling;
use crate::tree::{Content, Core, Entry, Node, Scalar};

/// Keys of the design that later versions bring, so that whoever read of them is not sent looking for a typing mistake.
const LATER: [&str; 16] = [
    "abort", "codecs", "copy", "encrypt", "fetch", "ftp", "job", "late", "list", "s3", "send", "sftp", "sql",
    "until", "use", "validate",
];

/// Checks the whole file. The value holds `null` where there was a problem.
pub(crate) fn check(root: &Node) -> (Value, Vec<Problem>) {
    let mut walk = Walk { schema: &SCHEMA, path: Vec::new(), above: Vec::new(), problems: Vec::new() };
    let value = walk.value(SCHEMA.root(), root);
    (value, walk.problems)
}

/// Checks a part of a file against the schema of that part.
#[cfg(test)]
pub(crate) fn check_against(schema: &'static Value, node: &Node) -> Vec<Problem> {
    let mut walk = Walk { schema: &SCHEMA, path: Vec::new(), above: Vec::new(), problems: Vec::new() };
    walk.value(schema, node);
    walk.problems
}

struct Walk {
    schema: &'static Schema,
    path: Vec<String>,
    /// The keys that are known on each level from the root down to here, with the level's own key.
    above: Vec<(String, &'static Map<String, Value>)>,
    problems: Vec<Problem>,
}

impl Walk {
    fn problem(&self, code: &str, message: impl Into<String>) -> Problem {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        Problem::new(code, message, &path)
    }

    /// The key of the place, for messages.
    fn here(&self) -> String {
        let index = |step: &String| step.parse::<usize>().is_ok();
        match self.path.iter().rposition(|step| !index(step)) {
            None => "the flow".to_owned(),
            Some(last) if last + 1 == self.path.len() => format!("`{}`", self.path[last]),
            Some(last) => format!("an entry of `{}`", self.path[last]),
        }
    }

    fn value(&mut self, schema: &'static Value, node: &Node) -> Value {
        if matches!(&node.content, Content::Scalar(scalar) if scalar.broken) {
            return Value::Null;
        }
        let shape = self.schema.shape(schema);
        if node.is_null() && !matches!(shape, Shape::Any) {
            let problem = self.problem("flow/no-value", format!("{} has no value", self.here()));
            let hint = match &shape {
                Shape::Text => "write one, or leave the key out; an empty text is `\"\"`",
                _ => "write one, or leave the key out; what belongs to a key is indented below it",
            };
            self.problems.push(problem.hint(hint));
            return Value::Null;
        }
        match (shape, &node.content) {
            (Shape::Keys { properties, required }, Content::Map(entries)) => {
                self.keys(properties, &required, entries)
            }
            (Shape::Named(of), Content::Map(entries)) => self.named(of, entries),
            (Shape::List(of), Content::Seq(items)) => self.list(of, items),
            (Shape::Choice(alternatives), _) => self.choice(&alternatives, node),
            (Shape::Any, _) => free(node),
            (shape, Content::Scalar(scalar)) => self.scalar(&shape, scalar),
            (shape, _) => self.wrong_type(&shape, node),
        }
    }

    fn below(&mut self, step: String, schema: &'static Value, node: &Node) -> Value {
        self.path.push(step);
        let value = self.value(schema, node);
        self.path.pop();
        value
    }

    fn keys(
        &mut self,
        properties: &'static Map<String, Value>,
        required: &[&str],
        entries: &[Entry],
    ) -> Value {
        self.above.push((self.path.last().cloned().unwrap_or_default(), properties));
        let mut out = Map::new();
        for entry in entries {
            match properties.get(&entry.key) {
                Some(schema) => {
                    let value = self.below(entry.key.clone(), schema, &entry.node);
                    out.insert(entry.key.clone(), value);
                }
                None => self.unknown_key(properties, &entry.key),
            }
        }
        self.above.pop();
        for key in required.iter().filter(|key| entries.iter().all(|entry| entry.key != **key)) {
            let problem = self.problem("flow/missing-key", format!("{} lacks the key `{key}`", self.here()));
            self.problems.push(problem.hint(addition(key, properties.get(*key))).on_key());
        }
        Value::Object(out)
    }

    fn unknown_key(&mut self, properties: &'static Map<String, Value>, key: &str) {
        let hint = if let Some(near) = nearest(key, properties.keys().map(String::as_str)) {
            format!("did you mean `{near}`?")
        } else if let Some(place) = self.home_of(properties, key) {
            format!("`{key}` belongs {place}")
        } else if LATER.contains(&key) {
            format!("`{key}` is not in this version of dil")
        } else {
            format!("the keys here are {}", list(properties.keys().map(String::as_str)))
        };
        self.path.push(key.to_owned());
        let problem = self.problem("flow/unknown-key", format!("unknown key `{key}`")).hint(hint).on_key();
        self.path.pop();
        self.problems.push(problem);
    }

    /// Where a key is known that stands one or more levels too deep, or one too high.
    fn home_of(&self, properties: &'static Map<String, Value>, key: &str) -> Option<String> {
        // The last level is the one where the key is unknown.
        let above = self.above.split_last().map(|(_, above)| above)?;
        let higher = above.iter().rev().find(|(_, known)| known.contains_key(key));
        if let Some((name, _)) = higher {
            return Some(if name.is_empty() {
                "to the flow itself, not further in".to_owned()
            } else {
                format!("directly under `{name}`")
            });
        }
        let lower = properties.iter().find(|(_, schema)| match self.schema.shape(schema) {
            Shape::Keys { properties, .. } => properties.contains_key(key),
            Shape::Choice(kinds) => kinds.iter().any(|kind| kind.value.is_some() && kind.name == key),
            _ => false,
        });
        lower.map(|(name, _)| format!("under `{name}`"))
    }

    /// Whether a schema asks for keys, `key` among them.
    fn knows(&self, schema: Option<&'static Value>, key: &str) -> bool {
        matches!(schema.map(|schema| self.schema.shape(schema)), Some(Shape::Keys { properties, .. }) if properties.contains_key(key))
    }

    fn named(&mut self, of: &'static Value, entries: &[Entry]) -> Value {
        let members =
            entries.iter().map(|entry| (entry.key.clone(), self.below(entry.key.clone(), of, &entry.node)));
        Value::Object(members.collect())
    }

    fn list(&mut self, of: &'static Value, items: &[Node]) -> Value {
        let items = items.iter().enumerate().map(|(index, item)| self.below(index.to_string(), of, item));
        Value::Array(items.collect())
    }

    fn choice(&mut self, alternatives: &[Alternative<'static>], node: &Node) -> Value {
        let names = || alternatives.iter().map(|alternative| alternative.name);
        let words = || alternatives.iter().filter(|one| one.value.is_none()).map(|one| one.name);
        match &node.content {
            Content::Scalar(scalar) => match alternatives.iter().find(|one| one.name == scalar.text) {
                Some(one) if one.value.is_none() => Value::String(scalar.text.clone()),
                Some(one) => {
                    let problem =
                        self.problem("flow/wrong-type", format!("`{}` needs its settings", one.name));
                    let hint = format!(
                        "write `{}: {{ {}: … }}`",
                        self.path.last().map_or("", String::as_str),
                        one.name
                    );
                    self.problems.push(problem.hint(hint));
                    Value::Null
                }
                None => {
                    let message = format!("`{}` is not a value of {}", scalar.text, self.here());
                    let hint = suggestion(&scalar.text, names(), "there are");
                    self.problems.push(self.problem("flow/unknown-value", message).hint(hint));
                    Value::Null
                }
            },
            Content::Map(entries) => self.kind(alternatives, entries),
            Content::Seq(_) => {
                let what = if words().next().is_some() { "one word" } else { "one kind" };
                let message = format!("{} takes {what}, not a list", self.here());
                self.problems.push(
                    self.problem("flow/wrong-type", message).hint(format!("there are {}", list(names()))),
                );
                Value::Null
            }
        }
    }

    /// A mapping whose one key names the kind.
    fn kind(&mut self, alternatives: &[Alternative<'static>], entries: &[Entry]) -> Value {
        let names = || alternatives.iter().map(|alternative| alternative.name);
        let mut out = Map::new();
        for entry in entries {
            match alternatives.iter().find(|one| one.name == entry.key) {
                Some(Alternative { value: Some(schema), .. }) => {
                    let value = self.below(entry.key.clone(), schema, &entry.node);
                    out.insert(entry.key.clone(), value);
                }
                Some(_) => {
                    let message = format!("`{}` takes no settings", entry.key);
                    let hint =
                        format!("write `{}: {}`", self.path.last().map_or("", String::as_str), entry.key);
                    self.problems.push(self.problem("flow/wrong-type", message).hint(hint));
                }
                None => {
                    let inside = alternatives.iter().find(|one| self.knows(one.value, &entry.key));
                    let hint = match (nearest(&entry.key, names()), inside) {
                        (None, Some(kind)) => format!("`{}` belongs under `{}`", entry.key, kind.name),
                        (None, None) if LATER.contains(&entry.key.as_str()) => {
                            format!("`{}` is not in this version of dil", entry.key)
                        }
                        _ => suggestion(&entry.key, names(), "there are"),
                    };
                    self.path.push(entry.key.clone());
                    let problem = self
                        .problem("flow/unknown-kind", format!("unknown kind `{}`", entry.key))
                        .hint(hint)
                        .on_key();
                    self.path.pop();
                    self.problems.push(problem);
                }
            }
        }
        if entries.is_empty() {
            let message = format!("{} names no kind", self.here());
            self.problems.push(
                self.problem("flow/unknown-kind", message).hint(format!("there are {}", list(names()))),
            );
        } else if out.len() > 1 {
            let both = list(out.keys().map(String::as_str));
            let message = format!("{} takes one kind, and here are {both}", self.here());
            let listed = self.path.last().is_some_and(|step| step.parse::<usize>().is_ok());
            let hint =
                if listed { "write an entry for each, with a `- ` of its own" } else { "keep one of them" };
            self.problems.push(self.problem("flow/two-kinds", message).hint(hint).on_key());
        }
        Value::Object(out)
    }

    fn scalar(&mut self, shape: &Shape<'_>, scalar: &Scalar) -> Value {
        let text = &scalar.text;
        match (shape, scalar.core()) {
            (Shape::Text, Core::Text) | (Shape::Scalar, _) => Value::String(text.clone()),
            (Shape::Spelt(name), _) => {
                if let Err((message, hint)) = spelling::check(name, text) {
                    let problem = self.problem("flow/wrong-value", message);
                    self.problems.push(match hint {
                        Some(hint) => problem.hint(hint),
                        None => problem,
                    });
                }
                Value::String(text.clone())
            }
            (Shape::Integer { min, max }, _) if matches!(scalar.core_if_expected(), Core::Integer(_)) => {
                let Core::Integer(number) = scalar.core_if_expected() else { return Value::Null };
                let below = min.is_some_and(|min| number.as_i64().is_some_and(|number| number < min));
                let above = max.is_some_and(|max| number.as_u64().is_some_and(|number| number > max));
                if below || above {
                    let message = format!("{} is {number}, which is out of range", self.here());
                    let hint = match (min, max) {
                        (Some(min), Some(max)) => format!("it goes from {min} to {max}"),
                        (Some(min), None) => format!("it is at least {min}"),
                        _ => format!("it is at most {}", max.unwrap_or(u64::MAX)),
                    };
                    self.problems.push(self.problem("flow/out-of-range", message).hint(hint));
                }
                Value::Number(number)
            }
            (Shape::Truth, _) if matches!(scalar.core_if_expected(), Core::Bool(_)) => {
                Value::Bool(scalar.core_if_expected() == Core::Bool(true))
            }
            (shape, core) => {
                let hint = match (shape, core) {
                    (Shape::Text, _) => format!("put it into quotes: \"{text}\""),
                    (Shape::Truth, _) => "write `true` or `false`".to_owned(),
                    (Shape::Integer { .. }, _) => "write digits only".to_owned(),
                    (Shape::List(_), _) => format!("put it into brackets: [{text}]"),
                    (Shape::Keys { properties, .. }, _) => {
                        format!("the keys here are {}", list(properties.keys().map(String::as_str)))
                    }
                    _ => "write `name: value` pairs".to_owned(),
                };
                let message = format!("{} takes {}, not {}", self.here(), expected(shape), spelt(scalar));
                self.problems.push(self.problem("flow/wrong-type", message).hint(hint));
                Value::Null
            }
        }
    }

    fn wrong_type(&mut self, shape: &Shape<'_>, node: &Node) -> Value {
        let found = if matches!(node.content, Content::Seq(_)) { "a list" } else { "a mapping" };
        let message = format!("{} takes {}, not {found}", self.here(), expected(shape));
        // `{{ id }}` without quotes: already reported as a mapping in the place of a key.
        if node.map().is_some_and(|entries| entries.iter().any(|entry| entry.key.is_empty())) {
            return Value::Null;
        }
        let hint = match (shape, &node.content) {
            (Shape::Keys { properties, .. }, _) => {
                format!("the keys here are {}", list(properties.keys().map(String::as_str)))
            }
            (Shape::List(_), _) => "start each entry with `- `".to_owned(),
            (Shape::Named(_), _) => "write `name: value`, without `- `".to_owned(),
            _ => "write one value; a text with special characters needs quotes".to_owned(),
        };
        self.problems.push(self.problem("flow/wrong-type", message).hint(hint).on_key());
        Value::Null
    }
}

fn expected(shape: &Shape<'_>) -> &'static str {
    match shape {
        Shape::Keys { .. } | Shape::Named(_) => "a mapping",
        Shape::List(_) => "a list",
        Shape::Integer { .. } => "a whole number",
        Shape::Truth => "true or false",
        Shape::Scalar => "a text, a number or true/false",
        Shape::Choice(_) => "one of its kinds",
        Shape::Spelt(_) | Shape::Text | Shape::Any => "a text",
    }
}

fn spelt(scalar: &Scalar) -> String {
    let text = &scalar.text;
    match scalar.core() {
        Core::Null => "nothing".to_owned(),
        Core::Bool(truth) => truth.to_string(),
        Core::Integer(_) | Core::Float(_) => format!("the number {text}"),
        Core::Text if text.chars().count() > 40 => {
            format!("the text `{}…`", text.chars().take(40).collect::<String>())
        }
        Core::Text => format!("the text `{text}`"),
    }
}

/// What to write for a key that is missing.
fn addition(key: &str, schema: Option<&'static Value>) -> String {
    let description = schema.and_then(|schema| schema.get("description")).and_then(Value::as_str);
    let example = schema.and_then(|schema| schema.get("examples")?.get(0));
    let example = example.map(|example| match example {
        Value::String(text) => text.clone(),
        other => crate::docs::inline(other),
    });
    match (description, example) {
        (Some(description), Some(example)) => format!(
            "add `{key}`, for example `{key}: {example}`: {}",
            lowercase(&first_sentence(description))
        ),
        (Some(description), None) => format!("add `{key}`: {}", lowercase(&first_sentence(description))),
        _ => format!("add `{key}`"),
    }
}

/// The sentence inside of another; an abbreviation keeps its capitals.
fn lowercase(sentence: &str) -> String {
    let mut chars = sentence.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain([second]).chain(chars).collect()
        }
        _ => sentence.to_owned(),
    }
}

/// A value where anything may stand: YAML's own reading.
fn free(node: &Node) -> Value {
    match &node.content {
        Content::Scalar(scalar) => match scalar.core() {
            Core::Null => Value::Null,
            Core::Bool(truth) => Value::Bool(truth),
            Core::Integer(number) | Core::Float(number) => Value::Number(number),
            Core::Text => Value::String(scalar.text.clone()),
        },
        Content::Seq(items) => Value::Array(items.iter().map(free).collect()),
        Content::Map(entries) => {
            Value::Object(entries.iter().map(|entry| (entry.key.clone(), free(&entry.node))).collect())
        }
    }
}
