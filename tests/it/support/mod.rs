//! What the tests of a running server share.
//!
//! It asserts nothing about what the server should answer; that is for the tests.

pub mod certificates;
pub mod clients;
pub mod configuration;
pub mod cursors;
pub mod exports;
pub mod faults;
pub mod following;
pub mod home;
pub mod https;
pub mod issuers;
pub mod methods;
pub mod page;
pub mod place;
pub mod processes;
pub mod random;
pub mod raw_codec;
pub mod refusal;
pub mod server;
pub mod terminal;
pub mod watching;
pub mod world;

pub use clients::{
    ACME_AUDITOR, ADMIN, AUDITOR, BOUNDED, ENFORCER, GATEWAY, OTHER_ADMIN, OTHER_AUDITOR,
    OTHER_ENFORCER,
};
pub use clients::{Client, OPERATOR, SECOND_ADMIN, VIEWER};
pub use faults::Fault;
pub use refusal::{Refusal, refused};
pub use server::{Setup, TestServer};
