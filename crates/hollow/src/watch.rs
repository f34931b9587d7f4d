//! Stores of objects that watches keep up to date.

use std::fmt::Debug;
use std::hash::Hash;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Lookup, Store};
use kube::runtime::watcher::{Error, Event};
use kube::runtime::{WatchStreamExt as _, reflector};
use kube::{Resource, ResourceExt as _};

/// A store, and the events that keep it up to date for ever as long as they are polled. Each object is cut by `forget`
/// before it is stored. After an error, the watch pauses, up to 30 s.
pub(crate) fn mirror<K, S>(
    kind: <K as Lookup>::DynamicType,
    watch: S,
    forget: fn(&mut K),
) -> (Store<K>, BoxStream<'static, Result<Event<K>, Error>>)
where
    K: Lookup + Resource + Clone + Debug + Send + Sync + 'static,
    <K as Lookup>::DynamicType: Eq + Hash + Clone + Send + Sync,
    S: futures::Stream<Item = Result<Event<K>, Error>> + Send + 'static,
{
    let writer = Writer::new(kind);
    let store = writer.as_reader();
    let cut = watch.default_backoff().modify(move |object: &mut K| {
        object.managed_fields_mut().clear();
        forget(object);
    });
    (store, reflector(writer, cut).boxed())
}
