#![no_main]

#[path = "../../tests/it/laws/time.rs"]
mod time;
#[path = "../../tests/it/laws/draw.rs"]
mod draw;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| time::check(bytes));
