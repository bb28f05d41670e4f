//! What the process tells about itself: its log, its metrics, and spans of calls.
//!
//! What happens often is counted where it happens, in [`cells`] that belong to one thread each, and
//! added up by who asks: a check takes no lock and allocates nothing for it. What can be looked up
//! is looked up then. [`instruments`] is the one table of what is told. What the rest of the program
//! is made of is not known here.

pub mod cells;
pub mod instruments;
pub mod log;
pub mod meters;
pub mod otlp;
pub mod prometheus;
pub mod reading;
pub mod trace;
pub mod watchers;
