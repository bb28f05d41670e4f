//! The gRPC door: the only code that knows tonic and the public messages.
//!
//! The way of a call: [`admission`] (who calls, and may they) → a service's file (one for each
//! service of the API) → [`convert`] (messages to the domain's types and back) → `service` →
//! [`status`] (the one table from errors to statuses). Handlers hold no rules.

pub mod admission;
pub mod audit_entry;
pub mod call;
pub mod codec;
pub mod convert;
pub mod pb;
pub mod status;

mod access_points;
mod audit;
mod authorization;
mod policies;

pub use access_points::AccessPoints;
pub use audit::Audit;
pub use authorization::Authorization;
pub use policies::Policies;

/// The API's descriptors with their comments, as reflection serves them.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/aap.v1.descriptor.bin"));
