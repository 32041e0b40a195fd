//! CSV: pages of text cut into whole records, and records made into batches.
//!
//! RFC 4180 with a configurable delimiter and quote; lines end with LF, CR or CRLF; blank lines mean nothing. Both
//! halves look at 64 bytes at a time as bit masks ([`block`]): quotes, line ends and delimiters each become one word,
//! and whether a byte is quoted is the parity of the quotes before it.
//!
//! What is stricter than elsewhere, because the alternative is a row that is silently wrong: a quote inside an
//! unquoted field, text after a closing quote, a row with another number of fields than the header, and a body that
//! ends inside a quoted field are errors.
//!
//! Limits: a record ends where the page ends, even without a line end, so a body cut short inside its last unquoted
//! field looks whole from here. The connection checks lengths for that reason.

mod block;
mod column;
mod decode;
mod dialect;
mod frame;
mod index;
mod infer;
mod parse;
#[cfg(test)]
mod tests;

pub(crate) use decode::decoder;
pub(crate) use frame::framer;
