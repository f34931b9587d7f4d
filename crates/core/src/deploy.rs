//! What is deployed with a controller: its permissions, the limits of its Secrets, and an optional
//! admission policy. No controller calls this.

pub mod admission;
pub mod rbac;
pub mod secrets;
