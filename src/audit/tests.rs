//! What the log promises, tried on a disk that crashes, fails and rots.

mod buffer;
mod buffered;
mod copies;
mod crashes;
mod damage;
mod failures;
mod filters;
mod forgeries;
mod layout;
mod records;
mod retention;
mod tails;
mod times;
