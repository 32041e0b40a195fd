//! The members of an object, read into one column each.
//!
//! Rows of one source nearly always have the same fields in the same order, so each field remembers which one followed it
//! last, and the bytes of that name are compared where they should stand. Only a miss looks names up.

use std::collections::{HashMap, HashSet};

use dil_model::arrow::array::ArrayRef;
use dil_model::arrow::datatypes::{FieldRef, Fields};
use dil_model::arrow::error::ArrowError;

use super::column::{Column, Unknown, typed_fields};
use super::fault::{Fault, Parsed, What};
use super::value::{Cursor, unescape};

/// Fields after the expected one that are tried before the name is looked up: optional fields that were left out.
const TRIED: usize = 3;

const LANE: usize = 16;

/// The columns of an object.
#[derive(Debug)]
pub(crate) struct Members {
    members: Vec<Member>,
    places: HashMap<Box<[u8]>, usize>,
    /// The member that came first in the last object.
    first: usize,
    /// Objects so far.
    length: usize,
    unknown: Unknown,
    /// Names that ask for a wider schema although others are left out.
    widening: HashSet<Box<[u8]>>,
}

#[derive(Debug)]
struct Member {
    field: FieldRef,
    token: Token,
    column: Column,
    /// The number of the last object that had it, counted from 1.
    seen: usize,
    /// The member that followed last time.
    next: usize,
}

/// A field's name as it stands in most documents: `"name":`.
#[derive(Debug)]
struct Token {
    text: Box<[u8]>,
    /// The first bytes, and which of them there are.
    head: [u64; 2],
    mask: [u64; 2],
}

impl Token {
    /// A name that must be escaped gives a token that never matches.
    fn new(name: &str) -> Self {
        let plain = !name.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\');
        let text = format!("\"{name}\":").into_bytes();
        let mut head = [0; LANE];
        let length = text.len().min(LANE);
        head[..length].copy_from_slice(&text[..length]);
        let mask = if plain { u128::MAX >> (8 * (LANE - length)) } else { 0 };
        Self { text: text.into(), head: halves(&head), mask: [mask as u64, (mask >> 64) as u64] }
    }

    /// Whether `bytes` begin with it.
    #[inline]
    fn begins(&self, bytes: &[u8]) -> bool {
        let Some((lane, rest)) = bytes.split_first_chunk::<LANE>() else {
            return self.mask[0] != 0 && bytes.starts_with(&self.text);
        };
        let [low, high] = halves(lane);
        if ((low & self.mask[0]) ^ self.head[0]) | ((high & self.mask[1]) ^ self.head[1]) != 0 {
            return false;
        }
        self.text.len() <= LANE || rest.starts_with(&self.text[LANE..])
    }
}

/// Plain words compare faster than one wide one, which the compiler would move to vector registers and back.
#[inline(always)]
fn halves(lane: &[u8; LANE]) -> [u64; 2] {
    let value = u128::from_le_bytes(*lane);
    [value as u64, (value >> 64) as u64]
}

impl Members {
    pub(crate) fn new(columns: Vec<(FieldRef, Column)>, unknown: Unknown) -> Self {
        let places = columns
            .iter()
            .enumerate()
            .map(|(place, (field, _))| (field.name().as_bytes().into(), place))
            .collect();
        let members = columns
            .into_iter()
            .enumerate()
            .map(|(place, (field, column))| Member {
                token: Token::new(field.name()),
                field,
                column,
                seen: 0,
                next: place + 1,
            })
            .collect();
        Self { members, places, first: 0, length: 0, unknown, widening: HashSet::new() }
    }

    /// Asks for a wider schema when one of these names comes.
    pub(crate) fn widen_for(&mut self, names: impl Iterator<Item = String>) {
        self.widening = names.map(|name| name.into_bytes().into()).collect();
    }

    /// Objects so far.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn reserve(&mut self, rows: usize) {
        for member in &mut self.members {
            member.column.reserve(rows);
        }
    }

    /// Appends an object without members.
    pub(crate) fn push_null(&mut self) {
        for member in &mut self.members {
            member.column.push_null();
        }
        self.length += 1;
    }

    /// Forgets all objects from number `length` on.
    pub(crate) fn truncate(&mut self, length: usize) {
        for member in &mut self.members {
            member.column.truncate(length);
            // The object's number comes again, so nothing counts as seen in it.
            member.seen = 0;
        }
        self.length = length;
    }

    /// Reads an object whose opening bracket was passed.
    pub(crate) fn read(&mut self, cursor: &mut Cursor<'_>) -> Parsed {
        let number = self.length + 1;
        let mut seen = 0;
        let mut previous = None;
        let mut guess = self.first;
        if cursor.token() == b'}' {
            cursor.at += 1;
        } else {
            loop {
                if let Some(place) = self.name(cursor, guess)? {
                    if place != guess {
                        match previous {
                            None => self.first = place,
                            Some(previous) => self.members[previous as usize].next = place,
                        }
                    }
                    let member = &mut self.members[place];
                    if member.seen == number {
                        // The name came twice: the last value counts.
                        member.column.truncate(self.length);
                    } else {
                        member.seen = number;
                        seen += 1;
                    }
                    member.column.read(cursor).map_err(|fault| fault.inside(member.field.name()))?;
                    guess = member.next;
                    previous = Some(place as u32);
                }
                if cursor.ends(b'}')? {
                    break;
                }
            }
        }
        if seen < self.members.len() {
            for member in self.members.iter_mut().filter(|member| member.seen != number) {
                member.column.push_null();
            }
        }
        self.length = number;
        Ok(())
    }

    /// Passes over a name and its colon; `None` if the member was passed over as well.
    #[inline]
    fn name(&mut self, cursor: &mut Cursor<'_>, guess: usize) -> Parsed<Option<usize>> {
        cursor.token();
        if let Some(member) = self.members.get(guess)
            && member.token.begins(cursor.rest())
        {
            cursor.at += member.token.text.len();
            return Ok(Some(guess));
        }
        self.other_name(cursor, guess)
    }

    #[inline(never)]
    fn other_name(&mut self, cursor: &mut Cursor<'_>, guess: usize) -> Parsed<Option<usize>> {
        for place in guess + 1..=guess + TRIED {
            if let Some(member) = self.members.get(place)
                && member.token.begins(cursor.rest())
            {
                cursor.at += member.token.text.len();
                return Ok(Some(place));
            }
        }
        let start = cursor.at;
        if cursor.peek() != b'"' {
            return cursor.unexpected("expected a field name");
        }
        let text = cursor.string()?;
        cursor.colon()?;
        if !text.escaped {
            return self.look_up(cursor, start, text.raw);
        }
        let mut name = Vec::new();
        unescape(text.raw, start + 1, &mut name)?;
        self.look_up(cursor, start, &name)
    }

    fn look_up(&self, cursor: &mut Cursor<'_>, start: usize, name: &[u8]) -> Parsed<Option<usize>> {
        if let Some(place) = self.places.get(name) {
            return Ok(Some(*place));
        }
        let what = match self.unknown {
            _ if self.widening.contains(name) => What::Wider,
            Unknown::Widen => What::Wider,
            Unknown::Fail => What::Undeclared,
            Unknown::Drop => {
                cursor.skip_value()?;
                return Ok(None);
            }
        };
        let path = vec![String::from_utf8_lossy(name).into_owned()];
        Err(Box::new(Fault { at: start, what, path }))
    }

    /// The fields that have a type.
    pub(crate) fn typed(&self) -> Fields {
        typed_fields(self.members.iter().map(|member| (&member.field, &member.column)))
    }

    /// Gives the columns that have a type away and is empty again.
    ///
    /// # Errors
    /// Text that is not UTF-8.
    pub(crate) fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.length = 0;
        let mut arrays = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            member.seen = 0;
            arrays.extend(member.column.finish()?);
        }
        Ok(arrays)
    }
}
