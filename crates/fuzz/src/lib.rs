//! Arbitrary input for the controllers: bytes become an object of some kind, its Cluster and the time, and a controller
//! reconciles the object until it rests. The property test and the fuzz target share [`round`].
//!
//! Two sorts of objects are made. Those that the schema of their CRD accepts have to be served: they can be decoded, and
//! what the controller writes is accepted as well. All others only must not make the controller panic, and an error has
//! to name the field.

mod clear;
mod crds;
mod dice;
mod generate;
mod play;

pub use self::crds::{Crds, CrdsError};
pub use self::play::Finding;

use mock_fleet::kinds::{ALL, Package};

use self::dice::Dice;
use self::play::Play;

/// Plays what the bytes describe. `only` fixes the kind, which the bytes choose otherwise.
pub fn round(data: &[u8], crds: &Crds, only: Option<Package>) -> Result<(), Finding> {
    let mut dice = Dice::new(data);
    let chosen = dice.pick(ALL).copied();
    let Some(package) = only.or(chosen) else { return Ok(()) };
    let Some(crd) = crds.of(package.kind()) else { return Err(Finding::NoCrd(package.kind())) };
    let scene = generate::scene(&mut dice, package, crd);
    Play::new(package, crd, scene).run()
}
