//! A promise: a name, and its proof in a scene.

use std::sync::Arc;

use extension_conformance::{Case, Proof};

use crate::mock::Mock;
use crate::scene::MockScene;

/// A promise of our controllers.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// Condition and result, as a sentence with underscores.
    pub name: &'static str,
    /// Proves it.
    pub holds: fn(MockScene) -> Proof,
}

/// Makes promises of async functions of a [`MockScene`]. A function's name becomes the promise's name.
#[macro_export]
macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        &[$($crate::Promise { name: stringify!($name), holds: |scene| Box::pin($name(scene)) }),*]
    };
}

impl Promise {
    pub(crate) fn case(self, mock: Arc<Mock>) -> Case {
        Case::new(self.name, move |scene| (self.holds)(MockScene::new(scene, mock)))
    }
}
