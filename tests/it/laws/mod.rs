//! Laws that hold for every input, one function a room. The fuzz targets below `fuzz/` take these
//! files by their path, so that they use nothing but the pure rooms and what those depend on.

pub mod codecs;
pub mod draw;
pub mod keys;
pub mod reading;
pub mod records;
pub mod time;
