//! The least IAM policy: source and out go in, the permissions that the other commands need
//! come out, as JSON. Nothing is asked of AWS.
//!
//! Actions, resources and condition keys:
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html>.

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::Partition;
use crate::config::{PolicyConfig, SourceUrl};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: &'static str,
    effect: &'static str,
    action: Vec<&'static str>,
    resource: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Condition>,
}

#[derive(Serialize)]
struct Condition {
    #[serde(rename = "StringLike")]
    string_like: PrefixIs,
}

#[derive(Serialize)]
struct PrefixIs {
    #[serde(rename = "s3:prefix")]
    prefix: String,
}

/// The policy as JSON, or `None` where neither place is in S3 and no permission is needed.
pub fn policy(config: &PolicyConfig) -> Option<String> {
    let mut statement = Vec::new();
    if let SourceUrl::S3 { bucket, prefix } = &config.source {
        let arn = arn(config.partition, bucket);
        statement.push(list("ListRawObjects", &arn, prefix));
        statement.push(objects("ReadRawObjects", &arn, prefix, vec!["s3:GetObject"]));
    }
    if let SourceUrl::S3 { bucket, prefix } = &config.out {
        let arn = arn(config.partition, bucket);
        // Parts of an upload are put by s3:PutObject; only taking them back has its own action.
        let actions =
            vec!["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"];
        statement.push(list("ListPublished", &arn, prefix));
        statement.push(objects("PublishDays", &arn, prefix, actions));
    }
    if statement.is_empty() {
        return None;
    }
    let policy = Policy { version: "2012-10-17", statement };
    Some(serde_json::to_string_pretty(&policy).expect("texts and lists become JSON"))
}

fn list(sid: &'static str, bucket_arn: &str, prefix: &str) -> Statement {
    // `*` stands for nothing too: the prefix itself is included.
    let condition = Condition { string_like: PrefixIs { prefix: format!("{}*", literal(prefix)) } };
    Statement {
        sid,
        effect: "Allow",
        action: vec!["s3:ListBucket"],
        resource: bucket_arn.to_string(),
        // Without a prefix every listing is meant, those without `s3:prefix` too.
        condition: (!prefix.is_empty()).then_some(condition),
    }
}

fn objects(
    sid: &'static str,
    bucket_arn: &str,
    prefix: &str,
    action: Vec<&'static str>,
) -> Statement {
    // Objects of an access point are named below its `object/`.
    let object = if bucket_arn.contains(":accesspoint/") { "/object/" } else { "/" };
    let resource = format!("{bucket_arn}{object}{}*", literal(prefix));
    Statement { sid, effect: "Allow", action, resource, condition: None }
}

fn arn(partition: Partition, bucket: &str) -> String {
    if bucket.starts_with("arn:") {
        return bucket.to_string();
    }
    let value = partition.to_possible_value().expect("no partition is hidden");
    format!("arn:{}:s3:::{bucket}", value.get_name())
}

/// `*`, `?` and `$` of a prefix, written so that a policy reads them as themselves.
fn literal(prefix: &str) -> String {
    let escape = |c: char| match c {
        '*' | '?' | '$' => format!("${{{c}}}"),
        c => c.to_string(),
    };
    prefix.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy_of(source: &str, out: &str, partition: Partition) -> Option<serde_json::Value> {
        let text = policy(&PolicyConfig {
            source: source.parse().unwrap(),
            out: out.parse().unwrap(),
            partition,
        })?;
        Some(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn reading_needs_a_listing_below_the_prefix_and_its_objects() {
        let policy = policy_of("s3://team-events/rawdata/", "out", Partition::Aws).unwrap();
        let wanted = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "ListRawObjects",
                    "Effect": "Allow",
                    "Action": ["s3:ListBucket"],
                    "Resource": "arn:aws:s3:::team-events",
                    "Condition": { "StringLike": { "s3:prefix": "rawdata/*" } }
                },
                {
                    "Sid": "ReadRawObjects",
                    "Effect": "Allow",
                    "Action": ["s3:GetObject"],
                    "Resource": "arn:aws:s3:::team-events/rawdata/*"
                }
            ]
        });
        assert_eq!(policy, wanted);
    }

    #[test]
    fn publishing_to_s3_adds_writes_there_and_nowhere_else() {
        let policy = policy_of("s3://raw/rawdata/", "s3://lake/days/", Partition::AwsCn).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!(statements.len(), 4);
        assert_eq!(statements[2]["Action"], serde_json::json!(["s3:ListBucket"]));
        assert_eq!(statements[2]["Condition"]["StringLike"]["s3:prefix"], "days/*");
        assert_eq!(statements[3]["Resource"], "arn:aws-cn:s3:::lake/days/*");
        let actions =
            ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"];
        assert_eq!(statements[3]["Action"], serde_json::json!(actions));
        let writing = statements.iter().filter(|s| s["Action"].to_string().contains("Put"));
        assert_eq!(writing.count(), 1);
    }

    #[test]
    fn a_whole_bucket_has_no_prefix_condition() {
        let policy = policy_of("s3://raw", "out", Partition::Aws).unwrap();
        assert!(policy["Statement"][0].get("Condition").is_none());
        assert_eq!(policy["Statement"][1]["Resource"], "arn:aws:s3:::raw/*");
    }

    #[test]
    fn wildcards_in_a_prefix_mean_themselves() {
        let policy = policy_of("s3://raw/a*b?c$d/", "out", Partition::Aws).unwrap();
        let resource = &policy["Statement"][1]["Resource"];
        assert_eq!(resource, "arn:aws:s3:::raw/a${*}b${?}c${$}d/*");
    }

    #[test]
    fn folders_need_no_permission() {
        assert_eq!(policy_of("sample_data/rawdata/", "out", Partition::Aws), None);
    }
}
