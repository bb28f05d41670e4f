//! x
pub mod api;
pub mod audit;
pub mod clock;
pub mod domain;
pub mod entropy;
pub mod identity;
pub mod projection;
pub mod service;
pub mod store;
