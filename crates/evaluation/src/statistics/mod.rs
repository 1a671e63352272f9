//! Statistics of agreement, as pure functions of numbers.

mod bootstrap;
mod calibration;
mod correlation;
mod ranking;

pub use bootstrap::{Bootstrap, Estimate};
pub use calibration::{Bin, Calibration};
pub use correlation::{kendall, mean, mean_absolute_error, pearson, spearman};
pub use ranking::edit_distance;
