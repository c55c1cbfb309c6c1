//! Decompressed bytes → columns and quarantine. The hot room.

pub mod frame;

pub use frame::{Bits, Column, Frame, GroupKeys, Items, Texts, Values};
