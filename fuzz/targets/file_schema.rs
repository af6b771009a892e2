//! A configuration file by anyone: read, merged and compiled, or refused with a place and a reason; never a panic.
//!
//! Of what the file names nothing is read: certificates are as absent.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice::control::file;
use sluice::control::once::once;

fuzz_target!(|text: &str| {
    match file::parse(text) {
        Ok(loaded) => {
            let computed = once(&loaded.fragment, &[]).expect("no manifests are read");
            // Writing the intent down must not fail either.
            let _ = computed.intent.to_string();
        }
        Err(faults) => assert!(!faults.is_empty(), "refused without a word"),
    }
});
