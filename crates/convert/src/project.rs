//! Chooses, orders and renames columns.

use std::sync::Arc;

use dil_model::arrow::array::{ArrayRef, new_null_array};
use dil_model::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use dil_model::config::Project;
use dil_model::{Error, ErrorKind, Result};

/// A projection, and once the columns are known, which of them it takes.
#[derive(Debug)]
pub(crate) struct Projection {
    settings: Project,
    /// What comes out, by its place among the columns that come in; `None` for one that the rows do not have.
    taken: Vec<Option<usize>>,
}

impl Projection {
    pub(crate) fn new(settings: &Project) -> Self {
        Self { settings: settings.clone(), taken: Vec::new() }
    }

    /// The fields that come out.
    ///
    /// # Errors
    /// `Config` if two would have one name.
    pub(crate) fn fields(&mut self, input: &Fields) -> Result<Fields> {
        let Project { keep, drop, rename } = &self.settings;
        let (mut chosen, mut taken) = (Vec::new(), Vec::new());
        let mut take = |name: &str| {
            let found = input.find(name);
            taken.push(found.map(|(at, _)| at));
            chosen.push(found.map_or_else(
                || Arc::new(Field::new(name, DataType::Null, true)),
                |(_, field)| Arc::clone(field),
            ));
        };
        keep.iter().for_each(|name| take(name));
        if keep.is_empty() {
            input
                .iter()
                .map(|field| field.name())
                .filter(|name| !drop.contains(name))
                .for_each(|name| take(name));
            rename.keys().filter(|name| input.find(name).is_none()).for_each(|name| take(name));
        }
        self.taken = taken;
        let named: Fields = chosen.iter().map(|field| renamed(field, rename.get(field.name()))).collect();
        unique(&named)?;
        Ok(named)
    }

    /// The columns that come out.
    pub(crate) fn columns(&self, input: &[ArrayRef], rows: usize) -> Vec<ArrayRef> {
        let column = |at: &Option<usize>| at.and_then(|at| input.get(at)).cloned();
        self.taken
            .iter()
            .map(|at| column(at).unwrap_or_else(|| new_null_array(&DataType::Null, rows)))
            .collect()
    }

    /// The columns that it names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let Project { keep, rename, .. } = &self.settings;
        let renamed = rename.keys().filter(|name| !keep.contains(name));
        keep.iter().chain(renamed).map(String::as_str)
    }
}

fn renamed(field: &FieldRef, name: Option<&String>) -> FieldRef {
    match name {
        Some(name) => Field::clone(field).with_name(name).into(),
        None => FieldRef::clone(field),
    }
}

fn unique(fields: &Fields) -> Result<()> {
    for (at, field) in fields.iter().enumerate() {
        if fields[..at].iter().any(|before| before.name() == field.name()) {
            let message = format!("two columns would be named `{}`", field.name());
            let hint = "choose another new name, or drop the column that has it";
            return Err(Error::new(ErrorKind::Config, "convert/name-twice", message).hint(hint));
        }
    }
    Ok(())
}
