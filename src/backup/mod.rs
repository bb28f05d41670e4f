//! A backup: the journal up to a revision, and the audit log up to a record, in one file that says of
//! itself whether it is whole. No record in it names a revision that the journal in it doesn't have.
//!
//! The way of a backup: [`source`] (what there is) → [`writing`] (bytes, one after another, in the form
//! of [`archive`], with what [`head`] says of them). The way back: [`reading`] (is it what was
//! written?) → [`verifying`] (is it what was signed?) → [`restoring`] (a new data directory).
//! What only goes past is looked at by [`passing`] (did all of it come?).
//!
//! It knows neither where bytes go nor who asks for them, and no secret is ever in one.

pub mod archive;
pub mod head;
pub mod passing;
pub mod reading;
pub mod restoring;
pub mod source;
pub mod verifying;
pub mod writing;

#[cfg(test)]
mod tests;
