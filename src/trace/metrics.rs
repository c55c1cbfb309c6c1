//! A page of metrics, as Prometheus reads them → how far each shard of a stream was delivered. Pure.

use std::collections::BTreeMap;

/// The numbers of the last delivered records of `stream`, by shard, as a delivery stream says them.
pub fn delivered_up_to(page: &str, delivery: &str, stream: &str) -> BTreeMap<String, u64> {
    let of_line = |line: &str| {
        let rest = line.strip_prefix("rawcat_delivery_position{")?;
        let (labels, value) = rest.rsplit_once('}')?;
        let label = |name: &str| {
            let start = format!("{name}=\"");
            let found = labels.split(',').find_map(|label| label.trim().strip_prefix(&*start));
            found?.strip_suffix('"')
        };
        (label("delivery_stream") == Some(delivery) && label("stream") == Some(stream))
            .then_some(())?;
        // A number may be written as a float.
        let value = value.split_whitespace().next()?;
        let value = value.parse().or_else(|_| value.parse::<f64>().map(|float| float as u64));
        Some((label("shard")?.to_string(), value.ok()?))
    };
    page.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_one_delivery_stream() {
        let page = "# TYPE rawcat_delivery_position gauge\n\
            rawcat_delivery_position{delivery_stream=\"a\",stream=\"a\",shard=\"shardId-000000000000\"} 12\n\
            rawcat_delivery_position{stream=\"a\",shard=\"shardId-000000000001\",delivery_stream=\"a\"} 1.3e1\n\
            rawcat_delivery_position{delivery_stream=\"b\",stream=\"a\",shard=\"shardId-000000000002\"} 9\n\
            rawcat_delivery_records_total{delivery_stream=\"a\",result=\"delivered\"} 3\nnonsense{\n";
        let found = delivered_up_to(page, "a", "a");
        let expected =
            [("shardId-000000000000".to_string(), 12), ("shardId-000000000001".to_string(), 13)];
        assert_eq!(found, expected.into());
    }
}
