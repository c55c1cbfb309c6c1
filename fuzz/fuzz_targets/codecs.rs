#![no_main]

#[path = "../../tests/it/laws/codecs.rs"]
mod codecs;
#[path = "../../tests/it/laws/draw.rs"]
mod draw;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| codecs::check(bytes));
