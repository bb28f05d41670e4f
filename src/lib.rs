//! An application access point service.
//!
//! An *access point* is an application's identity: one way to authenticate, and one to three
//! policies. An enforcement point asks whether an access point may do something, to a resource, from
//! a network; the answer leaves when its record is on disk.
//!
//! This library is the whole program; `main.rs` only calls [`cli`]. Its modules stand in the order in
//! which a request passes them, from the inside out:
//!
//! | module | what it is for |
//! |---|---|
//! | [`domain`] | names, resources, commands, events, and the decision; pure |
//! | [`projection`] | folds events into what readers and checks see |
//! | [`store`] | the journal of changes, in sled |
//! | [`audit`] | the log of decisions, in files of its own |
//! | [`backup`] | both in one file, and a data directory of it |
//! | [`identity`] | who calls |
//! | [`service`] | the use cases |
//! | [`api`] | the gRPC door |
//! | [`server`] | runtimes, start and stop |
//! | [`config`], [`cli`] | what the process is told |
//! | [`telemetry`] | what it tells: its log and its metrics |
//! | [`clock`], [`entropy`] | the only sources of time and randomness |
//!
//! `ARCHITECTURE.md` tells the life of two requests, and the invariants with the tests that hold
//! them.

pub mod domain;
pub mod projection;
pub mod store;

pub mod audit;
pub mod backup;
pub mod identity;
pub mod service;

pub mod api;
pub mod server;

pub mod cli;
pub mod config;

pub mod clock;
pub mod entropy;
pub mod telemetry;

/// A call costs dozens of small allocations, most of them HTTP/2's. See `benches/README.md` for what
/// this allocator brings.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
