//! rawcat's pure rooms, from the program's own sources, without the rest of the program.
//!
//! Depending on the program would compile Polars and the AWS SDK with the address sanitizer, for a
//! quarter of an hour, and none of it is fuzzed. The rooms between bytes and columns need a dozen
//! small crates. They call each other by `crate::`, so that they stand here under the names
//! that they have in the program's `lib.rs`.

// What only the rooms that are missing here use.
#![allow(dead_code)]

#[path = "../../src/window/mod.rs"]
pub mod window;
#[path = "../../src/layout/mod.rs"]
pub mod layout;
#[path = "../../src/codec/mod.rs"]
pub mod codec;
#[path = "../../src/schema.rs"]
pub mod schema;
#[path = "../../src/json/mod.rs"]
pub mod json;
#[path = "../../src/time/mod.rs"]
pub mod time;
