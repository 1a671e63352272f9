//! The fuzzer: the target is named by the environment, so that one program, linked once, has them all.

#![no_main]

use std::{env, sync::OnceLock};

use gavel_fuzz::{TARGETS, Target};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        TARGETS.iter().find(|(known, _)| *known == name).expect("FUZZ_TARGET is a target").1
    });
    chosen(data);
});
