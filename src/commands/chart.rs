//! `rawcat chart`: pictures of what was published.

use crate::config::ChartConfig;
use crate::error::{Error, ExitCode, Interrupt};

/// Draws the selected days.
pub fn chart(_config: &ChartConfig, _interrupt: &Interrupt) -> Result<ExitCode, Error> {
    Err(Error::failed("in building"))
}
