//! The vertical axis: least and greatest value go in, a range of round numbers with its ticks
//! comes out. Pure; any finite value will do.

use super::text::grouped;

/// A range that holds the values, with ticks from its lowest to its highest value.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueAxis {
    pub low: f64,
    pub high: f64,
    /// Value and label, lowest first.
    pub ticks: Vec<(f64, String)>,
}

/// A round number: `digits` × 10^`power`, where `digits` is 1, 2, 2.5 or 5.
#[derive(Clone, Copy)]
struct Round {
    digits: f64,
    power: i32,
}

impl Round {
    /// The least round number that is not below `least` (positive); whole ones only for counts.
    fn at_least(least: f64, whole: bool) -> Round {
        let power = least.log10().floor() as i32;
        let digits = [1.0, 2.0, 2.5, 5.0, 10.0]
            .into_iter()
            .filter(|&d| !(whole && power < 1 && d == 2.5))
            .find(|d| d * 10f64.powi(power) >= least * (1.0 - 1e-9))
            .unwrap_or(10.0);
        match (digits, whole && power < 0) {
            (_, true) => Round { digits: 1.0, power: 0 },
            (10.0, _) => Round { digits: 1.0, power: power + 1 },
            _ => Round { digits, power },
        }
    }

    fn value(self) -> f64 {
        // Dividing by a power of ten rounds once, multiplying by its reciprocal twice.
        if self.power < 0 {
            self.digits / 10f64.powi(-self.power)
        } else {
            self.digits * 10f64.powi(self.power)
        }
    }

    /// Digits after the point that it needs, in units of 10^`unit`.
    fn decimals(self, unit: i32) -> usize {
        let needed = unit - self.power + i32::from(self.digits == 2.5);
        needed.max(0) as usize
    }
}

impl ValueAxis {
    /// From zero up to at least `most` records, in about `ticks` steps.
    pub fn of_counts(most: u64, ticks: usize) -> ValueAxis {
        if most == 0 {
            return ValueAxis { low: 0.0, high: 1.0, ticks: vec![(0.0, "0".to_string())] };
        }
        let step = Round::at_least(most as f64 / ticks.max(1) as f64, true);
        ValueAxis::between(0.0, most as f64, step)
    }

    /// From at most `low` to at least `high`, in about `ticks` steps. Zero is taken in where it is
    /// not far.
    pub fn of_values(low: f64, high: f64, ticks: usize) -> ValueAxis {
        let (mut low, mut high) = (low.min(high), low.max(high));
        let mut largest = low.abs().max(high.abs());
        if largest < 1e-290 {
            // Where f64 runs out of digits, next to nothing is drawn as nothing.
            (low, high, largest) = (0.0, 0.0, 0.0);
        }
        if largest > 1e290 {
            return ValueAxis::unround(low, high);
        }
        if high - low <= largest * 1e-9 {
            // One value: show where it is, not its rounding errors.
            let room = if largest == 0.0 { 1.0 } else { largest * 0.05 };
            (low, high) = (low - room, high + room);
        } else if low > 0.0 && low < high * 0.35 {
            low = 0.0;
        } else if high < 0.0 && high > low * 0.35 {
            high = 0.0;
        }
        let step = Round::at_least((high - low) / ticks.max(1) as f64, false);
        ValueAxis::between(low, high, step)
    }

    fn between(low: f64, high: f64, step: Round) -> ValueAxis {
        let size = step.value();
        // A value on a tick must not open another step because of its last bit.
        let first = (low / size + 1e-9).floor();
        let last = (high / size - 1e-9).ceil().max(first + 1.0);
        let count = (last - first) as usize;
        let values: Vec<f64> = (0..=count).map(|i| (first + i as f64) * size).collect();
        let labels = labels(&values, step);
        ValueAxis {
            low: first * size,
            high: last * size,
            ticks: values.into_iter().zip(labels).collect(),
        }
    }

    /// At the end of what f64 holds there are no round numbers to choose.
    fn unround(low: f64, high: f64) -> ValueAxis {
        let label = |v: f64| format!("{v:.1e}").replace('-', "−");
        if low == high {
            let ticks = vec![(low, label(low))];
            let room = low.abs() * 0.5;
            let (low, high) = ((low - room).max(f64::MIN), (high + room).min(f64::MAX));
            return ValueAxis { low, high, ticks };
        }
        ValueAxis { low, high, ticks: vec![(low, label(low)), (high, label(high))] }
    }

    /// Where a value stands: 0 at the lowest, 1 at the highest.
    pub fn share(&self, value: f64) -> f64 {
        // Halves, because the distance of two finite numbers may be infinite.
        let (low, high, value) = (self.low / 2.0, self.high / 2.0, value / 2.0);
        ((value - low) / (high - low)).clamp(0.0, 1.0)
    }
}

/// All labels in one unit, with as many decimals as the step needs.
fn labels(values: &[f64], step: Round) -> Vec<String> {
    const UNITS: [(i32, &str); 5] = [(12, "T"), (9, "B"), (6, "M"), (3, "k"), (0, "")];
    let largest = values.iter().fold(0f64, |m, v| m.max(v.abs()));
    if !(1e-4..1e15).contains(&largest) || step.decimals(0) > 9 {
        return values.iter().map(|&v| scientific(v, largest, step)).collect();
    }
    let (unit, sign) = UNITS
        .into_iter()
        .find(|&(unit, _)| {
            unit == 0
                || (largest >= 1e4
                    && (10f64.powi(unit)..10f64.powi(unit + 4)).contains(&largest)
                    && step.decimals(unit) <= 2)
        })
        .unwrap_or((0, ""));
    let decimals = step.decimals(unit);
    values
        .iter()
        .map(|v| {
            let text = plain_number(v / 10f64.powi(unit), decimals);
            match (*v == 0.0, sign) {
                (true, _) => "0".to_string(),
                (false, "") => text,
                (false, sign) => format!("{}{sign}", without_zeros(&text)),
            }
        })
        .collect()
}

fn scientific(value: f64, largest: f64, step: Round) -> String {
    if value.abs() < step.value() / 2.0 {
        return "0".to_string();
    }
    let power = largest.log10().floor() as i32;
    let decimals = step.decimals(power).min(6);
    let text = format!("{:.decimals$}e{power}", value / 10f64.powi(power));
    text.replace('-', "−")
}

/// A number with commas and a real minus sign, without an exponent.
pub fn plain_number(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let whole = whole.parse().map_or_else(|_| whole.to_string(), grouped);
    let is_zero = text.bytes().all(|b| matches!(b, b'0' | b'.'));
    format!("{}{whole}{rest}", if value < 0.0 && !is_zero { "−" } else { "" })
}

/// A number in a few characters: `1,234`, `12.3k`, `−0.05`, `1.2e−9`.
pub fn short_number(value: f64) -> String {
    let size = value.abs();
    let (divisor, sign) = match size {
        s if s >= 1e15 || (s > 0.0 && s < 1e-3) => return format!("{value:.1e}").replace('-', "−"),
        s if s >= 1e12 => (1e12, "T"),
        s if s >= 1e9 => (1e9, "B"),
        s if s >= 1e6 => (1e6, "M"),
        s if s >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let scaled = size / divisor;
    let decimals = if value.fract() == 0.0 && divisor == 1.0 {
        0
    } else if scaled < 1.0 {
        3
    } else if scaled < 10.0 {
        2
    } else if scaled < 1000.0 {
        1
    } else {
        0
    };
    let text = plain_number(value / divisor, decimals);
    format!("{}{sign}", without_zeros(&text))
}

/// The text of a number without zeros at the end of its decimals.
fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(most: u64) -> String {
        let axis = ValueAxis::of_counts(most, 4);
        axis.ticks.iter().map(|(_, l)| l.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn values(low: f64, high: f64) -> String {
        let axis = ValueAxis::of_values(low, high, 4);
        assert!(axis.low <= low && axis.high >= high, "{axis:?}");
        axis.ticks.iter().map(|(_, l)| l.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn counts_have_round_ticks_from_zero() {
        assert_eq!(counts(0), "0");
        assert_eq!(counts(1), "0 1");
        assert_eq!(counts(3), "0 1 2 3");
        assert_eq!(counts(7), "0 2 4 6 8");
        assert_eq!(counts(97), "0 25 50 75 100");
        assert_eq!(counts(1_234), "0 500 1,000 1,500");
        assert_eq!(counts(9_900), "0 2.5k 5k 7.5k 10k");
        assert_eq!(counts(180_000), "0 50k 100k 150k 200k");
        assert_eq!(counts(1_400_000), "0 0.5M 1M 1.5M");
        assert_eq!(counts(u64::MAX), "0 0.5e19 1.0e19 1.5e19 2.0e19");
    }

    #[test]
    fn values_may_be_negative_tiny_or_far_from_zero() {
        assert_eq!(values(-12.0, 31.0), "−20 0 20 40");
        assert_eq!(values(-5.0, -1.0), "−6 −4 −2 0");
        assert_eq!(values(37.5651, 37.5653), "37.56510 37.56515 37.56520 37.56525 37.56530");
        assert_eq!(values(1e-12, 4e-12), "0 1e−12 2e−12 3e−12 4e−12");
        assert_eq!(values(1e18, 8e18), "0 2e18 4e18 6e18 8e18");
        let seconds = "1,650,200,000 1,650,225,000 1,650,250,000 1,650,275,000 1,650,300,000";
        assert_eq!(values(1_650_207_600.0, 1_650_294_000.0), seconds);
    }

    #[test]
    fn one_value_stands_in_the_middle() {
        let axis = ValueAxis::of_values(42.0, 42.0, 4);
        assert!(axis.low < 42.0 && axis.high > 42.0);
        let zero = ValueAxis::of_values(0.0, 0.0, 4);
        assert_eq!(zero.share(0.0), 0.5);
    }

    #[test]
    fn no_finite_value_breaks_the_axis() {
        let all =
            [f64::MIN, -1e300, -1.0, -1e-300, -5e-324, 0.0, 5e-324, 1e-9, 1.0, 1e16, f64::MAX];
        for low in all {
            for high in all {
                let axis = ValueAxis::of_values(low, high, 4);
                assert!(
                    axis.share(low).is_finite() && axis.share(high).is_finite(),
                    "{low} {high}"
                );
                assert!(!axis.ticks.is_empty() && axis.ticks.len() < 12, "{low} {high} {axis:?}");
            }
        }
    }

    #[test]
    fn ticks_lie_between_the_ends() {
        let axis = ValueAxis::of_values(-0.3, 0.7, 5);
        for (value, _) in &axis.ticks {
            assert!((0.0..=1.0).contains(&axis.share(*value)));
        }
        assert_eq!(axis.share(axis.low), 0.0);
        assert_eq!(axis.share(axis.high), 1.0);
    }

    #[test]
    fn short_numbers_are_short() {
        let all =
            [0.0, 7.0, 1234.0, 12_345.0, 1.5e6, -0.05, 3.716, 1.2e-9, 2.5e17].map(short_number);
        assert_eq!(all, ["0", "7", "1,234", "12.3k", "1.5M", "−0.05", "3.72", "1.2e−9", "2.5e17"]);
    }
}
