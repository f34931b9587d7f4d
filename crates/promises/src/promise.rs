//! A promise: a name, and its proof in a scene.

use std::sync::Arc;

use extension_conformance::{Case, Feature, Proof, Subject};

use crate::mock::Mock;
use crate::scene::MockScene;

/// A promise of our controllers.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// Condition and result, as a sentence with underscores.
    pub name: &'static str,
    /// What the kind must have for the promise to apply.
    pub needs: &'static [Feature],
    /// Proves it.
    pub holds: fn(MockScene) -> Proof,
}

/// Makes promises of async functions of a [`MockScene`]. A function's name becomes the promise's name. Where a promise
/// does not apply to every kind, the name is followed by what it needs, as in `costs_two needs [Migrate]`.
#[macro_export]
macro_rules! promises {
    ($($name:ident $(needs [$($need:ident),*])?),* $(,)?) => {
        &[$($crate::Promise {
            name: stringify!($name),
            needs: &[$($($crate::Feature::$need),*)?],
            holds: |scene| Box::pin($name(scene)),
        }),*]
    };
}

impl Promise {
    pub(crate) fn case(self, mock: Arc<Mock>, subject: &Subject) -> Case {
        Case::new(self.name, move |scene| (self.holds)(MockScene::new(scene, mock))).needing(self.needs, subject)
    }
}
