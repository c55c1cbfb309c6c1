#![no_main]

#[path = "../../tests/it/laws/records.rs"]
mod records;
#[path = "../../tests/it/laws/draw.rs"]
mod draw;
#[path = "../../tests/it/laws/reading.rs"]
mod reading;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| records::check(bytes));
