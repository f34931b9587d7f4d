//! The fuzz target. `cargo xtask fuzz` builds and runs it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mock_fleet::kinds::Package;
use mock_fuzz::{Crds, round};

/// The kind that is fuzzed; all kinds if it is not set.
const KIND: &str = "MOCK_FUZZ_KIND";

static WORLD: LazyLock<(Crds, Option<Package>)> = LazyLock::new(|| {
    let kind = std::env::var(KIND).ok();
    #[expect(clippy::expect_used, reason = "a fuzz target has no other way to fail")]
    let only = kind.map(|kind| Package::parse(&kind).expect("the variable names a kind"));
    #[expect(clippy::expect_used, reason = "a fuzz target has no other way to fail")]
    (Crds::load(&|_| {}).expect("the CRDs are in the cache"), only)
});

fuzz_target!(|data: &[u8]| {
    let (crds, only) = &*WORLD;
    if let Err(finding) = round(data, crds, *only) {
        #[expect(clippy::panic, reason = "this is how a fuzz target reports what it found")]
        {
            panic!("{finding}");
        }
    }
});
