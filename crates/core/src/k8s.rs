//! Types of Kubernetes that kinds use. No kind depends on kube or k8s-openapi, so a new major version of these is one
//! change here.

pub use k8s_openapi::ByteString;
pub use k8s_openapi::api::core::v1::{Secret, Taint};
pub use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
pub use k8s_openapi::jiff::{SignedDuration, Timestamp};
pub use kube::Resource;
