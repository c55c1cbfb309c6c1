//! Keys: groups as texts go in; groups as values of their columns' types, sorted, come out.
//!
//! Texts that are the same value are one group: `1.0` and `1e0` in a column of floats.

use std::cmp::Ordering;

use polars::prelude::{Column, NamedFrom, Series};

use super::groups::{Groups, NULL};
use super::number::Num;
use crate::json::Texts;
use crate::schema::ColumnType;

/// The groups of the tables.
pub struct Keys {
    columns: Vec<KeyColumn>,
    /// The ranks of each group's values, one per column, groups in the order of the tables.
    tuples: Vec<u32>,
    len: usize,
    /// For each group of the partial its place in the order of the tables.
    places: Vec<u32>,
}

/// The different values of one column, sorted.
struct KeyColumn {
    values: Values,
    /// The rank of each text's value.
    ranks: Vec<u32>,
}

#[derive(Debug, PartialEq)]
enum Values {
    Int(Vec<i64>),
    Float(Vec<f64>),
    Bool(Vec<bool>),
    Text(Vec<String>),
}

impl Keys {
    /// `types`: the types of the group columns.
    pub fn new(groups: &Groups, types: &[ColumnType]) -> Keys {
        let by = groups.by().iter().zip(types);
        let columns: Vec<KeyColumn> =
            by.map(|(by, column_type)| KeyColumn::new(&by.texts, *column_type)).collect();
        // Null has no rank of its own: the largest id is the last one in any order.
        let ranks_of = |group: usize| {
            let ids = groups.tuple(group).iter().zip(&columns);
            ids.map(|(id, column)| column.ranks.get(*id as usize).copied().unwrap_or(NULL))
        };
        let tuples: Vec<Vec<u32>> =
            (0..groups.len()).map(|group| ranks_of(group).collect()).collect();
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.sort_unstable_by(|a, b| tuples[*a].cmp(&tuples[*b]));
        let mut keys = Keys { columns, tuples: Vec::new(), len: 0, places: vec![0; groups.len()] };
        let mut before: Option<&[u32]> = None;
        for group in order {
            let tuple = &tuples[group][..];
            if before != Some(tuple) {
                keys.tuples.extend_from_slice(tuple);
                keys.len += 1;
                before = Some(tuple);
            }
            keys.places[group] = keys.len as u32 - 1;
        }
        keys
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The place of a partial's group in the order of the tables.
    pub fn place(&self, group: u32) -> u32 {
        self.places[group as usize]
    }

    /// Group column `at`, with the values of the groups at `places`.
    pub fn column(&self, at: usize, name: &str, places: impl Iterator<Item = u32>) -> Column {
        let width = self.columns.len();
        let ranks = places.map(|place| self.tuples[place as usize * width + at]);
        self.columns[at].values.column(name, ranks)
    }
}

impl KeyColumn {
    fn new(texts: &Texts, column_type: ColumnType) -> KeyColumn {
        let all = || (0..texts.len()).map(|at| texts.get(at));
        // A declared type may not fit the texts: then they stay texts, and nothing is lost.
        let (values, ranks) = match column_type {
            ColumnType::Int => all()
                .map(|text| Num::parse(text.as_bytes())?.to_i64())
                .collect::<Option<Vec<i64>>>()
                .map(|values| ranked(values, i64::cmp, Values::Int)),
            ColumnType::Float => all()
                .map(|text| Some(Num::parse(text.as_bytes())?.to_f64()))
                .collect::<Option<Vec<f64>>>()
                .map(|values| ranked(values, f64::total_cmp, Values::Float)),
            ColumnType::Bool => all()
                .map(|text| text.parse().ok())
                .collect::<Option<Vec<bool>>>()
                .map(|values| ranked(values, bool::cmp, Values::Bool)),
            _ => None,
        }
        .unwrap_or_else(|| {
            let values = all().map(str::to_string).collect();
            ranked(values, String::cmp, Values::Text)
        });
        KeyColumn { values, ranks }
    }
}

/// The different values in their order, and the rank of each value.
fn ranked<T: Clone>(
    values: Vec<T>,
    compare: fn(&T, &T) -> Ordering,
    wrap: fn(Vec<T>) -> Values,
) -> (Values, Vec<u32>) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|a, b| compare(&values[*a], &values[*b]));
    let mut sorted: Vec<T> = Vec::new();
    let mut ranks = vec![0; values.len()];
    for at in order {
        let value = &values[at];
        if sorted.last().is_none_or(|last| compare(last, value).is_ne()) {
            sorted.push(value.clone());
        }
        ranks[at] = sorted.len() as u32 - 1;
    }
    (wrap(sorted), ranks)
}

impl Values {
    fn column(&self, name: &str, ranks: impl Iterator<Item = u32>) -> Column {
        let name = name.into();
        let series = match self {
            Values::Int(values) => Series::new(name, picked(values, ranks)),
            Values::Float(values) => Series::new(name, picked(values, ranks)),
            Values::Bool(values) => Series::new(name, picked(values, ranks)),
            Values::Text(values) => {
                let texts: Vec<Option<&str>> =
                    ranks.map(|rank| values.get(rank as usize).map(String::as_str)).collect();
                Series::new(name, texts)
            }
        };
        series.into()
    }
}

fn picked<T: Copy>(values: &[T], ranks: impl Iterator<Item = u32>) -> Vec<Option<T>> {
    ranks.map(|rank| values.get(rank as usize).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(texts: &[&str], column_type: ColumnType) -> KeyColumn {
        let mut arena = Texts::default();
        texts.iter().for_each(|text| arena.push(text));
        KeyColumn::new(&arena, column_type)
    }

    #[test]
    fn texts_of_one_value_are_one_key() {
        let floats = column(&["1.0", "-0", "1", "0.0", "2.5"], ColumnType::Float);
        assert_eq!(floats.values, Values::Float(vec![0.0, 1.0, 2.5]));
        assert_eq!(floats.ranks, [1, 0, 1, 0, 2]);
        let texts = column(&["1.0", "1"], ColumnType::Text);
        assert_eq!(texts.ranks, [1, 0]);
    }

    #[test]
    fn integers_sort_by_value_and_stay_exact() {
        let ints = column(&["10", "9", "9007199254740993"], ColumnType::Int);
        assert_eq!(ints.values, Values::Int(vec![9, 10, (1 << 53) + 1]));
        let bools = column(&["true", "false"], ColumnType::Bool);
        assert_eq!(bools.ranks, [1, 0]);
    }

    #[test]
    fn texts_that_do_not_fit_the_declared_type_stay_texts() {
        for declared in [ColumnType::Int, ColumnType::Float, ColumnType::Bool] {
            let kept = column(&["7", "b"], declared);
            let texts = ["7", "b"].map(str::to_string).to_vec();
            assert_eq!(kept.values, Values::Text(texts));
        }
    }
}
