//! The stored messages, as generated from `proto/aap/store/v1`.

#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    missing_docs,
    unused_qualifications,
    unreachable_pub,
    reason = "generated code"
)]

include!(concat!(env!("OUT_DIR"), "/aap.store.v1.rs"));
