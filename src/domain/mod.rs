//! What the product is about: names, resources, commands and the events they become, and the
//! decision. Pure and synchronous.
//!
//! It knows no clock, no disk, no wire and no task: time, randomness and ids come in as arguments,
//! and nothing in here can fail except by rejecting what it is given.

mod distinct;
mod json;
pub mod name;
pub mod network;
pub mod pattern;
pub mod request;
pub mod rules;
pub mod time;

pub mod access_point;
pub mod client_key;
pub mod network_rule;
pub mod policy;
pub mod proof;
pub mod ram_role;
pub mod resource;
pub mod trust_policy;

pub mod catalog;
pub mod command;
pub mod decide;
pub mod event;
pub mod limits;
pub mod listing;
pub mod oddities;
pub mod room;

pub mod audit_cursor;
pub mod audit_filter;
pub mod check;
pub mod decision;
pub mod patterns;
pub mod ranges;
pub mod rulebook;
pub mod session;
mod slots;
mod table;
mod trie;

#[cfg(test)]
pub(crate) mod testing;
