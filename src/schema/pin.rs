//! Types that the user declared, and the file that keeps them: `rawcat.schema.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ColumnType, Pins};

/// The version of the file's form.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PinFile {
    version: u32,
    /// Column names, flattened or dotted, to the names of types.
    columns: BTreeMap<String, String>,
}

/// The file's text for these types.
pub fn pins_to_json(pins: &Pins) -> String {
    let columns = pins.iter().map(|(name, kind)| (name.clone(), kind.to_string())).collect();
    let file = PinFile { version: VERSION, columns };
    let mut text = serde_json::to_string_pretty(&file).expect("names and types are text");
    text.push('\n');
    text
}

/// The types in the file's text.
///
/// # Errors
/// What is wrong with it, in words.
pub fn pins_from_json(text: &str) -> Result<Pins, String> {
    let file: PinFile = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if file.version != VERSION {
        return Err(format!("its version is {}, and this rawcat knows {VERSION}", file.version));
    }
    let typed = |(name, kind): (String, String)| match kind.parse::<ColumnType>() {
        Ok(kind) => Ok((name, kind)),
        Err(()) => Err(format!("column {name:?} has the type {kind:?}, which is none")),
    };
    file.columns.into_iter().map(typed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Scalar;

    #[test]
    fn pins_come_back_as_they_were_written() {
        let pins: Pins = [
            ("value".to_string(), ColumnType::Float),
            ("device.os".to_string(), ColumnType::Text),
            ("tags".to_string(), ColumnType::List(Scalar::Text)),
        ]
        .into();
        assert_eq!(pins_from_json(&pins_to_json(&pins)), Ok(pins));
    }

    #[test]
    fn a_type_that_is_none_is_named() {
        let text = r#"{"version":1,"columns":{"value":"number"}}"#;
        let problem = pins_from_json(text).unwrap_err();
        assert_eq!(problem, r#"column "value" has the type "number", which is none"#);
        assert!(pins_from_json(r#"{"version":2,"columns":{}}"#).unwrap_err().contains("version"));
    }
}
