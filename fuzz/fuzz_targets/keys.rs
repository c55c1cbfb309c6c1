#![no_main]

#[path = "../../tests/it/laws/keys.rs"]
mod keys;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keys::check(bytes));
