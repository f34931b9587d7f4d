//! The key of an object in one process, which serves one kind.

use kube::Resource;
use kube::core::Request;
use kube::runtime::reflector::ObjectRef;

use crate::kind::{MockKind, Object};

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `None` for a cluster-scoped object.
    pub namespace: Option<String>,
    /// Name of the object.
    pub name: String,
}

impl Key {
    /// The key of an object.
    pub fn of(object: &impl Resource) -> Self {
        let meta = object.meta();
        Self {
            namespace: meta.namespace.clone().filter(|namespace| !namespace.is_empty()),
            name: meta.name.clone().unwrap_or_default(),
        }
    }

    /// The key in a store of kube.
    #[must_use]
    pub fn object_ref<T>(&self) -> ObjectRef<T>
    where
        T: Resource<DynamicType = ()>,
    {
        let object = ObjectRef::new(&self.name);
        match &self.namespace {
            Some(namespace) => object.within(namespace),
            None => object,
        }
    }

    /// Builds requests for the object.
    #[must_use]
    pub fn request<K: MockKind>(&self) -> Request {
        Request::new(Object::<K>::url_path(&(), self.namespace.as_deref()))
    }
}
