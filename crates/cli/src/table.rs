//! Lists: as a table for people, as JSON and CSV for programs.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement};
use dil_model::{Error, ErrorKind};
use serde::Serialize;
use serde_json::Value;

use crate::argument::Listing;
use crate::exit::Failure;
use crate::terminal::{Paint, Terminal, harmless};

/// Spaces between two columns.
const GAP: u16 = 2;

/// A table whose columns are as wide as their widest cell.
pub(crate) struct Table {
    table: comfy_table::Table,
    columns: usize,
}

impl Table {
    /// A table with these columns; a name that ends with `#` stands for numbers, which are set flush right.
    pub(crate) fn new<S: AsRef<str>>(columns: &[S]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let names = columns.iter().map(|name| name.as_ref());
        table.set_header(names.clone().map(|name| harmless(name.trim_end_matches('#'))).collect::<Vec<_>>());
        for (at, name) in names.enumerate() {
            if let Some(column) = table.column_mut(at) {
                column.set_padding((0, GAP));
                if name.ends_with('#') {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        Self { table, columns: columns.len() }
    }

    /// Adds a row.
    pub(crate) fn row<I: IntoIterator<Item = String>>(&mut self, cells: I) {
        self.table.add_row(cells.into_iter().map(|cell| harmless(&cell)).collect::<Vec<_>>());
    }

    /// How many of the columns, from the left, fit into so many characters; at least one.
    pub(crate) fn columns_within(&self, width: usize) -> usize {
        let mut used = 0;
        let fits = self.table.column_max_content_widths().into_iter().take_while(|column| {
            used += usize::from(*column + GAP);
            used <= width + usize::from(GAP)
        });
        fits.count().clamp(1, self.columns.max(1))
    }

    /// The text, each line begun with `indent`, the header in bold.
    pub(crate) fn render(&self, paint: Paint, indent: &str) -> String {
        let mut out = String::new();
        for (at, line) in self.table.trim_fmt().lines().enumerate() {
            let line = line.trim_end();
            let line = if at == 0 { paint.bold(line) } else { line.to_owned() };
            out.push_str(indent);
            out.push_str(&line);
            out.push('\n');
        }
        out
    }
}

/// Prints rows the way that was asked for; `names` are the keys of a row, for CSV.
pub(crate) fn list<T: Serialize>(
    terminal: &Terminal,
    format: Listing,
    rows: &[T],
    names: &[&str],
    table: impl FnOnce(&[T]) -> String,
) -> Result<(), Failure> {
    match format {
        Listing::Table => terminal.print(&table(rows)),
        Listing::Json => terminal.print(&format!("{}\n", json(rows)?)),
        Listing::Csv => terminal.print(&csv(rows, names)?),
    }
}

/// Prints rows as they come, as JSON or CSV: there may be more than fit into memory.
pub(crate) struct Stream<'a> {
    terminal: &'a Terminal,
    names: &'a [&'a str],
    as_json: bool,
    rows: u64,
    out: String,
}

/// Text that is printed at once.
const PRINT_AFTER: usize = 1 << 16;

impl<'a> Stream<'a> {
    pub(crate) fn new(terminal: &'a Terminal, as_json: bool, names: &'a [&'a str]) -> Self {
        let out = if as_json { "[".to_owned() } else { format!("{}\n", names.join(",")) };
        Self { terminal, names, as_json, rows: 0, out }
    }

    pub(crate) fn row<T: Serialize>(&mut self, row: &T) -> Result<(), Failure> {
        if self.as_json {
            let comma = if self.rows == 0 { "\n" } else { ",\n" };
            let text = json(row)?;
            let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
            self.out.push_str(&format!("{comma}{}", lines.join("\n")));
        } else {
            self.out.push_str(&csv_row(row, self.names)?);
        }
        self.rows += 1;
        if self.out.len() > PRINT_AFTER {
            self.terminal.print(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }

    pub(crate) fn end(mut self) -> Result<(), Failure> {
        if self.as_json {
            self.out.push_str(if self.rows == 0 { "]\n" } else { "\n]\n" });
        }
        self.terminal.print(&self.out)
    }
}

/// JSON for people and programs.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|cause| not_json(&cause))
}

fn not_json(cause: &serde_json::Error) -> Failure {
    Error::new(ErrorKind::Internal, "internal/json", format!("a result cannot be spelt as JSON: {cause}"))
        .into()
}

fn csv<T: Serialize>(rows: &[T], names: &[&str]) -> Result<String, Failure> {
    let mut out = names.join(",");
    out.push('\n');
    for row in rows {
        out.push_str(&csv_row(row, names)?);
    }
    Ok(out)
}

fn csv_row<T: Serialize>(row: &T, names: &[&str]) -> Result<String, Failure> {
    let value = serde_json::to_value(row).map_err(|cause| not_json(&cause))?;
    let fields: Vec<String> = names.iter().map(|name| field(&value[*name])).collect();
    Ok(format!("{}\n", fields.join(",")))
}

fn field(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn csv_quotes_what_would_break_it() {
        let rows = [json!({ "a": "x,\"y\"", "b": 1, "c": null })];
        assert_eq!(csv(&rows, &["a", "b", "c"]).unwrap(), "a,b,c\n\"x,\"\"y\"\"\",1,\n");
    }

    #[test]
    fn numbers_stand_flush_right() {
        let mut table = Table::new(&["name", "rows#"]);
        table.row(["a".to_owned(), "1".to_owned()]);
        table.row(["bb".to_owned(), "1,000".to_owned()]);
        assert_eq!(table.render(Paint::Plain, ""), "name   rows\na         1\nbb    1,000\n");
    }

    #[test]
    fn columns_that_do_not_fit_are_counted() {
        let mut table = Table::new(&["one", "two", "three"]);
        table.row(["1".repeat(10), "2".repeat(10), "3".repeat(10)]);
        assert_eq!(table.columns_within(34), 3);
        assert_eq!(table.columns_within(33), 2);
        assert_eq!(table.columns_within(1), 1);
    }
}
