//! Runs the fuzz targets on the kept inputs and on changed ones. `.ci/fuzz` searches for new inputs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    env,
    path::PathBuf,
    time::{Duration, Instant},
};

use gavel_fuzz::{
    TARGETS,
    replay::{Changes, kept, replay},
    sizes,
};

/// Runs the target on its kept inputs and on 20 changed ones of each, or on changed ones for `FUZZ_SECONDS` seconds.
fn check(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    let inputs = kept(name).unwrap();
    assert!(!inputs.is_empty(), "no input of {name} was kept");
    let changes = match env::var_os("FUZZ_SECONDS") {
        Some(seconds) => {
            let seconds = seconds.to_str().unwrap().parse().unwrap();
            Changes::Until(Instant::now() + Duration::from_secs(seconds))
        }
        None => Changes::Each(20),
    };
    let folder = tempfile::tempdir().unwrap();
    // If the target panics, the folder stays, with the input that caused it.
    let place: PathBuf = folder.keep();
    let start = Instant::now();
    let count = replay(*target, &inputs, changes, &place);
    eprintln!(
        "{name}: {count} inputs in {:.1} s, {} of them kept ones",
        start.elapsed().as_secs_f64(),
        inputs.len()
    );
    assert!(count >= inputs.len());
    std::fs::remove_dir_all(place).unwrap();
}

/// Makes a test for each target, and one that checks that every target has its test.
macro_rules! tests {
    ($($name:ident),*) => {
        #[test]
        fn every_target_has_its_test() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), tested);
        }

        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*
    };
}

tests!(
    arrivals,
    body,
    checkpoint,
    configuration,
    connection,
    conversation,
    data_url,
    events,
    image_url,
    library,
    picture,
    prompt,
    recovery,
    shape,
    sizes,
    verdict
);

/// Every 37th height and width up to 2400 pixels, which most images have; and 10,000 pairs up to the longest side.
#[test]
fn every_size_is_cut_as_the_reference_cuts_it() {
    let mut state = 1_u64;
    let mut side = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % sizes::LONGEST + 1
    };
    for cut in sizes::cuts() {
        for height in (1..=2400).step_by(37) {
            (1..=2400).step_by(37).for_each(|width| sizes::check(cut, (height, width)));
        }
        (0..10_000).for_each(|_| sizes::check(cut, (side(), side())));
    }
}
