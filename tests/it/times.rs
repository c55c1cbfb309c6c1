//! Texts that are times, nearly times and numbers, by the laws that the fuzzer checks.

use proptest::prelude::*;

use crate::laws::time::{
    ZONES, reads_as_its_form_says, text_without_an_offset_is_on_the_zones_clock,
};

fn any_rfc_3339() -> impl Strategy<Value = String> {
    let date = (1988..2102i32, 0..=13u32, 0..=32u32);
    let time = (0..=24u32, 0..=60u32, 0..=61u32);
    let fraction = "([.,][0-9]{1,12})?";
    let offset =
        "(Z|z|UTC|[+-][0-2][0-9]:[0-6][0-9]|[+-][01][0-9][0-5][0-9]|[+-][01][0-9]| Z| [+-]09:00)?";
    (date, "[T t]", time, fraction, offset).prop_map(|(date, separator, time, fraction, offset)| {
        let (year, month, day) = date;
        let (hour, minute, second) = time;
        format!(
            "{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}\
             {fraction}{offset}"
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn text_reads_as_chrono_reads_it(text in any_rfc_3339()) {
        reads_as_its_form_says(&text);
    }

    #[test]
    fn mutated_text_reads_as_chrono_reads_it(
        text in any_rfc_3339(),
        at in any::<prop::sample::Index>(),
        put in "[-0-9TZz:.+, Ua\u{ff11}]?",
        removed in 0..3usize,
    ) {
        let mut characters: Vec<char> = text.chars().collect();
        let at = at.index(characters.len() + 1);
        let until = (at + removed).min(characters.len());
        characters.splice(at..until, put.chars());
        let text: String = characters.into_iter().collect();
        reads_as_its_form_says(&text);
    }

    #[test]
    fn numbers_read_as_their_digits_say(
        text in "-?[0-9]{1,25}(\\.[0-9]{0,12})?([eE][-+]?[0-9]{1,3})?",
        near in "(165|0\\.00165|41024448)[0-9]{6,22}(\\.[0-9]{1,4})?(e-?[0-9]{1,2})?",
    ) {
        reads_as_its_form_says(&text);
        reads_as_its_form_says(&near);
    }

    #[test]
    fn times_of_every_zone_are_on_its_clock(text in any_rfc_3339()) {
        for tz in ZONES {
            text_without_an_offset_is_on_the_zones_clock(&text, tz);
        }
    }
}
