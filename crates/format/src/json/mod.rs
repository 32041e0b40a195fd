//! JSON: documents and lines cut into whole rows, and rows made into batches.
//!
//! A page is seen twice. The framer ([`frame`], [`lines`]) counts brackets outside strings, 64 bytes at a time ([`scan`]), and
//! copies whole rows; outside them it walks token by token to the few targets of a read ([`path`], [`walk`]). The decoder
//! ([`decode`]) reads each row once, straight from its bytes into columns ([`members`], [`column`]): where the next field's name
//! is what it was in the row before, its bytes are compared and nothing is looked up. It checks every byte that the framer
//! only passed over. [`infer`] is the slow way for frames that the schema does not hold yet.
//!
//! Values are never bent: an integer column refuses `1.5` and `1.0`, text refuses numbers unless it was declared. A name that
//! comes twice in an object counts with its last value. A surrogate escape without its other half, which some senders make
//! by cutting texts, becomes U+FFFD; every other breach of RFC 8259 is an error with page, row and byte.
//!
//! Limits: 512 levels of nesting, 48 where types are inferred; wanted values of 64 KiB; frames of 2 GiB.

mod bytes;
mod column;
mod decode;
mod fault;
mod frame;
mod infer;
mod lines;
mod members;
mod path;
mod rows;
mod scan;
#[cfg(test)]
mod tests;
mod value;
mod walk;

pub(crate) use decode::decoder;
pub(crate) use frame::document_framer;
pub(crate) use lines::line_framer;
