//! Local files as a destination: staged under a name that no reader looks at, then renamed into place.
//!
//! A staged file lies below [`STAGING_FOLDER`], whose leading dot Spark, pyarrow and glob patterns pass over, and ends in
//! `.part`. Its bytes and its name are fsynced before its manifest counts. Publication is a rename within one file system, which never
//! overwrites, followed by an fsync of the folder; every step may be repeated after a crash.

mod publish;
mod stage;

pub use publish::{
    FOLDER_MARK, exchange_folder, is_published_folder, mark_folder, publish_file, remove_published,
    remove_tree, sync_folder, take_back,
};
pub use stage::{STAGING_FOLDER, StagedWriter, StagingFolder};
