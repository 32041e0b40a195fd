//! Texts with `{{ expressions }}`, resolved when a unit or a page knows the values.
//!
//! A template is checked at load: its syntax, its filters, and the names it uses ([`Template::names`]). What is substituted is
//! data, so it is escaped for where it stands ([`Escape`]); the template's own text is not. `${secret:NAME}` in the
//! source stays a call until it is rendered with a [`SecretStore`], so a plan shows `***`.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use minijinja::value::{Kwargs, Serde, Value, ValueKind};
use minijinja::{Environment, ErrorKind as JinjaKind, UndefinedBehavior};
use regex::Regex;

use crate::secret::SecretStore;
use crate::unit::{EachRow, UnitSpec};
use crate::{Error, ErrorKind, Interval, KeyRange, Result};

/// Where a rendered text will stand, and so how substituted values are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// As it is: header values, query values and form values, which their encoder escapes as a whole.
    None,
    /// One segment of a URL path.
    PathSegment,
    /// Part of one name in a path with wildcards: wildcards in it mean themselves. A value with a separator, or one that climbs,
    /// is an error; text that is marked as safe may hold separators.
    FileName,
}

/// The values a template may use: one JSON object.
pub type Variables = serde_json::Map<String, serde_json::Value>;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    /// The source as MiniJinja reads it: secrets are calls.
    code: String,
    /// The inside of `{{ … }}` if that is all there is.
    expression: Option<String>,
}

/// The name of the function that `${secret:NAME}` becomes; not one that a user would write.
const SECRET_CALL: &str = "__dil_secret";

#[expect(clippy::expect_used, reason = "the pattern is a constant, a test compiles it")]
static SECRET: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\$\{secret:([A-Za-z0-9_.\-]+)\}").expect("constant pattern"));

#[expect(clippy::expect_used, reason = "the pattern is a constant, a test compiles it")]
static FILTER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{\{[^}]*?\|\s*([A-Za-z_][A-Za-z0-9_]*)").expect("constant pattern"));

#[expect(clippy::expect_used, reason = "the pattern is a constant, a test compiles it")]
static DIALECT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"\|\s*(?:identifier|literal)\(\s*['"]([^'"]*)['"]"#).expect("constant pattern")
});

impl Template {
    /// Parses a text.
    ///
    /// # Errors
    /// What is wrong with it, for a user.
    pub fn parse(source: &str) -> Result<Self, String> {
        let code = secrets_as_calls(source);
        let environment = environment(Escape::None);
        environment.template_from_str(&code).map_err(|cause| describe(&cause))?;
        known_filters(&environment, &code)?;
        Ok(Self { source: source.to_owned(), expression: lone_expression(&code), code })
    }

    /// The text it was parsed from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it holds no expression at all.
    pub fn is_constant(&self) -> bool {
        self.code == self.source
            && !self.source.contains("{{")
            && !self.source.contains("{%")
            && !self.source.contains("{#")
    }

    /// The variables it uses; a member as `unit.id`.
    pub fn names(&self) -> BTreeSet<String> {
        let environment = environment(Escape::None);
        let names = environment
            .template_from_str(&self.code)
            .map(|t| t.undeclared_variables(true))
            .unwrap_or_default();
        names.into_iter().filter(|name| name != SECRET_CALL).collect()
    }

    /// The names of the secrets it uses.
    pub fn secrets(&self) -> BTreeSet<String> {
        SECRET.captures_iter(&self.source).map(|found| found[1].to_owned()).collect()
    }

    /// Renders it; `None` if a variable it needs is not defined.
    ///
    /// # Errors
    /// `Config` if an expression fails, `Secret` if a secret is missing.
    pub fn render(
        &self,
        variables: &Variables,
        escape: Escape,
        secrets: &Arc<dyn SecretStore>,
    ) -> Result<Option<String>> {
        if self.is_constant() {
            return Ok(Some(self.source.clone()));
        }
        let environment = with_secrets(environment(escape), secrets);
        let rendered =
            environment.template_from_str(&self.code).and_then(|template| template.render(Serde(variables)));
        match rendered {
            Ok(text) => Ok(Some(text)),
            Err(cause) if is_undefined(&cause) => Ok(None),
            Err(cause) => Err(self.failed(&cause, secrets)),
        }
    }

    /// Its value: typed if the whole text is one expression, a text otherwise; `None` if a variable is not defined.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn value(
        &self,
        variables: &Variables,
        secrets: &Arc<dyn SecretStore>,
    ) -> Result<Option<serde_json::Value>> {
        let Some(expression) = &self.expression else {
            return Ok(self.render(variables, Escape::None, secrets)?.map(serde_json::Value::String));
        };
        let environment = with_secrets(environment(Escape::None), secrets);
        let value =
            environment.compile_expression(expression).and_then(|compiled| compiled.eval(Serde(variables)));
        match value {
            Ok(value) if value.is_undefined() => Ok(None),
            Ok(value) => serde_json::to_value(&value).map(Some).map_err(|cause| {
                Error::new(ErrorKind::Config, "template/value", format!("`{}`: {cause}", self.source))
            }),
            Err(cause) if is_undefined(&cause) => Ok(None),
            Err(cause) => Err(self.failed(&cause, secrets)),
        }
    }

    fn failed(&self, cause: &minijinja::Error, secrets: &Arc<dyn SecretStore>) -> Error {
        // Some causes have their own, better message.
        let own = std::error::Error::source(cause).and_then(|source| source.downcast_ref::<Error>());
        if let Some(own) = own {
            return own.clone().at(format!("template `{}`", self.source));
        }
        // That of a missing secret is found by asking again for it outside of the template.
        for name in self.secrets() {
            if let Err(error) = secrets.secret(&name) {
                return error;
            }
        }
        Error::new(
            ErrorKind::Config,
            "template/failed",
            format!("the template `{}` failed: {}", self.source, describe(cause)),
        )
    }
}

/// The variables that a unit's templates see: its *each* fields, `low` and `high` or `after`, and `run`.
pub fn unit_variables(spec: &UnitSpec) -> Variables {
    variables(&spec.each, (spec.interval.as_ref(), spec.key.as_ref()), &spec.run, spec.full)
}

/// The variables of a unit with these fields and this interval or range of keys in a run; `full` if no unit of the stage was ever recorded
/// before it.
pub fn variables(
    each: &EachRow,
    (interval, key): (Option<&Interval>, Option<&KeyRange>),
    run: &str,
    full: bool,
) -> Variables {
    let mut variables: Variables = each.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    if let Some(interval) = interval {
        variables.insert("low".into(), interval.low.to_string().into());
        variables.insert("high".into(), interval.high.to_string().into());
    }
    match key {
        Some(KeyRange::Between { low, high }) => {
            variables.insert("low".into(), (*low).into());
            variables.insert("high".into(), (*high).into());
        }
        Some(KeyRange::Above { after: Some(after), .. }) => {
            variables.insert("after".into(), after.clone());
        }
        Some(KeyRange::Above { after: None, .. }) | None => {}
    }
    variables.insert("run".into(), serde_json::json!({ "id": run, "full": full }));
    variables
}

fn secrets_as_calls(source: &str) -> String {
    SECRET.replace_all(source, format!("{{{{ {SECRET_CALL}(\"$1\") }}}}")).into_owned()
}

/// MiniJinja looks filters up only when it renders; a misspelt one must be found at load.
fn known_filters(environment: &Environment<'_>, code: &str) -> Result<(), String> {
    for found in FILTER.captures_iter(code) {
        let trial = environment
            .compile_expression_owned(format!("''|{}", &found[1]))
            .and_then(|trial| trial.eval(()));
        if trial.is_err_and(|cause| cause.kind() == JinjaKind::UnknownFilter) {
            return Err(format!(
                "there is no filter `{}`; instants have epoch, epoch_ms, iso, date, strftime; queries need identifier, literal",
                &found[1]
            ));
        }
    }
    DIALECT.captures_iter(code).try_for_each(|found| crate::dialect::known(&found[1]))
}

fn lone_expression(code: &str) -> Option<String> {
    let inside = code.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let plain = !inside.contains("{{") && !inside.contains("}}") && !inside.contains("{%");
    plain.then(|| inside.trim_matches('-').trim().to_owned())
}

fn describe(cause: &minijinja::Error) -> String {
    match cause.detail() {
        Some(detail) => format!("{}: {detail}", cause.kind()),
        None => cause.kind().to_string(),
    }
}

fn is_undefined(cause: &minijinja::Error) -> bool {
    cause.kind() == JinjaKind::UndefinedError
}

fn environment(escape: Escape) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_recursion_limit(64);
    environment.add_filter("epoch", |value: Value| instant(&value).map(Timestamp::as_second));
    environment.add_filter("epoch_ms", |value: Value| instant(&value).map(Timestamp::as_millisecond));
    environment.add_filter("iso", |value: Value| instant(&value).map(|at| at.to_string()));
    environment.add_filter("date", |value: Value, options: Kwargs| {
        let zoned = in_zone(&value, &options)?;
        Ok::<_, minijinja::Error>(zoned.date().to_string())
    });
    environment.add_filter("strftime", |value: Value, pattern: String, options: Kwargs| {
        let zoned = in_zone(&value, &options)?;
        let text = jiff::fmt::strtime::format(&pattern, &zoned)
            .map_err(|cause| invalid(format!("{pattern}: {cause}")))?;
        // Its separators are the flow's own.
        Ok::<_, minijinja::Error>(Value::from_safe_string(text))
    });
    environment.add_filter("identifier", |value: Value, dialect: String| {
        let name = |name: &Value| crate::dialect::identifier(&name.to_string(), &dialect).map_err(invalid);
        match value.kind() {
            // A name with its schema.
            ValueKind::Seq => {
                Ok(value.try_iter()?.map(|part| name(&part)).collect::<Result<Vec<_>, _>>()?.join("."))
            }
            _ => name(&value),
        }
    });
    environment.add_filter("literal", |value: Value, dialect: String| match value.kind() {
        ValueKind::Number => Ok(value.to_string()),
        ValueKind::Bool => Ok(if value.is_true() { "TRUE" } else { "FALSE" }.to_owned()),
        ValueKind::None => Ok("NULL".to_owned()),
        _ => crate::dialect::literal(&value.to_string(), &dialect).map_err(invalid),
    });
    environment.set_formatter(move |output, _state, value| {
        let text = value.to_string();
        let escaped = match escape {
            Escape::None => text,
            Escape::PathSegment => percent_encoding::utf8_percent_encode(&text, PATH_SEGMENT).to_string(),
            Escape::FileName => file_name(&text, value.is_safe())?,
        };
        output.write_str(&escaped).map_err(minijinja::Error::from)
    });
    environment
}

/// A value as part of a path with wildcards.
fn file_name(text: &str, safe: bool) -> Result<String, minijinja::Error> {
    let climbs = |name: &str| !name.is_empty() && name.chars().all(|c| c == '.');
    let fault = if text.split('/').any(climbs) {
        "is `.` or `..`, or has such a folder in it"
    } else if text.starts_with('/') {
        "begins with `/`"
    } else if text.contains('/') && !safe {
        "holds a `/`"
    } else {
        let mut escaped = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '*' | '?' | '[' | ']' => escaped.extend(['[', c, ']']),
                c => escaped.push(c),
            }
        }
        return Ok(escaped);
    };
    // A text that is marked as safe may be a secret.
    let shown = if safe { String::new() } else { format!(" `{}`", shortened(text)) };
    let message = format!("the value{shown} cannot be part of a file's path: it {fault}");
    let error = Error::new(ErrorKind::Config, "template/file-name", message).hint(
        "a value is part of one name; where it may hold folders, write `{{ name | safe }}`; it never leads upwards",
    );
    Err(invalid(error.message.clone()).with_source(error))
}

fn shortened(text: &str) -> String {
    let shown: String = text.chars().take(60).collect();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    format!("{}{rest}", shown.escape_debug())
}

/// All but the unreserved characters of RFC 3986, so that a value is one segment whatever it holds.
const PATH_SEGMENT: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn with_secrets(
    mut environment: Environment<'static>,
    secrets: &Arc<dyn SecretStore>,
) -> Environment<'static> {
    let secrets = Arc::clone(secrets);
    environment.add_function(SECRET_CALL, move |name: String| {
        let secret = secrets.secret(&name).map_err(|error| invalid(error.message))?;
        Ok::<_, minijinja::Error>(Value::from_safe_string(secret.expose().to_owned()))
    });
    environment
}

fn invalid(message: String) -> minijinja::Error {
    minijinja::Error::new(JinjaKind::InvalidOperation, message)
}

fn instant(value: &Value) -> Result<Timestamp, minijinja::Error> {
    if value.is_undefined() {
        return Err(minijinja::Error::from(JinjaKind::UndefinedError));
    }
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| invalid(format!("`{value}` is not an instant like 2024-01-01T00:00:00Z")))
}

fn in_zone(value: &Value, options: &Kwargs) -> Result<jiff::Zoned, minijinja::Error> {
    let zone: Option<String> = options.get("timezone")?;
    options.assert_all_used()?;
    let zone = zone.as_deref().unwrap_or("UTC");
    instant(value)?.in_tz(zone).map_err(|_| invalid(format!("unknown time zone `{zone}`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Masked, Secret};

    struct Fixed;
    impl SecretStore for Fixed {
        fn secret(&self, _: &str) -> Result<Secret> {
            Ok(Secret::new("s3{{cret}}"))
        }
    }

    fn variables() -> Variables {
        let value = serde_json::json!({
            "id": 7, "name": "a/b ü", "low": "2024-01-01T00:00:00Z", "unit": { "id": 3 }, "tricky": "{{ id }}${secret:X}"
        });
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn names_and_texts_of_queries_are_quoted() {
        check("{{ name | identifier('postgres') }}", Escape::None, Some("\"a/b ü\""));
        check("{{ ['s', name] | identifier('mysql') }}", Escape::None, Some("`s`.`a/b ü`"));
        check(
            "id = {{ id | literal('soql') }} AND n = {{ name | literal('soql') }}",
            Escape::None,
            Some("id = 7 AND n = 'a/b ü'"),
        );
        check("{{ name | identifier('soql') }}", Escape::None, None);
        assert!(Template::parse("{{ name | identifier('postgrs') }}").is_err());
    }

    fn check(source: &str, escape: Escape, expect: Option<&str>) {
        let template = Template::parse(source).unwrap_or_else(|message| panic!("{source}: {message}"));
        let rendered = template.render(&variables(), escape, &(Arc::new(Fixed) as _));
        assert_eq!(rendered.ok().flatten().as_deref(), expect, "{source}");
    }

    #[test]
    fn substitutes_and_escapes_for_the_place() {
        check("/x/{{ name }}/y", Escape::PathSegment, Some("/x/a%2Fb%20%C3%BC/y"));
        check("{{ name }}", Escape::None, Some("a/b ü"));
        check("{{ low | epoch }}", Escape::None, Some("1704067200"));
        check("{{ low | date(timezone='America/New_York') }}", Escape::None, Some("2023-12-31"));
        check("{{ low | strftime('%Y/%m') }}", Escape::None, Some("2024/01"));
    }

    #[test]
    fn a_value_in_a_file_path_is_part_of_one_name() {
        let variables = |id: &str| {
            let mut variables = variables();
            variables.insert("id".to_owned(), id.into());
            variables
        };
        let render = |source: &str, id: &str| {
            let template = Template::parse(source).unwrap_or_else(|message| panic!("{source}: {message}"));
            template.render(&variables(id), Escape::FileName, &(Arc::new(Fixed) as _))
        };
        let names =
            [("a b", "a b"), ("*", "[*]"), ("a[1]?", "a[[]1[]][?]"), ("v1..2", "v1..2"), (".x", ".x")];
        for (id, expect) in names {
            assert_eq!(render("in/{{ id }}.csv", id).ok().flatten(), Some(format!("in/{expect}.csv")));
        }
        for id in ["../outside", "/etc/x", "a/b", "..", ".", "a/../b"] {
            let error = render("in/{{ id }}.csv", id).err();
            assert!(
                error.is_some_and(|error| error.code == "template/file-name" && error.message.contains(id)),
                "{id}"
            );
        }
        assert_eq!(render("in/{{ id | safe }}", "a/b").ok().flatten().as_deref(), Some("in/a/b"));
        for id in ["../a", "a/..", "/a"] {
            assert!(render("in/{{ id | safe }}", id).is_err(), "{id}");
        }
        let by_day = render("{{ low | strftime('%Y/%m') }}/*.csv", "");
        assert_eq!(by_day.ok().flatten().as_deref(), Some("2024/01/*.csv"));
    }

    #[test]
    fn time_zones_are_known_where_the_system_has_none() {
        assert!(jiff::tz::TimeZoneDatabase::bundled().get("Europe/Berlin").is_ok());
    }

    #[test]
    fn an_undefined_variable_leaves_the_text_out() {
        check("{{ cursor }}", Escape::None, None);
        check("after:{{ cursor }}", Escape::None, None);
        check("{{ cursor | default('x') }}", Escape::None, Some("x"));
        check("{{ cursor | epoch }}", Escape::None, None);
    }

    #[test]
    fn a_secret_is_data_and_so_is_a_value_that_looks_like_one() {
        check("Bearer ${secret:TOKEN}", Escape::None, Some("Bearer s3{{cret}}"));
        check("{{ tricky }}", Escape::None, Some("{{ id }}${secret:X}"));
        let template = Template::parse("k=${secret:TOKEN}").unwrap_or_else(|message| panic!("{message}"));
        assert_eq!(
            template.render(&variables(), Escape::None, &(Arc::new(Masked) as _)).ok().flatten().as_deref(),
            Some("k=***")
        );
        assert!(template.secrets().contains("TOKEN") && template.names().is_empty());
    }

    #[test]
    fn a_lone_expression_keeps_its_type() {
        let value = |source: &str| {
            Template::parse(source)
                .ok()
                .and_then(|t| t.value(&variables(), &(Arc::new(Fixed) as _)).ok())
                .flatten()
        };
        assert_eq!(value("{{ id }}"), Some(7.into()));
        assert_eq!(value("{{ low | epoch }}"), Some(1_704_067_200.into()));
        assert_eq!(value("n{{ id }}"), Some("n7".into()));
        assert_eq!(value("{{ nothing }}"), None);
    }

    #[test]
    fn tells_the_names_it_uses() {
        let names =
            Template::parse("{{ unit.id }}-{{ low | iso }}{% if page %}x{% endif %}").map(|t| t.names());
        assert_eq!(names, Ok(["unit.id", "low", "page"].map(String::from).into()));
    }

    #[test]
    fn refuses_broken_syntax() {
        assert!(Template::parse("{{ id").is_err());
        assert!(Template::parse("{{ id | no_such_filter }}").is_err());
    }
}
