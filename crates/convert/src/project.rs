//! Chooses, orders and renames columns.

use dil_model::arrow::array::ArrayRef;
use dil_model::arrow::datatypes::{Field, FieldRef, Fields};
use dil_model::config::Project;
use dil_model::{Error, ErrorKind, Result};

use crate::resolve::no_column;

/// A projection, and once the columns are known, which of them it takes.
#[derive(Debug)]
pub(crate) struct Projection {
    settings: Project,
    taken: Vec<usize>,
}

impl Projection {
    pub(crate) fn new(settings: &Project) -> Self {
        Self { settings: settings.clone(), taken: Vec::new() }
    }

    /// The fields that come out.
    ///
    /// # Errors
    /// `Config` if a column to keep or to rename is not there, or if two would have one name.
    pub(crate) fn fields(&mut self, input: &Fields) -> Result<Fields> {
        let Project { keep, drop, rename } = &self.settings;
        self.taken = if keep.is_empty() {
            (0..input.len()).filter(|at| !drop.contains(input[*at].name())).collect()
        } else {
            let find = |name: &String| {
                input.find(name).map(|(at, _)| at).ok_or_else(|| no_column("keep", name, input))
            };
            keep.iter().map(find).collect::<Result<_>>()?
        };
        let chosen: Fields = self.taken.iter().map(|at| FieldRef::clone(&input[*at])).collect();
        for old in rename.keys() {
            if chosen.find(old).is_none() {
                return Err(no_column("rename", old, &chosen));
            }
        }
        let named: Fields = chosen.iter().map(|field| renamed(field, rename.get(field.name()))).collect();
        unique(&named)?;
        Ok(named)
    }

    /// The columns that come out.
    pub(crate) fn columns(&self, input: &[ArrayRef]) -> Vec<ArrayRef> {
        self.taken.iter().filter_map(|at| input.get(*at)).cloned().collect()
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
