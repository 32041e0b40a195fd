//! `${name}` and `${env:NAME}` in scalars.
//!
//! What is put in is data. It must not become code, so a value that would open a template or another reference is refused,
//! also where only value and surrounding text together spell one. `${secret:NAME}` stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use dil_model::Problem;

use crate::Settings;
use crate::nearest::{list, nearest};
use crate::place::Found;
use crate::tree::{Content, Node, Scalar};

/// Pairs of characters that begin something other than text.
const OPENINGS: [&str; 4] = ["{{", "{%", "{#", "${"];

/// Resolves all references in the tree, in place.
pub(crate) fn resolve(root: &mut Node, settings: &Settings) -> Vec<Found> {
    let mut resolver = Resolver {
        settings,
        vars: BTreeMap::new(),
        declared: Vec::new(),
        used: BTreeSet::new(),
        found: Vec::new(),
    };
    resolver.vars(root);
    resolver.walk(root, &mut Vec::new());
    resolver.unused();
    resolver.found
}

struct Resolver<'a> {
    settings: &'a Settings,
    /// The values known so far; `None` for one that is already reported.
    vars: BTreeMap<String, Option<String>>,
    declared: Vec<String>,
    /// The names that references were found for.
    used: BTreeSet<String>,
    found: Vec<Found>,
}

struct Resolved {
    text: String,
    refusals: Vec<Refusal>,
    /// Whether it uses a variable that is a problem already.
    reported: bool,
}

/// Why a text could not be resolved.
struct Refusal {
    code: &'static str,
    message: String,
    hint: String,
}

impl Resolver<'_> {
    /// `vars` first, in order, so that each may use those before it.
    fn vars(&mut self, root: &mut Node) {
        let Content::Map(entries) = &mut root.content else { return };
        let Some(vars) = entries.iter_mut().find(|entry| entry.key == "vars") else { return };
        let Content::Map(vars) = &mut vars.node.content else { return };
        self.declared = vars.iter().map(|entry| entry.key.clone()).collect();
        for entry in vars {
            let Content::Scalar(scalar) = &mut entry.node.content else { continue };
            if let Some(value) = self.settings.vars.get(&entry.key) {
                *scalar = Scalar { text: value.clone(), plain: false, substituted: true, broken: false };
            } else {
                self.scalar(scalar, &["vars".to_owned(), entry.key.clone()]);
            }
            let value = (!scalar.broken).then(|| scalar.text.clone());
            // Resolved once; the general walk must not read the result as a source again.
            scalar.substituted = true;
            self.vars.insert(entry.key.clone(), value);
        }
    }

    /// A value that was given for nothing is a misspelt name.
    fn unused(&mut self) {
        for name in self.settings.vars.keys() {
            if self.declared.contains(name) || self.used.contains(name) {
                continue;
            }
            let hint = match nearest(name, self.names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the flow would use it as `${{{name}}}`"),
            };
            let message = format!("a value was given for `{name}`, which the flow does not use");
            self.found.push(Problem::new("vars/not-used", message, &["vars"]).hint(hint).on_key().into());
        }
    }

    /// The names that the file declares or uses.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.declared.iter().chain(&self.used).map(String::as_str)
    }

    fn walk(&mut self, node: &mut Node, path: &mut Vec<String>) {
        match &mut node.content {
            Content::Scalar(scalar) => {
                let is_var = path.len() == 2 && path.first().is_some_and(|first| first == "vars");
                if !is_var {
                    self.scalar(scalar, path);
                }
            }
            Content::Seq(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.push(index.to_string());
                    self.walk(item, path);
                    path.pop();
                }
            }
            Content::Map(entries) => {
                for entry in entries {
                    path.push(entry.key.clone());
                    if entry.key.contains("${") {
                        let problem =
                            self.problem("vars/in-key", "a key cannot hold a reference".to_owned(), path);
                        self.found.push(
                            problem.hint("write the key itself; only values are resolved").on_key().into(),
                        );
                    }
                    self.walk(&mut entry.node, path);
                    path.pop();
                }
            }
        }
    }

    fn problem(&self, code: &str, message: String, path: &[String]) -> Problem {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        Problem::new(code, message, &path)
    }

    fn scalar(&mut self, scalar: &mut Scalar, path: &[String]) {
        if !scalar.text.contains("${") {
            return;
        }
        let Resolved { text, refusals, reported } = self.text(&scalar.text);
        scalar.substituted = scalar.text != text;
        scalar.text = text;
        scalar.broken = reported || !refusals.is_empty();
        for refusal in refusals {
            let problem = self.problem(refusal.code, refusal.message, path).hint(refusal.hint);
            self.found.push(problem.into());
        }
    }

    fn text(&mut self, source: &str) -> Resolved {
        let mut reported = false;
        let mut out = String::with_capacity(source.len());
        let mut put_in: Vec<(String, Range<usize>)> = Vec::new();
        let mut refusals = Vec::new();
        let mut rest = source;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                if from.starts_with("${secret:") {
                    refusals.push(Refusal {
                        code: "vars/escape",
                        message: "`$${secret:` cannot be written as plain text".to_owned(),
                        hint: "put it into a variable's value at run, or spell it another way".to_owned(),
                    });
                }
                out.push_str("${");
                rest = &from[2..];
                continue;
            }
            out.push_str(before);
            let Some(end) = from.find('}') else {
                refusals.push(Refusal {
                    code: "vars/not-closed",
                    message: format!("`{}` has no `}}`", shortened(from)),
                    hint: "close it, or write `$${` for the characters themselves".to_owned(),
                });
                out.push_str(from);
                return Resolved { text: out, refusals, reported };
            };
            let name = &from[2..end];
            match self.value(name) {
                Ok(Value::Text(value)) => {
                    let start = out.len();
                    out.push_str(&value);
                    put_in.push((name.to_owned(), start..out.len()));
                }
                Ok(Value::Secret) => out.push_str(&from[..=end]),
                Ok(Value::Reported) => reported = true,
                Err(refusal) => refusals.push(refusal),
            }
            rest = &from[end + 1..];
        }
        out.push_str(rest);
        refusals.extend(put_in.iter().filter_map(|(name, range)| becomes_code(&out, name, range)));
        Resolved { text: out, refusals, reported }
    }

    fn value(&mut self, name: &str) -> Result<Value, Refusal> {
        if let Some(secret) = name.strip_prefix("secret:") {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            if !secret.is_empty() && secret.chars().all(plain) {
                return Ok(Value::Secret);
            }
            return Err(Refusal {
                code: "vars/secret-name",
                message: format!("`{secret}` is not a secret's name"),
                hint: "a name has letters, digits, `_`, `.` and `-`".to_owned(),
            });
        }
        if let Some(variable) = name.strip_prefix("env:") {
            return (self.settings.env)(variable).map(Value::Text).ok_or_else(|| Refusal {
                code: "vars/no-env",
                message: format!("the environment variable `{variable}` is not set"),
                hint: format!("set it: `export {variable}=…`"),
            });
        }
        self.used.insert(name.to_owned());
        match self.vars.get(name) {
            Some(Some(value)) => Ok(Value::Text(value.clone())),
            Some(None) => Ok(Value::Reported),
            None if self.declared.iter().any(|declared| declared == name) => Err(self.unknown(name)),
            None => {
                // A variable without a value of its own in the file: whoever runs the flow gives it.
                self.settings
                    .vars
                    .get(name)
                    .map(|value| Value::Text(value.clone()))
                    .ok_or_else(|| self.unknown(name))
            }
        }
    }

    fn unknown(&self, name: &str) -> Refusal {
        let later = self.declared.iter().any(|declared| declared == name);
        let hint = if later {
            format!("`{name}` is declared, but further down; a variable may use those before it")
        } else if let Some(near) = nearest(name, self.declared.iter().map(String::as_str)) {
            format!("did you mean `{near}`?")
        } else if self.declared.is_empty() {
            format!(
                "declare it: `vars: {{ {name}: … }}`, give it by `--var {name}=…`, or write `${{env:{name}}}` for the environment"
            )
        } else {
            format!(
                "`vars` has {}; `${{env:NAME}}` is the environment",
                list(self.declared.iter().map(String::as_str))
            )
        };
        Refusal { code: "vars/unknown", message: format!("there is no variable `{name}`"), hint }
    }
}

enum Value {
    Text(String),
    Secret,
    /// A variable whose own value is a problem already; one report is enough.
    Reported,
}

/// Refuses a value that, where it now stands, would be read as something else than text.
fn becomes_code(text: &str, name: &str, range: &Range<usize>) -> Option<Refusal> {
    let around = range.start.saturating_sub(1)..(range.end + 1).min(text.len());
    let touched = text.as_bytes().get(around).unwrap_or_default();
    if let Some(opening) =
        OPENINGS.iter().find(|opening| touched.windows(2).any(|pair| pair == opening.as_bytes()))
    {
        return Some(Refusal {
            code: "vars/template-in-value",
            message: format!(
                "the value of `{name}` makes a `{opening}` here, which would be read as a template"
            ),
            hint: "a variable's value is data; write templates and secrets in the file, where they are used"
                .to_owned(),
        });
    }
    let before = text.get(..range.start)?;
    let inside =
        ["{{", "{%"].iter().filter_map(|opening| before.rfind(opening)).max().is_some_and(|opening| {
            let since = &before[opening..];
            !since.contains("}}") && !since.contains("%}")
        });
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '+');
    let value = text.get(range.clone())?;
    (inside && !value.chars().all(plain)).then(|| Refusal {
        code: "vars/template-in-value",
        message: format!("the value of `{name}` stands inside of a template and holds more than letters, digits and `_-./:+`"),
        hint: "put it outside of the `{{ … }}`".to_owned(),
    })
}

fn shortened(text: &str) -> String {
    const SHOWN_MAX: usize = 24;
    if text.chars().count() <= SHOWN_MAX {
        text.to_owned()
    } else {
        text.chars().take(SHOWN_MAX).chain(['…']).collect()
    }
}
