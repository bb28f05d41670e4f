//! x
pub mod api;
pub mod audit;
pub mod clock;
pub mod config;
pub mod domain;
pub mod entropy;
pub mod identity;
pub mod projection;
pub mod server;
pub mod service;
pub mod store;
pub mod telemetry;
