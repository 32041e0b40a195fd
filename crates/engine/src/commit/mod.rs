//! The commit protocol: the only code that makes data visible or moves a watermark.
//!
//! ```text
//! staged ──prepare──► journal says what will be where ──publish──► visible ──record──► watermarks, unit states
//! ```
//!
//! 1. A unit has staged its files, fsynced, under a prefix of its own; its manifest names them.
//! 2. *Prepare* writes a journal entry with everything that the rest needs.
//! 3. *Publish* renames each file to its final name, fsyncs the folders, then removes the files that these replace.
//!    With `mode: replace` a whole folder is filled beside the old one and exchanged with it in one step.
//! 4. *Record* is one transaction: journal, watermarks, unit states, files, schema.
//!
//! A crash between any two instructions leaves the old state or the new: [`recover`] does the rest of every prepared
//! entry at the next start. Each step looks before it acts, so doing it twice is doing it once. An entry that can never be
//! finished (a staged file is gone, a name is taken) is cancelled: what of it is visible goes back to staging, and its units
//! have failed. Only after the exchange of `mode: replace` there is no way back, and none is needed.
//!
//! Every journal transaction checks the lease. A coordinator that slept past its lease may still repeat renames, which find
//! their work done; what would undo the work of another (the exchange, taking back, clearing the staging folders) runs
//! inside a transaction that holds the lease.
//!
//! What a reader can see meanwhile: files appear one by one; where files are replaced, the new ones appear before the old
//! ones go. `mode: replace` shows the old folder or the new one, nothing between.

mod publish;
mod recover;

pub(crate) use publish::{check_folder, commit, open_staging};
pub(crate) use recover::{clear_staging, recover};
