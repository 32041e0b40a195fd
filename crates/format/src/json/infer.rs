//! Finds the types of what a frame holds.

use std::collections::HashSet;
use std::sync::Arc;

use dil_model::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use dil_model::config::OtherColumns;
use dil_model::schema::{self, Joining};
use indexmap::IndexMap;

use super::decode::Declared;
use super::fault::{Parsed, What, fault, syntax};
use super::rows::{Separator, next_row};
use super::value::{Cursor, unescape};

/// Types nested deeper than this are not inferred: a schema with them could not be spelt and kept.
const DEPTH_MAX: usize = 48;

/// Where no value of a kind was seen.
const NOWHERE: usize = usize::MAX;

/// The kinds of values that types are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Integer,
    /// An integer beyond 64 bits.
    Big,
    Fraction,
    Text,
    List,
    Object,
}

const KINDS: [(Kind, &str); 7] = [
    (Kind::Bool, "true or false"),
    (Kind::Integer, "an integer"),
    (Kind::Big, "an integer beyond 64 bits"),
    (Kind::Fraction, "a fraction"),
    (Kind::Text, "a text"),
    (Kind::List, "a list"),
    (Kind::Object, "an object"),
];

const HINT_BIG: &str = "declare `decimal(38,0)`, or `text` to keep the digits";
const HINT_SCALARS: &str = "declare the type that holds both, for example `text`";
const HINT_NESTED: &str = "declare it as `json` to keep each value's own text";

/// The values seen in one field.
#[derive(Debug)]
struct Seen {
    /// Where the first value of each kind is in the frame.
    first: [usize; KINDS.len()],
    items: Option<Box<Seen>>,
    members: SeenMembers,
}

#[derive(Debug, Default)]
struct SeenMembers {
    fields: IndexMap<String, Seen>,
    /// The place after the field that came last.
    next: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Self { first: [NOWHERE; KINDS.len()], items: None, members: SeenMembers::default() }
    }
}

/// The fields of a frame's rows, and where a declared-only frame breaks that rule.
pub(super) struct Inference<'d> {
    declared: &'d Declared,
    top: SeenMembers,
}

impl<'d> Inference<'d> {
    /// Reads all rows of a frame.
    pub(super) fn read(
        declared: &'d Declared,
        bytes: &[u8],
        separator: Separator,
        row: &mut usize,
    ) -> Parsed<Self> {
        let mut inference = Self { declared, top: SeenMembers::default() };
        let mut cursor = Cursor::new(bytes, 0);
        let mut first = true;
        while next_row(&mut cursor, separator, first, row)? {
            first = false;
            inference.row(&mut cursor)?;
        }
        Ok(inference)
    }

    fn row(&mut self, cursor: &mut Cursor<'_>) -> Parsed {
        let declared = self.declared;
        self.top.read(
            cursor,
            &mut |name, at| {
                if declared.types.contains_key(name) {
                    return Ok(Take::Note);
                }
                match declared.others {
                    OtherColumns::Infer => Ok(Take::Infer),
                    OtherColumns::Drop => Ok(Take::Skip),
                    OtherColumns::Fail => fault(at, What::Undeclared)
                        .map_err(|fault: Box<super::fault::Fault>| fault.inside(name)),
                }
            },
            0,
        )
    }

    /// The schema that holds these rows and those of `known`.
    ///
    /// Without `strict`, a value that contradicts a known type is left for the decoder to report.
    pub(super) fn schema(&self, known: Option<&SchemaRef>, strict: bool) -> Result<SchemaRef, Conflict> {
        let empty = Schema::empty();
        let known = known.map_or(&empty, |known| known.as_ref());
        let mut fields: Vec<FieldRef> = Vec::new();
        for field in known.fields() {
            let data_type = match (self.declared.types.get(field.name()), self.top.fields.get(field.name())) {
                (Some(declared), _) => self.agreed(field, declared.arrow())?,
                (None, Some(seen)) => {
                    merge(field.data_type(), seen, strict, 0).map_err(|f| f.inside(field.name()))?
                }
                (None, None) => field.data_type().clone(),
            };
            fields.push(Arc::new(field.as_ref().clone().with_data_type(data_type)));
        }
        let mut there: HashSet<&str> = known.fields().iter().map(|field| field.name().as_str()).collect();
        for (name, seen) in &self.top.fields {
            if there.insert(name) {
                let data_type = match self.declared.types.get(name) {
                    Some(declared) => declared.arrow().clone(),
                    None => seen.data_type(0).map_err(|fault| fault.inside(name))?,
                };
                fields.push(Arc::new(Field::new(name, data_type, true)));
            }
        }
        for (name, declared) in &self.declared.types {
            if there.insert(name) {
                fields.push(Arc::new(Field::new(name, declared.arrow().clone(), true)));
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// A declared column's type, which must be the one that is kept already.
    fn agreed(&self, kept: &Field, declared: &DataType) -> Result<DataType, Conflict> {
        let one = |data_type: &DataType| Schema::new(vec![Field::new(kept.name(), data_type.clone(), true)]);
        let joined =
            schema::join(&one(kept.data_type()), &one(declared), Joining::Agreed).map_err(Conflict::Kept)?;
        Ok(joined.field(0).data_type().clone())
    }
}

/// Why there is no schema.
pub(super) enum Conflict {
    /// Values of the frame.
    Values(Box<super::fault::Fault>),
    /// A declared type and the one that is kept.
    Kept(dil_model::Error),
}

impl From<Box<super::fault::Fault>> for Conflict {
    fn from(fault: Box<super::fault::Fault>) -> Self {
        Self::Values(fault)
    }
}

/// What to do with a member.
enum Take {
    Infer,
    /// Only that it is there counts.
    Note,
    Skip,
}

type Judge<'j> = &'j mut dyn FnMut(&str, usize) -> Parsed<Take>;

impl SeenMembers {
    /// Reads an object whose opening bracket is next.
    fn read(&mut self, cursor: &mut Cursor<'_>, judge: Judge<'_>, depth: usize) -> Parsed {
        cursor.at += 1;
        self.next = 0;
        if cursor.token() == b'}' {
            cursor.at += 1;
            return Ok(());
        }
        loop {
            if cursor.token() != b'"' {
                return cursor.unexpected("expected a field name");
            }
            let start = cursor.at;
            let text = cursor.string()?;
            cursor.colon()?;
            let mut plain = Vec::new();
            let raw = if text.escaped {
                unescape(text.raw, start + 1, &mut plain)?;
                plain.as_slice()
            } else {
                text.raw
            };
            let Ok(name) = std::str::from_utf8(raw) else {
                return syntax(start, "a field name that is not UTF-8");
            };
            match judge(name, start)? {
                Take::Infer => {
                    let place = self.place(name);
                    if let Some((_, seen)) = self.fields.get_index_mut(place) {
                        seen.read(cursor, depth).map_err(|fault| fault.inside(name))?;
                    }
                }
                Take::Note => {
                    self.place(name);
                    cursor.skip_value()?;
                }
                Take::Skip => cursor.skip_value()?,
            }
            if cursor.ends(b'}')? {
                return Ok(());
            }
        }
    }

    /// The place of a field, which is new if it was not there.
    fn place(&mut self, name: &str) -> usize {
        let expected = self.fields.get_index(self.next).is_some_and(|(field, _)| field == name);
        let place = if expected {
            self.next
        } else {
            match self.fields.get_index_of(name) {
                Some(place) => place,
                None => self.fields.insert_full(name.to_owned(), Seen::default()).0,
            }
        };
        self.next = place + 1;
        place
    }
}

impl Seen {
    fn note(&mut self, kind: Kind, at: usize) {
        let first = &mut self.first[kind as usize];
        *first = (*first).min(at);
    }

    fn has(&self, kind: Kind) -> bool {
        self.first[kind as usize] != NOWHERE
    }

    /// Whether every value was of one of these kinds.
    fn only(&self, kinds: &[Kind]) -> bool {
        KINDS.iter().all(|(kind, _)| kinds.contains(kind) || !self.has(*kind))
    }

    fn read(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed {
        let first = cursor.token();
        let at = cursor.at;
        if depth > DEPTH_MAX {
            let expected = format!("nested deeper than {DEPTH_MAX} levels");
            return fault(at, What::Type { expected, hint: HINT_NESTED });
        }
        match first {
            b'n' => cursor.word(b"null"),
            b'"' => {
                self.note(Kind::Text, at);
                cursor.skip_value()
            }
            b't' | b'f' => {
                self.note(Kind::Bool, at);
                cursor.skip_value()
            }
            b'-' | b'0'..=b'9' => {
                let number = cursor.number()?;
                let kind = match number.to_i64() {
                    Some(_) => Kind::Integer,
                    None if number.integer => Kind::Big,
                    None => Kind::Fraction,
                };
                self.note(kind, at);
                Ok(())
            }
            b'{' => {
                self.note(Kind::Object, at);
                self.members.read(cursor, &mut |_, _| Ok(Take::Infer), depth + 1)
            }
            b'[' => {
                self.note(Kind::List, at);
                self.read_items(cursor, depth)
            }
            _ => cursor.unexpected("expected a value"),
        }
    }

    fn read_items(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed {
        let items = self.items.get_or_insert_default();
        cursor.at += 1;
        if cursor.token() == b']' {
            cursor.at += 1;
            return Ok(());
        }
        loop {
            items.read(cursor, depth + 1).map_err(|fault| fault.inside("[]"))?;
            if cursor.ends(b']')? {
                return Ok(());
            }
        }
    }

    /// The one type that holds all values.
    fn data_type(&self, depth: usize) -> Parsed<DataType> {
        if self.only(&[]) {
            return Ok(DataType::Null);
        }
        if self.only(&[Kind::Bool]) {
            return Ok(DataType::Boolean);
        }
        if self.only(&[Kind::Integer]) {
            return Ok(DataType::Int64);
        }
        if self.has(Kind::Fraction) && self.only(&[Kind::Integer, Kind::Big, Kind::Fraction]) {
            return Ok(DataType::Float64);
        }
        if self.only(&[Kind::Text]) {
            return Ok(DataType::Utf8);
        }
        if self.only(&[Kind::List]) {
            let item = self.items.as_ref().map_or(Ok(DataType::Null), |items| items.data_type(depth + 1));
            let item = item.map_err(|fault| fault.inside("[]"))?;
            return Ok(DataType::List(Arc::new(Field::new("item", item, true))));
        }
        if self.only(&[Kind::Object]) {
            return Ok(DataType::Struct(self.members.new_fields(&Fields::empty(), depth)?.into()));
        }
        self.mixed("")
    }

    /// Values that share no type; `known` is what the field was before.
    #[cold]
    fn mixed<T>(&self, known: &str) -> Parsed<T> {
        let seen: Vec<String> =
            KINDS.iter().filter(|(kind, _)| self.has(*kind)).map(|(_, name)| (*name).to_owned()).collect();
        let seen = match seen.as_slice() {
            [one] if known.is_empty() => one.clone(),
            several if known.is_empty() => format!("{} in different rows", several.join(" and ")),
            several => format!("{known} so far and {} in some rows", several.join(" and ")),
        };
        let last = self.first.iter().filter(|at| **at != NOWHERE).max().copied().unwrap_or_default();
        let hint = if self.has(Kind::List) || self.has(Kind::Object) {
            HINT_NESTED
        } else if self.has(Kind::Big) {
            HINT_BIG
        } else {
            HINT_SCALARS
        };
        fault(last, What::Mixed { seen, hint })
    }
}

impl SeenMembers {
    /// The fields that `known` lacks.
    fn new_fields(&self, known: &Fields, depth: usize) -> Parsed<Vec<FieldRef>> {
        let there: HashSet<&str> = known.iter().map(|field| field.name().as_str()).collect();
        let new = self.fields.iter().filter(|(name, _)| !there.contains(name.as_str()));
        new.map(|(name, seen)| {
            let data_type = seen.data_type(depth + 1).map_err(|fault| fault.inside(name))?;
            Ok(Arc::new(Field::new(name, data_type, true)))
        })
        .collect()
    }
}

/// The known type, with what is new inside it.
fn merge(known: &DataType, seen: &Seen, strict: bool, depth: usize) -> Parsed<DataType> {
    let fits = match known {
        DataType::Null => return seen.data_type(depth),
        DataType::Struct(fields) if seen.only(&[Kind::Object]) || !strict => {
            let mut merged: Vec<FieldRef> = Vec::with_capacity(fields.len());
            for field in fields {
                let data_type = match seen.members.fields.get(field.name()) {
                    Some(seen) => merge(field.data_type(), seen, strict, depth + 1)
                        .map_err(|fault| fault.inside(field.name()))?,
                    None => field.data_type().clone(),
                };
                merged.push(Arc::new(field.as_ref().clone().with_data_type(data_type)));
            }
            merged.extend(seen.members.new_fields(fields, depth)?);
            return Ok(DataType::Struct(merged.into()));
        }
        DataType::List(item) if seen.only(&[Kind::List]) || !strict => {
            let Some(items) = &seen.items else { return Ok(known.clone()) };
            let data_type =
                merge(item.data_type(), items, strict, depth + 1).map_err(|fault| fault.inside("[]"))?;
            return Ok(DataType::List(Arc::new(item.as_ref().clone().with_data_type(data_type))));
        }
        DataType::Int64 => seen.only(&[Kind::Integer]),
        DataType::Float64 => seen.only(&[Kind::Integer, Kind::Big, Kind::Fraction]),
        DataType::Boolean => seen.only(&[Kind::Bool]),
        DataType::Utf8 => seen.only(&[Kind::Text]),
        DataType::Struct(_) | DataType::List(_) => false,
        // Only declared columns have the others; their values are the decoder's to judge.
        _ => true,
    };
    if strict && !fits { seen.mixed(&schema::name_of(known)) } else { Ok(known.clone()) }
}
