//! What is deployed with a controller: its permissions, and an optional admission policy. No controller calls this.

pub mod admission;
pub mod rbac;
