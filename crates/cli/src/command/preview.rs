//! `dil preview`: the first rows of a stage and their schema.

use dil_engine::Preview;
use dil_model::arrow::datatypes::Schema;
use dil_model::arrow::record_batch::RecordBatch;
use dil_model::schema::name_of;
use jiff::Timestamp;

use crate::argument::{Common, PreviewArguments};
use crate::batch::rows;
use crate::exit::{Exit, Failure, usage};
use crate::quantity::counted;
use crate::table::Table;
use crate::terminal::{Paint, Terminal, harmless};
use crate::{flow_file, running};

pub(super) fn run(
    common: &Common,
    arguments: &PreviewArguments,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let flow = flow_file::load(&arguments.flow)?;
    let stage = arguments.stage.as_ref().or_else(|| flow.order().last());
    let stage = stage.ok_or_else(|| usage("preview/no-stage", "the flow has no stage"))?;
    let settings = common.settings()?;
    let reading = dil_engine::preview(&flow, &settings, stage, arguments.rows, Timestamp::now());
    let preview = running::block_on(reading)??;
    terminal.print(&shown(terminal.out, &preview)?)?;
    if let Some(unseen) = &preview.unseen {
        terminal.tell(&format!("{}: {}\n", terminal.err.warning("warning"), harmless(unseen)));
    }
    Ok(Exit::Success)
}

fn shown(paint: Paint, preview: &Preview) -> Result<String, Failure> {
    let mut out = format!("{}  unit {}\n\n", paint.bold(&preview.stage), harmless(&preview.unit));
    out.push_str(&schema(paint, &preview.read, &preview.written));
    out.push('\n');
    out.push_str(&rows(paint, &preview.batches)?);
    let number: usize = preview.batches.iter().map(RecordBatch::num_rows).sum();
    let more = if preview.more { "the unit has more" } else { "these are all of the unit" };
    let text = format!("{}; {more}. Nothing was written.", counted(number as u64, "row"));
    out.push_str(&format!("{}\n", paint.dim(&text)));
    Ok(out)
}

/// The columns as they would be written, beside their type as read where that differs.
fn schema(paint: Paint, read: &Schema, written: &Schema) -> String {
    let mut table = Table::new(&["column", "type", "read as"]);
    for field in written.fields() {
        let read_as = match read.field_with_name(field.name()) {
            Ok(before) if before.data_type() == field.data_type() => String::new(),
            Ok(before) => name_of(before.data_type()),
            Err(_) => "made by convert".to_owned(),
        };
        table.row([field.name().clone(), name_of(field.data_type()), read_as]);
    }
    for field in read.fields().iter().filter(|field| written.field_with_name(field.name()).is_err()) {
        let why = if field.data_type().is_null() { "not written: only nulls so far" } else { "not written" };
        table.row([field.name().clone(), why.to_owned(), name_of(field.data_type())]);
    }
    table.render(paint, "  ")
}
