//! A cell: the numbers of one metric in one group and bucket go in, their statistics come out.
//!
//! Up to 1,000 numbers are kept as they are: everything about them is exact, and a cell with
//! few numbers is small. Beyond, they become a sum, a range, a sketch and a count. Which of the
//! two a cell is depends on how many numbers it got, and on nothing else.

use super::distinct::Distinct;
use super::number::Num;
use super::quantile::{PERCENTILES, Sketch, rank};
use super::sum::ExactSum;

/// Up to so many numbers of a cell are kept, and its quantiles exact.
pub const EXACT_VALUES: usize = 1_000;

/// A large cell takes up so many numbers at once. Rows of one cell after another would each
/// fetch its sums, buckets and registers from a farther cache.
const PENDING_VALUES: usize = 256;

/// Sixteen bytes, since with many groups most cells have no number or one.
#[derive(Clone, Default, Debug)]
pub enum Cell {
    #[default]
    Empty,
    One(f64),
    Few(Box<Few>),
    Many(Box<Many>),
}

/// The numbers themselves, in no order. Apart, so that each takes eight bytes.
#[derive(Clone, Default, Debug)]
pub struct Few {
    floats: Vec<f64>,
    /// Integers that f64 would round.
    bigs: Vec<i64>,
}

#[derive(Clone, Debug)]
pub struct Many {
    /// Numbers that the fields below don't know yet.
    pending: Vec<f64>,
    count: u64,
    sum: ExactSum,
    min: Num,
    max: Num,
    sketch: Sketch,
    distinct: Distinct,
}

/// What is said about the numbers of a cell.
#[derive(Clone, PartialEq, Debug)]
pub struct Stats {
    pub count: u64,
    /// The nearest f64 to the exact sum; infinite where f64 ends.
    pub sum: f64,
    /// The nearest f64 to the exact mean.
    pub mean: f64,
    pub min: Num,
    pub max: Num,
    /// In the order of [`PERCENTILES`].
    pub quantiles: [f64; PERCENTILES.len()],
    pub quantiles_exact: bool,
    pub distinct: u64,
    pub distinct_exact: bool,
}

impl Cell {
    #[inline]
    pub fn add(&mut self, number: Num) {
        match self {
            Cell::Many(many) => many.add(number),
            Cell::Few(few) => {
                few.push(number);
                if few.len() > EXACT_VALUES {
                    *self = Cell::Many(few.to_many());
                }
            }
            Cell::Empty | Cell::One(_) => self.add_early(number),
        }
    }

    /// Adds the first number, or the second one.
    fn add_early(&mut self, number: Num) {
        *self = match (&*self, number) {
            (Cell::Empty, Num::Float(value)) => Cell::One(value),
            (earlier, number) => {
                let mut few = Box::new(Few::default());
                if let Cell::One(value) = earlier {
                    few.push(Num::Float(*value));
                }
                few.push(number);
                Cell::Few(few)
            }
        };
    }

    pub fn merge(&mut self, mut other: Cell) {
        if self.count() < other.count() {
            std::mem::swap(self, &mut other);
        }
        match (&mut *self, other) {
            (_, Cell::Empty) => {}
            (_, Cell::One(value)) => self.add(Num::Float(value)),
            (_, Cell::Few(few)) => few.each(|number| self.add(number)),
            (Cell::Many(mine), Cell::Many(theirs)) => mine.merge(*theirs),
            (_, Cell::Many(_)) => unreachable!("the larger one was swapped to the left"),
        }
    }

    pub fn count(&self) -> u64 {
        match self {
            Cell::Empty => 0,
            Cell::One(_) => 1,
            Cell::Few(few) => few.len() as u64,
            Cell::Many(many) => many.count + many.pending.len() as u64,
        }
    }

    /// `None` where there are no numbers.
    pub fn stats(&mut self) -> Option<Stats> {
        match self {
            Cell::Empty => None,
            Cell::One(value) => Some(Few::of_one(*value).stats()),
            Cell::Few(few) => Some(few.stats()),
            Cell::Many(many) => Some(many.stats()),
        }
    }
}

impl Few {
    fn of_one(value: f64) -> Few {
        Few { floats: vec![value], bigs: Vec::new() }
    }

    #[inline]
    fn push(&mut self, number: Num) {
        match number {
            Num::Float(value) => self.floats.push(value),
            Num::Big(value) => self.bigs.push(value),
        }
    }

    #[inline]
    fn len(&self) -> usize {
        self.floats.len() + self.bigs.len()
    }

    fn each(&self, mut visit: impl FnMut(Num)) {
        self.floats.iter().for_each(|value| visit(Num::Float(*value)));
        self.bigs.iter().for_each(|value| visit(Num::Big(*value)));
    }

    #[cold]
    fn to_many(&self) -> Box<Many> {
        let first = match self.floats.first() {
            Some(value) => Num::Float(*value),
            None => Num::Big(self.bigs[0]),
        };
        let mut many = Box::new(Many {
            pending: Vec::with_capacity(PENDING_VALUES),
            count: 0,
            sum: ExactSum::default(),
            min: first,
            max: first,
            sketch: Sketch::default(),
            distinct: Distinct::default(),
        });
        many.take_up(&self.floats);
        self.bigs.iter().for_each(|value| many.add_big(*value));
        many
    }

    /// There must be a number.
    fn stats(&self) -> Stats {
        let mut numbers = Vec::with_capacity(self.len());
        let mut sum = ExactSum::default();
        self.each(|number| {
            numbers.push(number);
            sum.add(number);
        });
        numbers.sort_unstable_by(|a, b| a.compare(*b));
        let (min, max) = (numbers[0], numbers[numbers.len() - 1]);
        let count = numbers.len() as u64;
        let repeated = numbers.windows(2).filter(|pair| pair[0] == pair[1]).count();
        Stats {
            count,
            sum: sum.to_f64(),
            mean: sum.mean(count),
            min,
            max,
            quantiles: PERCENTILES.map(|p| numbers[rank(p, count) as usize - 1].to_f64()),
            quantiles_exact: true,
            distinct: count - repeated as u64,
            distinct_exact: true,
        }
    }
}

impl Many {
    #[inline]
    fn add(&mut self, number: Num) {
        match number {
            Num::Float(value) => {
                self.pending.push(value);
                if self.pending.len() == PENDING_VALUES {
                    self.take_up_pending();
                }
            }
            Num::Big(value) => self.add_big(value),
        }
    }

    #[inline(never)]
    fn take_up_pending(&mut self) {
        let mut values = std::mem::take(&mut self.pending);
        self.take_up(&values);
        values.clear();
        self.pending = values;
    }

    fn take_up(&mut self, values: &[f64]) {
        let Some(first) = values.first() else {
            return;
        };
        self.count += values.len() as u64;
        let (mut least, mut greatest) = (*first, *first);
        for value in values {
            least = if *value < least { *value } else { least };
            greatest = if *value > greatest { *value } else { greatest };
        }
        self.widen(Num::Float(least), Num::Float(greatest));
        self.sum.add_floats(values);
        values.iter().for_each(|value| self.sketch.add(*value));
        values.iter().for_each(|value| self.distinct.add(Num::Float(*value)));
    }

    fn add_big(&mut self, value: i64) {
        let number = Num::Big(value);
        self.count += 1;
        self.widen(number, number);
        self.sum.add(number);
        self.sketch.add(number.to_f64());
        self.distinct.add(number);
    }

    fn widen(&mut self, least: Num, greatest: Num) {
        if least.compare(self.min).is_lt() {
            self.min = least;
        }
        if greatest.compare(self.max).is_gt() {
            self.max = greatest;
        }
    }

    fn merge(&mut self, other: Many) {
        self.take_up(&other.pending);
        self.count += other.count;
        self.widen(other.min, other.max);
        self.sum.merge(&other.sum);
        self.sketch.merge(&other.sketch);
        self.distinct.merge(other.distinct);
    }

    fn stats(&mut self) -> Stats {
        self.take_up_pending();
        let (least, greatest) = (self.min.to_f64(), self.max.to_f64());
        let quantile = |percentile| {
            let middle = self.sketch.at_rank(rank(percentile, self.count));
            // The middle of an outermost bucket may lie outside what occurred.
            let middle = middle.expect("the sketch holds every number of the cell");
            middle.clamp(least, greatest)
        };
        Stats {
            count: self.count,
            sum: self.sum.to_f64(),
            mean: self.sum.mean(self.count),
            min: self.min,
            max: self.max,
            quantiles: PERCENTILES.map(quantile),
            quantiles_exact: false,
            distinct: self.distinct.count().min(self.count),
            distinct_exact: self.distinct.is_exact(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cell_of(numbers: impl IntoIterator<Item = Num>) -> Cell {
        let mut cell = Cell::default();
        numbers.into_iter().for_each(|number| cell.add(number));
        cell
    }

    fn ints(range: std::ops::RangeInclusive<i64>) -> impl Iterator<Item = Num> {
        range.map(Num::of_int)
    }

    #[test]
    fn an_empty_cell_says_nothing() {
        assert_eq!(Cell::default().stats(), None);
        let mut cell = Cell::default();
        cell.merge(Cell::default());
        assert_eq!(cell.stats(), None);
    }

    #[test]
    fn a_thousand_numbers_are_exact() {
        let stats = cell_of(ints(1..=1000)).stats().unwrap();
        assert_eq!(stats.quantiles, [500.0, 950.0, 990.0]);
        assert_eq!((stats.count, stats.sum, stats.mean), (1000, 500_500.0, 500.5));
        assert_eq!((stats.min, stats.max), (Num::of_int(1), Num::of_int(1000)));
        assert_eq!(stats.distinct, 1000);
        assert!(stats.quantiles_exact && stats.distinct_exact);
    }

    #[test]
    fn beyond_a_thousand_a_sketch_stands_in() {
        let stats = cell_of(ints(1..=100_000)).stats().unwrap();
        for (read, exact) in stats.quantiles.iter().zip([50_000.0, 95_000.0, 99_000.0]) {
            assert!((read / exact - 1.0f64).abs() < 0.01, "{read} {exact}");
        }
        assert_eq!((stats.sum, stats.mean), (5_000_050_000.0, 50_000.5));
        assert!(!stats.quantiles_exact && !stats.distinct_exact);
    }

    #[test]
    fn one_value_many_times_keeps_exact_quantiles_and_distinct() {
        let stats = cell_of((0..5000).map(|_| Num::Float(30.5))).stats().unwrap();
        assert_eq!(stats.quantiles, [30.5; 3]);
        assert!(!stats.quantiles_exact);
        assert_eq!((stats.distinct, stats.distinct_exact), (1, true));
    }

    #[test]
    fn neighbours_beyond_f64_are_told_apart() {
        let big = i64::MAX - 10;
        for copies in [1, 500] {
            let numbers = (0..copies).flat_map(|_| ints(big..=big + 5));
            let stats = cell_of(numbers).stats().unwrap();
            assert_eq!((stats.min, stats.max), (Num::Big(big), Num::Big(big + 5)));
            assert_eq!(stats.distinct, 6);
        }
    }

    #[test]
    fn integers_beyond_f64_count_towards_the_thousand() {
        let both = |bigs: i64| ints(1..=600).chain(ints(i64::MAX - bigs..=i64::MAX - 1));
        assert!(cell_of(both(400)).stats().unwrap().quantiles_exact);
        assert!(!cell_of(both(401)).stats().unwrap().quantiles_exact);
    }

    fn number() -> impl Strategy<Value = Num> {
        prop_oneof![
            4 => (-5000i32..5000).prop_map(|value| Num::Float(f64::from(value) / 10.0 + 0.0)),
            1 => any::<i64>().prop_map(Num::of_int),
            1 => (-1e300..1e300).prop_map(Num::Float),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_cut_merged_in_any_order_says_the_same(
            numbers in prop::collection::vec(number(), 1..5_000),
            cuts in prop::collection::vec(0usize..5_000, 2),
            turn in 0usize..3,
        ) {
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % numbers.len()).collect();
            ends.sort();
            let parts = [&numbers[..ends[0]], &numbers[ends[0]..ends[1]], &numbers[ends[1]..]];
            let mut merged = Cell::default();
            for at in 0..3 {
                merged.merge(cell_of(parts[(at + turn) % 3].iter().copied()));
            }
            prop_assert_eq!(merged.stats(), cell_of(numbers).stats());
        }
    }
}
