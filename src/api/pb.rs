//! The public messages and services, as generated from `proto/aap/v1`.

#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    missing_docs,
    rustdoc::all,
    unused_qualifications,
    unreachable_pub,
    reason = "generated code"
)]

include!(concat!(env!("OUT_DIR"), "/aap.v1.rs"));
