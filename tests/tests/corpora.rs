//! Inputs that fuzzing kept, and some changed ones, still do no harm. `.ci/fuzz` looks for new ones.

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

/// Runs the target on what was kept for it. With `FUZZ_SECONDS` changed inputs are tried for so long.
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
    // What broke it can be looked at: the folder stays when the target panics.
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

/// A test for each target, and one that no target lacks its own.
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
    sizes,
    verdict
);

/// All sides up to what most pictures have, one in 37; and ten thousand pairs up to the longest.
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
